"""
Write the headers that make a run the parent of runs elsewhere, and read the parent from received headers.

The headers themselves are in `clew.propagation`; who sends and receives them is up to the caller.
"""

from __future__ import annotations

from typing import Any, Dict, MutableMapping, Optional, Tuple

from clew._shared.incidents import report
from clew.propagation.baggage import NO_BAGGAGE, Baggage
from clew.propagation.carrier import Incoming, read, write
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import RANDOM, SAMPLED
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import current_baggage, current_identity
from clew.runs._tree.identity import Identity, Remote, UnsampledRoot
from clew.runs._tree.ids import new_id_text, now_ns
from clew.runs._tree.inherited import Inherited, InheritedFromHeaders

__all__ = ("extract", "get_current_headers", "inject")

_SAMPLED_FLAGS = f"{SAMPLED:02x}"
_RANDOM_FLAGS = f"{SAMPLED | RANDOM:02x}"
_UNSAMPLED_FLAGS = f"{RANDOM:02x}"
_ID_OF_ROOT = slice(22, 58)  # of a dotted order
# Servers accept some 8,190 bytes of a header, and refuse a request with a longer one.
MOST_ORDER_CHARS = 8_000


def get_current_headers() -> Dict[str, str]:
    """
    Return the headers that make the current run the parent of the runs that a request starts elsewhere.

    They are `traceparent`, `tracestate`, `baggage` and `langsmith-trace`, as far as there is something to send.
    If nothing is recorded, the headers of the received request are passed on, so that their trace continues.

    Context:
        *When*: the run and the baggage that are current at this call. Thread-safe.

    Source:
        W3C Trace Context, levels 1 and 2; W3C Baggage; LangSmith's distributed tracing.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("call"):
        ...     sorted(clew.get_current_headers())
        ['langsmith-trace', 'traceparent']
    """
    return headers_of(current_identity.get())


def inject(carrier: MutableMapping[str, str]) -> None:
    """
    Add the headers of the current run to the headers of a request: those of `clew.get_current_headers`.

    Context:
        *When*: the run and the baggage that are current at this call. Thread-safe.

    Args:
        carrier: a dict, or the headers of an HTTP client. Headers of the same names are replaced.

    Source:
        OpenTelemetry's ``propagate.inject``.

    Example:
        >>> import clew
        >>> from clew.runs.headers import inject
        >>> headers = {"accept": "*/*"}
        >>> with clew.record(), clew.trace("call"):
        ...     inject(headers)
        >>> sorted(headers)
        ['accept', 'langsmith-trace', 'traceparent']
    """
    for name, text in get_current_headers().items():
        carrier[name] = text


def extract(headers: Any) -> Dict[str, str]:
    """
    Return the headers of a request that carry a trace, for ``parent=`` of `clew.tracing_context` or `clew.trace`.

    They are valid, in lower case, and can be pickled or stored until the work begins. If there are none, ``parent=``
    begins a new trace.

    Context:
        *When*: nothing is captured. Thread-safe.

    Args:
        headers: a dict, a list of pairs, a WSGI environ, ASGI's pairs of bytes or the collection of a framework,
            with names in any case. Invalid values are treated as missing, and counted.

    Source:
        OpenTelemetry's ``propagate.extract``.

    Example:
        >>> import clew
        >>> from clew.runs.headers import extract
        >>> parent = extract({"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
        >>> with clew.record(), clew.tracing_context(parent=parent), clew.trace("serve") as run:
        ...     run.parent_span_id
        '00f067aa0ba902b7'
    """
    incoming = read(headers)
    return incoming.to_headers(incoming.with_inherited(incoming.baggage or NO_BAGGAGE))


