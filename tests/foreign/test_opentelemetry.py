"""
OpenTelemetry's own `start_as_current_span` through the executor: the real SDK, with its in-memory exporter.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Callable, Dict, List, Optional, Type

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, in_empty_context, settle


def submit(pool: Executor, step: Callable[[int], None]) -> None:
    for number in range(3):
        pool.submit(step, number).result(DEADLINE)


def map_(pool: Executor, step: Callable[[int], None]) -> None:
    list(pool.map(step, range(3)))


def callback(pool: Executor, step: Callable[[int], None]) -> None:
    go = threading.Event()
    for number in range(3):
        pool.submit(go.wait, DEADLINE).add_done_callback(lambda _, number=number: step(number))
    go.set()


def parents(pool_class: Type[Executor], use: Callable[..., None]) -> Dict[str, List[Optional[str]]]:
    """Return, for each span's name, the names of the parents that spans of this name have."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")

    def step(_: int) -> None:
        with tracer.start_as_current_span("step"), tracer.start_as_current_span("inner"):
            pass

    def request() -> None:
        with tracer.start_as_current_span("request"), pool_class(1) as pool:  # type: ignore[call-arg]
            settle(pool)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
            use(pool, step)

    in_empty_context(request)
    provider.shutdown()
    spans = exporter.get_finished_spans()
    assert len(spans) == 7
    names: Dict[Optional[int], str] = {span.context.span_id: span.name for span in spans}
    found: Dict[str, List[Optional[str]]] = {}
    for span in spans:
        found.setdefault(span.name, []).append(_parent_name(span, names))
    return found


def _parent_name(span: ReadableSpan, names: Dict[Optional[int], str]) -> Optional[str]:
    return None if span.parent is None else names[span.parent.span_id]


WAYS = pytest.mark.parametrize("use", [submit, map_, callback])


@WAYS
def test_bare_pool_splits_opentelemetrys_trace(use: Callable[..., None]) -> None:
    assert parents(ThreadPoolExecutor, use)["step"] == [None] * 3


@WAYS
def test_pool_keeps_opentelemetrys_trace_whole(use: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    assert parents(ContextThreadPoolExecutor, use) == {
        "request": [None],
        "step": ["request"] * 3,
        "inner": ["step"] * 3,
    }
    assert not caplog.records  # "Failed to detach context" would be here
