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
        return write(trace_id, span_id, f"{flags:02x}", w3c.trace_state, order, baggage)


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
    trace_parent = TraceParent._parse(fields.traceparent)
    order = DottedOrder._parse(fields.langsmith_trace)
    if formats.added and trace_parent is None and order is None:
        fields, trace_parent = formats.read_added(headers, fields)
    trace_state = None
    all_baggage = NO_BAGGAGE
    if is_trusted:
        if trace_parent is not None:
            trace_state = TraceState._parse(fields.tracestate)
        all_baggage = Baggage._parse(fields.baggage)
    elif trace_parent is not None:
        trace_parent = trace_parent._replace(flags=SAMPLED)
    baggage = all_baggage if all_baggage is NO_BAGGAGE else all_baggage._without(KEYS)
    # `tuple.__new__` is faster than `Incoming(...)`. The order of the values is that of its fields.
    new, w3c = tuple.__new__, None
    if trace_parent is not None:
        trace_id, span_id, _ = trace_parent
        # If both headers name the same run, its trace may come from a system that knows W3C's format only.
        parent = order if order is not None and span_id == order.run_id[16:] else None
        is_random = trace_parent.is_random
        w3c = new(Incoming, (trace_id, baggage, trace_parent, trace_state, parent, is_random, None, all_baggage))
        if parent is order:
            return w3c
    if order is None:
        return Incoming(None, baggage, all_baggage=all_baggage)
    trace_id = order.trace_id
    if w3c is None or w3c.trace_id != trace_id:
        # The tracestate, if there is one, is that of another trace.
        return new(Incoming, (trace_id, baggage, None, None, order, False, w3c, all_baggage))
    return new(Incoming, (trace_id, baggage, None, trace_state, order, w3c.is_random, w3c, all_baggage))


def write(
    trace_id: Optional[str] = None,
    span_id: str = "",
    flags: str = "00",
    trace_state: Optional[TraceState] = None,
    langsmith_trace: Optional[str] = None,
    baggage: Optional[Baggage] = None,
) -> Dict[str, str]:
    """
    Return the headers of a request, including those of added formats.

    Args:
        trace_id: 32 hexadecimal digits; None to write no `traceparent`. Neither they nor the next two are checked.
        span_id: 16 hexadecimal digits.
        flags: 2 hexadecimal digits.
        trace_state: written next to a `traceparent`.
        langsmith_trace: a dotted order.
        baggage: including LangSmith's keys.
    """
    # Not keyword-only: such a call takes a tenth longer, and each request of a program makes one.
    headers = {} if trace_id is None else {"traceparent": f"00-{trace_id}-{span_id}-{flags}"}
    if trace_state is not None:
        state = trace_state.to_header()
        if state is not None:
            headers["tracestate"] = state
    if langsmith_trace is not None:
        headers["langsmith-trace"] = langsmith_trace
    if baggage is not None:
        text = baggage._header
        if text == "":
            text = baggage.to_header()
        if text is not None:
            headers["baggage"] = text
    if formats.added:
        formats.write_added(headers, baggage)
    return headers
