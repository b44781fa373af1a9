"""
OpenTelemetry's own `inject` and `extract` and clew's headers, in both directions, and its other propagators.

What the text of each header is to the one and the other is in `tests/propagation`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.propagators.b3 import B3MultiFormat, B3SingleFormat
from opentelemetry.propagators.jaeger import JaegerPropagator
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased

import clew
from clew.integrations.opentelemetry import add_propagator, remove_propagator
from tests.edges._threads import in_empty_context

STATE = trace.TraceState([("rojo", "1"), ("congo", "t61rcWkgMzE=".rstrip("="))])
VALUES = {"tenant": "acme", "user.name": "Am\u00e9lie,1+1=2;%"}


class Tracing:
    """Trace with OpenTelemetry's SDK, and keep what it would export."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()

    def span(self, name: str, context: Context, *, is_sampled: bool = True) -> trace.Span:
        """Return an ended span under the one in the context; with none, it is sampled or not."""
        provider = TracerProvider(sampler=ParentBased(ALWAYS_ON if is_sampled else ALWAYS_OFF), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        span = provider.get_tracer("test").start_span(name, context)
        span.end()
        return span

    def exported(self) -> List[ReadableSpan]:
        return list(self._exporter.get_finished_spans())


def headers_of(span: trace.Span) -> Dict[str, str]:
    """Return what OpenTelemetry sends with the span as the current one, and some baggage."""
    context = trace.set_span_in_context(span, Context())
    for key, value in VALUES.items():
        context = baggage.set_baggage(key, value, context)
    headers: Dict[str, str] = {}
    propagate.inject(headers, context)
    return headers


def in_service(headers: Any, **options: Any) -> Any:
    """Serve a request with clew and return its run, what it sends on, and its baggage."""

    def serve() -> Any:
        with clew.tracing_context(parent=headers, **options), clew.trace("serve") as run:
            return run, clew.get_current_headers(), clew.get_baggage()

    return in_empty_context(serve)


def with_state() -> Context:
    """Return a context whose span has a state and comes from elsewhere, and is sampled."""
    parent = trace.SpanContext(0xABC << 64 | 1, 7, is_remote=True, trace_flags=trace.TraceFlags(1), trace_state=STATE)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


@pytest.mark.parametrize("above", [Context, with_state])
def test_span_is_the_parent_of_a_run(above: Callable[[], Context]) -> None:
    span = Tracing().span("call", above())
    with clew.record() as runs:
        run, _, values = in_service(headers_of(span))
    of = span.get_span_context()
    assert (run.trace_id.int, run.parent_span_id) == (of.trace_id, trace.format_span_id(of.span_id))
    assert (len(runs), values) == (1, VALUES)


def test_run_is_the_parent_of_a_span() -> None:
    tracing = Tracing()
    with clew.record():
        run, headers, _ = in_service(headers_of(tracing.span("call", with_state())))
    context = propagate.extract(headers, Context())
    tracing.span("below", context)
    parent = tracing.exported()[-1].parent
    assert parent is not None
    assert (parent.trace_id, trace.format_span_id(parent.span_id)) == (run.trace_id.int, run.span_id)
    assert (parent.trace_state, baggage.get_all(context)) == (STATE, VALUES)
    # Of a trace that began with clew, too.
    with clew.record(), clew.trace("root") as root:
        parent = trace.get_current_span(propagate.extract(root.to_headers(), Context())).get_span_context()
    assert (parent.trace_id, trace.format_span_id(parent.span_id)) == (root.trace_id.int, root.span_id)
    assert parent.trace_flags.sampled


def test_space_in_opentelemetrys_baggage_is_a_plus_to_everybody_else() -> None:
    context = baggage.set_baggage("user", "Ada L.", Context())
    headers: Dict[str, str] = {}
    propagate.inject(headers, context)
    assert headers == {"baggage": "user=Ada+L."}
    _, sent, values = in_service(headers)
    # It is passed on as it came, so that OpenTelemetry reads there what it has written.
    assert (values, baggage.get_all(propagate.extract(sent, Context()))) == ({"user": "Ada+L."}, {"user": "Ada L."})
    with clew.baggage(user="Ada L."):
        sent = clew.get_current_headers()
    assert (sent, baggage.get_all(propagate.extract(sent, Context()))) == (
        {"baggage": "user=Ada%20L."},
        {"user": "Ada L."},
    )


def test_three_services_have_one_trace() -> None:
    tracing = Tracing()
    with clew.record() as runs:
        first = tracing.span("first", Context())
        _, headers, _ = in_service(headers_of(first))
        last = tracing.span("last", propagate.extract(headers, Context()))
        in_service(headers_of(last), tags=["last"])
    top, second = tracing.exported()
    third, fourth = runs
    assert {third.trace_id.int, fourth.trace_id.int, top.context.trace_id, second.context.trace_id} == {
        top.context.trace_id
    }
    assert top.parent is None
    assert third.parent_span_id == trace.format_span_id(top.context.span_id)
    assert second.parent is not None
    assert trace.format_span_id(second.parent.span_id) == third.span_id
    assert fourth.parent_span_id == trace.format_span_id(second.context.span_id)


def test_three_services_leave_out_a_trace_that_is_not_sampled() -> None:
    tracing = Tracing()
    with clew.record() as runs:
        first = tracing.span("first", Context(), is_sampled=False)
        _, headers, values = in_service(headers_of(first))
        context = propagate.extract(headers, Context())
        last = tracing.span("last", context)
    assert (tracing.exported(), len(runs), values) == ([], 0, VALUES)
    assert baggage.get_all(context) == VALUES
    assert last.get_span_context().trace_id == first.get_span_context().trace_id
    assert not last.get_span_context().trace_flags.sampled


def test_trace_goes_on_through_a_service_that_records_nothing() -> None:
    tracing = Tracing()
    first = tracing.span("first", with_state())
    _, headers, _ = in_service(headers_of(first))
    tracing.span("last", propagate.extract(headers, Context()))
    _, last = tracing.exported()
    of = first.get_span_context()
    assert last.parent is not None
    assert (last.parent.trace_id, last.parent.span_id, last.parent.trace_state) == (of.trace_id, of.span_id, STATE)


PROPAGATORS: Dict[str, Callable[[], Any]] = {
    "b3": B3SingleFormat,
    "b3 multi": B3MultiFormat,
    "jaeger": JaegerPropagator,
    "x-ray": AwsXRayPropagator,
}
propagators = pytest.mark.parametrize("make", PROPAGATORS.values(), ids=PROPAGATORS)


@contextmanager
def added(*several: Any) -> Iterator[None]:
    for propagator in several:
        add_propagator(propagator)
    try:
        yield
    finally:
        for propagator in several:
            remove_propagator(propagator)


def injected(propagator: Any, context: Context) -> Dict[str, str]:
    headers: Dict[str, str] = {}
    propagator.inject(headers, context)
    return headers


def parent_in(propagator: Any, headers: Dict[str, str]) -> trace.SpanContext:
    """Return the parent that the propagator finds in what is its own."""
    others = {name: value for name, value in headers.items() if name not in ("traceparent", "tracestate")}
    return trace.get_current_span(propagator.extract(others, Context())).get_span_context()


def in_environ(headers: Dict[str, str]) -> Dict[str, Any]:
    return {
        "wsgi.version": (1, 0),
        **{f"HTTP_{name.upper().replace('-', '_')}": each for name, each in headers.items()},
    }


SHAPES: Dict[str, Callable[[Dict[str, str]], Any]] = {
    "dict": dict,
    "ASGI": lambda headers: [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    "upper case": lambda headers: [(name.upper(), value) for name, value in headers.items()],
    "WSGI": in_environ,
}


@propagators
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_added_format_is_read_where_it_is_alone(make: Callable[[], Any], shape: Callable[[Any], Any]) -> None:
    span = Tracing().span("call", Context())
    headers = shape(injected(make(), trace.set_span_in_context(span, Context())))
    with clew.record() as runs:
        assert in_service(headers)[0].trace_id.int != span.get_span_context().trace_id
        with added(make()):
            run, sent, _ = in_service(headers)
    assert run.trace_id.int == span.get_span_context().trace_id
    assert run.parent_span_id == trace.format_span_id(span.get_span_context().span_id)
    assert len(runs) == 2
    # What is sent on names the run in each format.
    assert sent["traceparent"].split("-")[1:3] == [run.trace_id.hex, run.span_id]
    assert parent_in(make(), sent).span_id == int(run.span_id, 16)


@propagators
def test_added_format_is_always_written(make: Callable[[], Any]) -> None:
    with clew.record(), clew.trace("call") as run:
        before = run.to_headers()
        with added(make()):
            headers = run.to_headers()
            assert clew.get_current_headers() == headers
        assert run.to_headers() == before
    assert headers.items() > before.items()
    parent = parent_in(make(), headers)
    assert (parent.trace_id, parent.span_id) == (run.trace_id.int, int(run.span_id, 16))
    assert parent.trace_flags.sampled


@propagators
@pytest.mark.parametrize("name", ["traceparent", "langsmith-trace"])
def test_added_format_is_read_only_where_neither_w3cs_nor_langsmiths_is(make: Callable[[], Any], name: str) -> None:
    of = Tracing().span("elsewhere", Context()).get_span_context()
    theirs = injected(make(), trace.set_span_in_context(trace.NonRecordingSpan(of), Context()))
    with clew.record(), added(make()):
        with clew.trace("call") as run:
            ours = run.to_headers()[name]
        child, _, _ = in_service({**theirs, name: ours})
        other, _, _ = in_service({**theirs, name: "garbage"})
    assert (child.trace_id, child.parent_span_id) == (run.trace_id, run.span_id)
    assert (other.trace_id.int, other.parent_span_id) == (of.trace_id, trace.format_span_id(of.span_id))


@propagators
def test_added_format_says_whether_the_trace_is_recorded(make: Callable[[], Any]) -> None:
    span = Tracing().span("call", Context(), is_sampled=False)
    headers = injected(make(), trace.set_span_in_context(span, Context()))
    with clew.record() as runs, added(make()):
        _, sent, _ = in_service(headers)
    parent = parent_in(make(), sent)
    assert (len(runs), parent.trace_id) == (0, span.get_span_context().trace_id)
    assert not parent.trace_flags.sampled


@propagators
def test_caller_in_an_added_format_who_is_not_trusted_is_linked_to(make: Callable[[], Any]) -> None:
    of = Tracing().span("call", Context()).get_span_context()
    headers = injected(make(), trace.set_span_in_context(trace.NonRecordingSpan(of), Context()))
    with clew.record(), added(make()):
        run, sent, _ = in_service(headers, trusted=False)
    assert (run.parent_span_id, sent["traceparent"].split("-")[1]) == (None, run.trace_id.hex)
    assert [(link.trace_id.int, int(link.span_id, 16)) for link in run.links] == [(of.trace_id, of.span_id)]


def test_several_formats_are_all_written_and_the_first_is_read() -> None:
    several = [make() for make in PROPAGATORS.values()]
    spans = [Tracing().span("call", Context()).get_span_context() for _ in several]
    headers: Dict[str, str] = {}
    for propagator, span in reversed([*zip(several, spans)]):
        headers.update(injected(propagator, trace.set_span_in_context(trace.NonRecordingSpan(span), Context())))
    with clew.record(), added(*several):
        run, sent, _ = in_service(headers)
    assert run.parent_span_id == trace.format_span_id(spans[0].span_id)
    assert {parent_in(propagator, sent).span_id for propagator in several} == {int(run.span_id, 16)}


def test_baggage_of_jaegers_is_read_and_written() -> None:
    context = baggage.set_baggage("tenant", "acme", trace.set_span_in_context(Tracing().span("call", Context())))
    with clew.record(), added(JaegerPropagator()):
        _, sent, values = in_service(injected(JaegerPropagator(), context))
    assert values == {"tenant": "acme"}
    assert (sent["baggage"], sent["uberctx-tenant"]) == ("tenant=acme", "acme")


class Failing:
    """Be a propagator that always fails."""

    fields = frozenset({"x"})

    def extract(self, carrier: Any, context: Optional[Context] = None, getter: Any = None) -> Context:
        raise RuntimeError("extract")

    def inject(self, carrier: Any, context: Optional[Context] = None, setter: Any = None) -> None:
        carrier["x"] = "half"
        raise RuntimeError("inject")


def test_propagator_that_fails_is_counted_and_harmless() -> None:
    before = clew.stats().get("formats_failed", 0)
    b3 = B3SingleFormat()
    with clew.record() as runs, added(Failing(), b3):  # type: ignore[arg-type]
        run, sent, _ = in_service({"b3": f"{7:032x}-{8:016x}-1"})
    assert (run.trace_id.int, run.parent_span_id, len(runs)) == (7, f"{8:016x}", 1)
    assert sent["b3"] == f"{7:032x}-{run.span_id}-1"
    assert "x" not in sent
    assert clew.stats()["formats_failed"] == before + 2


@propagators
@pytest.mark.parametrize("garbage", ["", "garbage", "\0", "\u00e9", "0" * 50, "-".join("0" * 9), "x" * (1 << 20)])
def test_garbage_in_an_added_format_is_for_a_new_trace(make: Callable[[], Any], garbage: str) -> None:
    names = ["b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags", "uber-trace-id", "x-amzn-trace-id"]
    with clew.record() as runs, added(make()):
        run, sent, _ = in_service(dict.fromkeys(names, garbage))
    assert (run.parent_span_id, run.links, len(runs)) == (None, (), 1)
    assert sent["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-03"
