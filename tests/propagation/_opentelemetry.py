"""
OpenTelemetry's own propagators, as two functions.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Tuple

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PROPAGATORS = (TraceContextTextMapPropagator(), W3CBaggagePropagator())


def extract(headers: Mapping[str, Any]) -> Context:
    context = Context()
    for propagator in PROPAGATORS:
        context = propagator.extract(headers, context)
    return context


def inject(context: Context) -> Dict[str, str]:
    headers: Dict[str, str] = {}
    for propagator in PROPAGATORS:
        propagator.inject(headers, context)
    return headers


def read_parent(headers: Mapping[str, Any]) -> Tuple[str, str, int, Dict[str, str]]:
    """Return trace id, span id, flags and the members of the state, as OpenTelemetry reads them."""
    span = trace.get_current_span(extract(headers)).get_span_context()
    return f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags), dict(span.trace_state)


def written_parent(trace_id: str, span_id: str, flags: int, state: Mapping[str, str]) -> Dict[str, str]:
    """Return the headers that OpenTelemetry writes for a parent."""
    span = trace.SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=False,
        trace_flags=trace.TraceFlags(flags),
        trace_state=trace.TraceState(list(state.items())),
    )
    return inject(trace.set_span_in_context(trace.NonRecordingSpan(span), Context()))


def read_baggage(headers: Mapping[str, Any]) -> Dict[str, object]:
    return dict(baggage.get_all(extract(headers)))


def written_baggage(values: Mapping[str, str]) -> str:
    """Return the header that OpenTelemetry writes."""
    context = Context()
    for key, value in values.items():
        context = baggage.set_baggage(key, value, context)
    return inject(context)["baggage"]
