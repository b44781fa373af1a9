"""
Read and write all headers that carry a trace at once: W3C's, LangSmith's and those of added formats.

Nothing here knows a run, and nothing is sent. The format of each header is in a module of its own.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Optional

from clew.propagation import formats
from clew.propagation.baggage import NO_BAGGAGE, Baggage
from clew.propagation.fields import Fields, re_readable
from clew.propagation.langsmith import INHERITED_KEYS, KEYS, DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import SAMPLED, TraceParent
from clew.propagation.tracestate import TraceState

__all__ = ("Incoming", "read", "write")

_FLAGS = ("00", "01", "02", "03")


class Incoming(NamedTuple):
    """
    What the headers of a request say: which run is the parent of those that follow, and the baggage.

    Args:
        trace_id: the trace of the parent, as 32 hexadecimal digits; None if the headers name no parent.
        baggage: the program's own baggage, without LangSmith's keys; None if the format has no baggage.
        trace_parent: the parent in W3C's format, if there is one.
        trace_state: the `tracestate` of the parent's trace.
        order: the parent in LangSmith's format, if there is one.
        is_random: the last 7 bytes of the trace id are known to be random.
        link: the span of a `traceparent` that is not the parent, because the `langsmith-trace` names another run.
        all_baggage: the baggage including LangSmith's keys.
    """

    trace_id: Optional[str]
    baggage: Optional[Baggage]
    trace_parent: Optional[TraceParent] = None
    trace_state: Optional[TraceState] = None
    order: Optional[DottedOrder] = None
    is_random: bool = False
    link: Optional[Incoming] = None
    all_baggage: Baggage = NO_BAGGAGE

    @property
    def langsmith(self) -> LangSmithBaggage:
        """
        The options that runs below the parent inherit, decoded at each access.
        """
        return LangSmithBaggage.from_baggage(self.all_baggage)

    def with_inherited(self, baggage: Baggage) -> Baggage:
        """
        Return some baggage with the received members for those options at its start, unchanged.
        """
        return self.all_baggage.only(*INHERITED_KEYS).followed_by(baggage)

    def above(self) -> Optional[Incoming]:
        """
        Return the parent's own parent in its place. Only LangSmith's format names it.
        """
        order = None if self.order is None else self.order.parent
        if order is None:
            return None
        return Incoming(
            self.trace_id, self.baggage, trace_state=self.trace_state, order=order, is_random=self.is_random
        )

    def to_headers(self, baggage: Optional[Baggage] = None) -> Dict[str, str]:
        """
        Return the headers that name the same parent and link, with the given baggage.
        """
        w3c = self.link or self
        order = None if self.order is None else self.order.to_header()
        if w3c.trace_parent is None:
            return write(langsmith_trace=order, baggage=baggage)
        trace_id, span_id, flags = w3c.trace_parent
        return write(trace_id, span_id, flags, trace_state=w3c.trace_state, langsmith_trace=order, baggage=baggage)


def read(headers: Any, *, is_trusted: bool = True) -> Incoming:
    """
    Return what the headers of a request say.

    A `langsmith-trace` names the parent before a `traceparent`, which is a link if it names another span. Added
    formats are read only if neither names a parent.

    Args:
        headers: in any form that `Fields.from_headers` reads.
        is_trusted: False to read the ids only, and neither the baggage nor whether the caller records the trace.
    """
    if formats.added:
        headers = re_readable(headers)
    fields = Fields.from_headers(headers)
    trace_parent = None if fields.traceparent is None else TraceParent._parse(fields.traceparent)
    order = None if fields.langsmith_trace is None else DottedOrder._parse(fields.langsmith_trace)
    if formats.added and trace_parent is None and order is None:
        fields, trace_parent = formats.read_added(headers, fields)
    trace_state = None
    all_baggage = NO_BAGGAGE
    if is_trusted:
        if trace_parent is not None and fields.tracestate is not None:
            trace_state = TraceState._parse(fields.tracestate)
        if fields.baggage is not None:
            all_baggage = Baggage._parse(fields.baggage)
    elif trace_parent is not None:
        trace_parent = trace_parent._replace(flags=SAMPLED)
    baggage = all_baggage.without(*KEYS)
    w3c = None
    if trace_parent is not None:
        # If both headers name the same run, its trace may come from a system that knows W3C's format only.
        is_same_run = order is not None and trace_parent.span_id == order.run_id[16:]
        w3c = Incoming(
            trace_parent.trace_id,
            baggage,
            trace_parent=trace_parent,
            trace_state=trace_state,
            order=order if is_same_run else None,
            is_random=trace_parent.is_random,
            all_baggage=all_baggage,
        )
        if is_same_run or order is None:
            return w3c
    if order is None:
        return Incoming(None, baggage)
    # What W3C's headers say of another trace does not hold for this one.
    is_same_trace = w3c is not None and w3c.trace_id == order.trace_id
    return Incoming(
        order.trace_id,
        baggage,
        trace_state=trace_state if is_same_trace else None,
        order=order,
        is_random=is_same_trace and w3c is not None and w3c.is_random,
        link=w3c,
        all_baggage=all_baggage,
    )


def write(
    trace_id: Optional[str] = None,
    span_id: str = "",
    flags: int = 0,
    *,
    trace_state: Optional[TraceState] = None,
    langsmith_trace: Optional[str] = None,
    baggage: Optional[Baggage] = None,
) -> Dict[str, str]:
    """
    Return the headers of a request, including those of added formats.

    Args:
        trace_id: the three parts of a valid `TraceParent`; None to write no `traceparent`.
        span_id: as `trace_id`.
        flags: as `trace_id`.
        trace_state: written next to a `traceparent`.
        langsmith_trace: a dotted order.
        baggage: including LangSmith's keys.
    """
    headers: Dict[str, str] = {}
    if trace_id is not None:
        headers["traceparent"] = f"00-{trace_id}-{span_id}-{_FLAGS[flags]}"
        if trace_state:
            headers["tracestate"] = trace_state.to_header() or ""
    if langsmith_trace is not None:
        headers["langsmith-trace"] = langsmith_trace
    if baggage:
        text = baggage.to_header()
        if text is not None:
            headers["baggage"] = text
    if formats.added:
        formats.write_added(headers, baggage)
    return headers