def read_headers(headers: Any, *, is_trusted: bool = True) -> Tuple[Optional[Remote], Baggage]:
    """
    Return the run that some headers name as the parent, None if they name none, and the program's own baggage.

    If the caller is not trusted, only the ids are read, not even whether the caller records the trace.
    """
    incoming = read(headers, is_trusted=is_trusted)
    baggage = incoming.baggage or NO_BAGGAGE
    if incoming.trace_id is None:
        return None, baggage
    remote = Remote(incoming, is_trusted=is_trusted)
    if incoming.link is not None:
        remote.linked = (Remote(incoming.link),)
    return remote, baggage


def read_dotted_order(text: object) -> Optional[Remote]:
    """
    Return the run that a dotted order of LangSmith's names; None if it is not valid.
    """
    order = DottedOrder.from_header(text)
    return None if order is None else Remote(Incoming(order.trace_id, None, order=order))


def headers_of(identity: Optional[Identity], *, is_recorded: bool = True) -> Dict[str, str]:
    """
    Return the headers that make a run the parent of the runs that a request starts elsewhere.

    If the run is not recorded, its own parent is named instead.
    """
    span_id = None
    if not is_recorded and identity is not None and not isinstance(identity, (Remote, UnsampledRoot)):
        span_id = identity.span_id
        identity = identity.parent
    own_baggage = current_baggage.get()
    if identity is None:
        return {} if own_baggage is None else write(baggage=own_baggage)
    inherited = identity.inherited
    upstream = None
    baggage = own_baggage
    if inherited is not None:
        upstream = inherited.upstream
        # Most requests are sent with the same two objects as the one before. Both are immutable.
        written = inherited.written
        if written is not None and written[0] is own_baggage:
            baggage = written[1]
        else:
            baggage = _with_inherited(inherited, own_baggage)
    if isinstance(identity, Remote):
        return _headers_of_remote(identity, span_id, baggage)
    if not identity.is_sampled:
        return write(identity.trace_hex(), identity.span_id, _UNSAMPLED_FLAGS, baggage=baggage)
    order = identity.dotted_order
    langsmith_trace: Optional[str] = order
    if len(order) > MOST_ORDER_CHARS:
        langsmith_trace = None
        report(
            "langsmith_trace_dropped",
            f"expected a dotted order of at most {MOST_ORDER_CHARS:,} characters, got {len(order):,}; "
            f"the run is sent as a traceparent only",
        )
    # The ids are cut out of the dotted order, which is faster than their properties.
    span_id = f"{order[-17:-13]}{order[-12:]}"
    if upstream is None:
        return write(order[_ID_OF_ROOT].replace("-", ""), span_id, _RANDOM_FLAGS, None, langsmith_trace, baggage)
    flags = _RANDOM_FLAGS if upstream.is_random else _SAMPLED_FLAGS
    return write(upstream.trace_id, span_id, flags, upstream.trace_state, langsmith_trace, baggage)


def _headers_of_remote(remote: Remote, span_id: Optional[str], baggage: Optional[Baggage]) -> Dict[str, str]:
    upstream = remote.upstream
    if upstream.trace_parent is None or remote.is_sampled or not _hooks.start_hooks:
        return upstream.to_headers(baggage)
    # Runs of this process are recorded, except those of this trace. The sender is one of them: it has its own span id.
    if span_id is None:
        span_id = new_id_text(now_ns())[-17:].replace("-", "")
    trace_id, _, flags = upstream.trace_parent
    return write(trace_id, span_id, f"{flags:02x}", trace_state=upstream.trace_state, baggage=baggage)


def _with_inherited(inherited: Inherited, own_baggage: Optional[Baggage]) -> Baggage:
    own = own_baggage
    if own is None and inherited.upstream is not None:
        own = inherited.upstream.baggage
    if own is None:
        own = NO_BAGGAGE
    if isinstance(inherited, InheritedFromHeaders):
        baggage = inherited.upstream.with_inherited(own)
    else:
        options = LangSmithBaggage(inherited.metadata, inherited.tags, inherited.project_name)
        baggage = options.added_to(own)
        if own:
            return baggage  # not cached: `inherited` may serve all requests, `own_baggage` only one of them
    inherited.written = own_baggage, baggage
    return baggage
