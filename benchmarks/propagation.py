"""
The headers of a request: read and written by clew's codecs and run tree, beside OpenTelemetry and LangSmith's SDK.
"""

from __future__ import annotations

from typing import Callable, Tuple

import clew
from benchmarks._cases import Case, Measure, Section, calls
from clew.propagation.baggage import Baggage
from clew.propagation.fields import Fields
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import TraceParent
from clew.propagation.tracestate import TraceState

__all__ = ("SECTIONS",)

MOST_READ_US = 4.0
MOST_WRITTEN_US = 2.0

CARRIERS = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    "baggage": (
        "langsmith-metadata=%7B%22user%22%3A%22u-123%22%2C%22session_id%22%3A%22abc-def%22%7D,"
        "langsmith-tags=web%2Cbeta,langsmith-project=my-project"
    ),
    "langsmith-trace": (
        "20260102T030405000006Z018f0000-0000-7000-8000-000000000001."
        "20260102T030405000007Z018f0000-0000-7000-8000-000000000002"
    ),
}
HEADERS = {
    "host": "example.org",
    "accept": "*/*",
    "accept-encoding": "gzip, deflate",
    "accept-language": "en",
    "connection": "keep-alive",
    "content-length": "12",
    "content-type": "application/json",
    "user-agent": "python-httpx/0.28.1",
    **CARRIERS,
}
TITLED = {name.title(): value for name, value in HEADERS.items()}
RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
ENVIRON = {
    "wsgi.version": (1, 0),
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in HEADERS.items()},
}


def looked_up(_: int) -> Tuple[object, ...]:
    get = HEADERS.get
    return get("traceparent"), get("tracestate"), get("baggage"), get("langsmith-trace")


def read(headers: object) -> Tuple[object, ...]:
    """
    Return what the headers say, valid as it stands, and each part decoded when somebody asks for it.
    """
    fields = Fields.from_headers(headers)
    return (
        TraceParent.from_header(fields.traceparent),
        TraceState.from_header(fields.tracestate),
        Baggage.from_header(fields.baggage),
        DottedOrder.from_header(fields.langsmith_trace),
    )


def read_and_decoded(_: int) -> None:
    parent, state, baggage, order = read(HEADERS)
    LangSmithBaggage.from_baggage(baggage)
    int(parent.trace_id, 16), int(parent.span_id, 16), state.items(), order.runs


PARENT, STATE, BAGGAGE, ORDER = read(HEADERS)
LANGSMITH = LangSmithBaggage.from_baggage(BAGGAGE)
OTHERS = Baggage.from_header("tenant=acme")


def copied(_: int) -> dict:
    return dict(CARRIERS)


def write(_: int) -> dict:
    return {
        "traceparent": PARENT.to_header(),
        "tracestate": STATE.to_header(),
        "baggage": BAGGAGE.to_header(),
        "langsmith-trace": ORDER.to_header(),
    }


def opentelemetry_reads(loops: int) -> float:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent, baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()
    return calls(lambda _: baggage.extract(HEADERS, parent.extract(HEADERS, Context())))(loops)


def opentelemetry_writes(loops: int) -> float:
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent, baggage = TraceContextTextMapPropagator(), W3CBaggagePropagator()
    context = baggage.extract(HEADERS, parent.extract(HEADERS, Context()))

    def inject(_: int) -> dict:
        headers: dict = {}
        parent.inject(headers, context)
        baggage.inject(headers, context)
        return headers

    return calls(inject)(loops)


def langsmith_reads(loops: int) -> float:
    from langsmith.run_trees import _Baggage

    return calls(lambda _: _Baggage.from_header(HEADERS["baggage"]))(loops)


def langsmith_writes(loops: int) -> float:
    from langsmith.run_trees import _Baggage

    baggage = _Baggage.from_header(HEADERS["baggage"])
    return calls(lambda _: baggage.to_header())(loops)


def in_run(measured: Callable[[clew.RunTree], Callable[[int], object]]) -> Measure:
    """
    Return what measures a call that is made from a run, which is under a request and recorded.
    """

    def measure(loops: int) -> float:
        with clew.record(), clew.tracing_context(parent=HEADERS), clew.trace("serve") as run:
            return calls(measured(run))(loops)

    return measure


def written_by_a_new_run(run: clew.RunTree) -> Callable[[int], object]:
    return lambda _: run.create_child("call").to_headers()


def made(run: clew.RunTree) -> Callable[[int], object]:
    return lambda _: run.create_child("call")


def passed_on(loops: int) -> float:
    with clew.tracing_context(parent=HEADERS):
        return calls(lambda _: clew.get_current_headers())(loops)


def as_parent(_: int) -> None:
    with clew.tracing_context(parent=HEADERS):
        pass


def langsmith_tree_reads(loops: int) -> float:
    from langsmith.run_trees import RunTree

    return calls(lambda _: RunTree.from_headers(HEADERS))(loops)


def langsmith_tree_writes(loops: int) -> float:
    from langsmith.run_trees import RunTree

    run = RunTree.from_headers(HEADERS)
    return calls(lambda _: run.to_headers())(loops)


SECTIONS = (
    Section(
        "the run tree, read",
        (
            Case("clew, RunTree.from_headers", calls(lambda _: clew.RunTree.from_headers(HEADERS))),
            Case(
                "clew, tracing_context(parent=headers)", calls(as_parent), less_than="langsmith, RunTree.from_headers"
            ),
            Case("langsmith, RunTree.from_headers", langsmith_tree_reads, package="langsmith"),
        ),
    ),
    Section(
        "the run tree, written",
        (
            Case("clew, a run's headers", in_run(lambda run: lambda _: run.to_headers()), most_us=MOST_WRITTEN_US),
            Case("clew, a new run and its headers", in_run(written_by_a_new_run)),
            Case("clew, a new run alone", in_run(made)),
            Case("clew, passed on with recording off", passed_on),
            Case("langsmith, RunTree.to_headers", langsmith_tree_writes, package="langsmith"),
        ),
    ),
    Section(
        "reading a request",
        (
            Case("dict.get, four times", calls(looked_up)),
            Case("clew, a dict", calls(lambda _: read(HEADERS)), most_us=MOST_READ_US),
            Case("clew, a dict with Titled-Names", calls(lambda _: read(TITLED))),
            Case("clew, a list of ASGI's", calls(lambda _: read(RAW)), most_us=MOST_READ_US),
            Case("clew, an environ of WSGI's", calls(lambda _: read(ENVIRON)), most_us=MOST_READ_US),
            Case("clew, all of it decoded", calls(read_and_decoded), less_than="opentelemetry, W3C only"),
            Case("opentelemetry, W3C only", opentelemetry_reads, package="opentelemetry-api"),
        ),
    ),
    Section(
        "writing what was read",
        (
            Case("dict(...)", calls(copied)),
            Case("clew", calls(write), most_us=MOST_WRITTEN_US),
            Case("opentelemetry, W3C only", opentelemetry_writes, package="opentelemetry-api"),
        ),
    ),
    Section(
        "LangSmith's baggage, read",
        (
            Case("langsmith", langsmith_reads, package="langsmith"),
            Case("clew", calls(lambda _: LangSmithBaggage.from_baggage(Baggage.from_header(HEADERS["baggage"])))),
        ),
    ),
    Section(
        "LangSmith's baggage, written",
        (
            Case("langsmith", langsmith_writes, package="langsmith"),
            Case("clew, before a member of others", calls(lambda _: LANGSMITH.added_to(OTHERS).to_header())),
        ),
    ),
)
