"""
Jobs that outlive the request that handed them over: they are steps of it all the same.
"""

from __future__ import annotations

import gc
import threading
from contextvars import Context, copy_context
from typing import Any, Iterator

import pytest

import clew
from tests.edges._threads import DEADLINE, in_empty_context
from tests.foreign._tracers import NEEDS_LANGSMITH, LangSmith, OpenTelemetry
from tests.foreign._ways import take


def steps_taken_late(tracer: Any) -> Any:
    """Have a job take a step when the request is over and nobody holds on to its span or run."""
    go = threading.Event()

    def job() -> None:
        assert go.wait(DEADLINE)
        take(tracer.step)

    with clew.ContextThreadPoolExecutor(1) as pool:

        def scenario() -> Any:
            with tracer.request():
                return pool.submit(job)

        future = in_empty_context(scenario)
        gc.collect()
        go.set()
        future.result(DEADLINE)
    return tracer.steps()


def test_late_job_is_a_step_of_opentelemetrys_request(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = OpenTelemetry(monkeypatch)
    assert steps_taken_late(tracer) == [True]
    tracer.close()


class HoldOn:
    """Have what is captured hold on to LangSmith's current run, to which its context has a weak reference only."""

    def get(self) -> Any:
        from langsmith.run_helpers import get_current_run_tree

        return get_current_run_tree()

    def set(self, value: Any, /) -> None:
        pass  # it is current already, as the context is the captured one

    def restore(self, previous: Any, /) -> None:
        pass

    def clear(self) -> None:
        pass


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmith]:
    tracer = LangSmith(monkeypatch)
    yield tracer
    monkeypatch.undo()
    tracer.close()


def current_run_after_a_request(langsmith: LangSmith) -> Any:
    """Return what a copy of the context of a request that is over has as its current run."""

    def scenario() -> Context:
        with langsmith.block("another request"):
            return copy_context()

    context = in_empty_context(scenario)
    gc.collect()
    return context.run(HoldOn().get)


@NEEDS_LANGSMITH
def test_late_job_is_a_step_of_langsmiths_request_if_its_context_holds_the_run(langsmith: LangSmith) -> None:
    holds_it = current_run_after_a_request(langsmith) is not None  # its later releases do not
    assert steps_taken_late(langsmith) == [holds_it]


@NEEDS_LANGSMITH
def test_late_job_is_a_step_of_langsmiths_request_if_an_accessor_holds_the_run(langsmith: LangSmith) -> None:
    unregister = clew.register_accessor("langsmith", HoldOn())
    try:
        assert steps_taken_late(langsmith) == [True]
    finally:
        unregister()
