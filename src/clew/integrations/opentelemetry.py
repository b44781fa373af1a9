"""
OpenTelemetry's propagators as further formats of clew's headers: B3, Jaeger, X-Ray, and whatever else has one.

W3C's and LangSmith's need none of this. The formats themselves come from OpenTelemetry's own packages.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from clew.errors import ArgumentTypeError, MissingExtraError
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import all_values
from clew.propagation.traceparent import TraceParent
from clew.propagation.tracestate import TraceState as _TraceState
from clew.runs.headers import Received, add_format, remove_format

try:
    from opentelemetry import baggage
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import Getter, TextMapPropagator
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        TraceState,
        format_span_id,
        format_trace_id,
        get_current_span,
        set_span_in_context,
    )
except ImportError as _missing:
    raise MissingExtraError("clew.integrations.opentelemetry", "opentelemetry") from _missing

__all__ = ("add_propagator", "remove_propagator")

_added: List[_Propagated] = []


def add_propagator(propagator: TextMapPropagator) -> None:
    """
    Have one more format read and written wherever clew reads and writes headers, in the whole process.

    It is read where neither LangSmith's format nor W3C's names a parent; of two that were added, the first one
    is. It is always written, over what has the same name.

    What it raises is counted in `clew.stats()` as ``formats_failed``, and the headers go on without it.

    Context:
        *When*: nothing is captured. Thread-safe.

    Args:
        propagator: such as ``B3MultiFormat()`` of the package ``opentelemetry-propagator-b3``.

    Raises:
        ArgumentTypeError: it has no `inject` or no `extract`.

    Example:
        >>> import clew
        >>> from clew.integrations.opentelemetry import add_propagator, remove_propagator
        >>> from opentelemetry.propagators.b3 import B3SingleFormat
        >>> b3 = B3SingleFormat()
        >>> add_propagator(b3)
        >>> with clew.record(), clew.trace("call") as run:
        ...     run.to_headers()["b3"] == f"{run.trace_id.hex}-{run.span_id}-1"
        True
        >>> remove_propagator(b3)
    """
    if not (hasattr(propagator, "inject") and hasattr(propagator, "extract")) or isinstance(propagator, type):
        raise ArgumentTypeError(
            f"expected a TextMapPropagator, got {propagator!r}; pass an instance, such as B3MultiFormat()"
        )
    propagated = _Propagated(propagator)
    _added.append(propagated)
    add_format(propagated)


def remove_propagator(propagator: TextMapPropagator) -> None:
    """
    Undo `add_propagator`; one that was not added is none to remove.
    """
    for propagated in [each for each in _added if each.propagator is propagator]:
        _added.remove(propagated)
        remove_format(propagated)


class _Propagated:
    def __init__(self, propagator: TextMapPropagator) -> None:
        self.propagator: Any = propagator
        self.name = type(propagator).__name__

    def read(self, headers: Any) -> Optional[Received]:
        """
        Return what the propagator finds.
        """
        context = self.propagator.extract(all_values(headers), Context(), _GETTER)
        span = get_current_span(context).get_span_context()
        if not span.is_valid:
            return None
        return Received(
            TraceParent(format_trace_id(span.trace_id), format_span_id(span.span_id), int(span.trace_flags)),
            _TraceState(span.trace_state.items()),
            Baggage(BaggageMember(key, str(value)) for key, value in baggage.get_all(context).items()),
        )

    def write(self, sent: Received) -> Mapping[str, str]:
        """
        Return what the propagator writes.
        """
        trace_parent = sent.trace_parent
        span = SpanContext(
            int(trace_parent.trace_id, 16),
            int(trace_parent.span_id, 16),
            is_remote=False,
            trace_flags=TraceFlags(trace_parent.flags),
            trace_state=TraceState(sent.trace_state.items()),
        )
        context = set_span_in_context(NonRecordingSpan(span), Context())
        for member in sent.baggage.members:
            context = baggage.set_baggage(member.key, member.value, context)
        headers: Dict[str, str] = {}
        self.propagator.inject(headers, context)
        return headers


class _LowerCase(Getter[Dict[str, List[str]]]):
    """
    Read from names in lower case, whichever the propagator asks for.
    """

    def get(self, carrier: Dict[str, List[str]], key: str) -> Optional[List[str]]:
        return carrier.get(key.lower())

    def keys(self, carrier: Dict[str, List[str]]) -> List[str]:
        return list(carrier)


_GETTER = _LowerCase()
