"""
`detached()` and `Snapshot.attached()` with the tracers that clew knows: whose child a span or run becomes there.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Callable, ContextManager, Iterator, List, Tuple

import pytest
from opentelemetry import baggage, context, trace

import clew
from tests.edges._threads import in_empty_context
from tests.foreign._tracers import NEEDS_LANGSMITH, TRACERS, OpenTelemetry
from tests.foreign._ways import submit, take, target


@pytest.fixture(params=TRACERS)
def tracer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    tracer = request.param(monkeypatch)
    yield tracer
    monkeypatch.undo()
    tracer.close()


@pytest.fixture(autouse=True)
def nothing_is_reported(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that nobody logs a failure to take a parent away, or to put it back."""
    before = clew.stats()
    yield
    # asyncio's debug mode tells of slow steps.
    assert [each for each in caplog.get_records("call") if "took" not in each.getMessage()] == []
    assert clew.stats() == before


def open_step(tracer: Any) -> None:
    take(tracer.step)


def open_step_in_a_pool(tracer: Any) -> None:
    submit(clew.ContextThreadPoolExecutor)(tracer.step)


def open_step_in_a_thread(tracer: Any) -> None:
    target(clew.ContextThread)(tracer.step)


places = pytest.mark.parametrize("open_it", [open_step, open_step_in_a_pool, open_step_in_a_thread])


@places
def test_detached_block_begins_a_new_trace_and_gives_the_old_one_back(
    tracer: Any, open_it: Callable[[Any], None]
) -> None:
    def scenario() -> None:
        with tracer.request():
            with clew.detached():
                open_it(tracer)
                open_it(tracer)
            open_it(tracer)

    in_empty_context(scenario)
    assert tracer.roots() == [True, True, False]
    assert tracer.steps() == [False, False, True]


def test_detached_block_gives_the_old_trace_back_after_an_error(tracer: Any) -> None:
    def scenario() -> None:
        with tracer.request():
            with pytest.raises(LookupError), clew.detached(), tracer.step():
                raise LookupError
            open_step(tracer)

    in_empty_context(scenario)
    assert tracer.roots() == [True, False]
    assert tracer.steps() == [False, True]


def test_detached_blocks_nest_and_what_is_opened_inside_has_children(tracer: Any) -> None:
    def scenario() -> None:
        with clew.detached(), tracer.request(), clew.detached():
            open_step(tracer)
            with clew.detached():
                open_step(tracer)
            open_step(tracer)

    in_empty_context(scenario)
    assert tracer.roots() == [True] * 3


def capture_in_a_request(tracer: Any) -> Tuple[clew.Snapshot, ContextManager[object]]:
    """Return a snapshot of a request, and what ends that request."""
    request = ExitStack()

    def scenario() -> clew.Snapshot:
        request.enter_context(tracer.request())
        return clew.capture()

    context = clew.capture().context()
    return context.run(scenario), _In(context, request)


class _In(ExitStack):
    """Leave a block in the context in which it was entered."""

    def __init__(self, context: Any, block: ExitStack) -> None:
        super().__init__()
        self.callback(context.run, block.close)


@places
def test_attached_block_has_the_parent_of_the_snapshot_and_then_its_own(
    tracer: Any, open_it: Callable[[Any], None]
) -> None:
    def scenario() -> None:
        snapshot, request = capture_in_a_request(tracer)
        with request, tracer.step():
            with snapshot.attached():
                open_it(tracer)
            open_it(tracer)

    in_empty_context(scenario)
    assert tracer.steps() == [False, True, False]
    assert tracer.roots() == [True, False, False]


def test_worker_has_no_parent_after_the_block(tracer: Any) -> None:
    def scenario() -> None:
        snapshot, request = capture_in_a_request(tracer)
        with request:
            for _ in range(2):
                with snapshot.attached():
                    open_step(tracer)
                open_step(tracer)

    in_empty_context(scenario)
    assert tracer.steps() == [True, False] * 2
    assert tracer.roots() == [False, True] * 2


@places
def test_attached_block_with_a_link_begins_a_new_trace(tracer: Any, open_it: Callable[[Any], None]) -> None:
    def scenario() -> None:
        snapshot, request = capture_in_a_request(tracer)
        with request, tracer.step():
            with snapshot.attached(link=True):
                open_it(tracer)
            open_it(tracer)

    in_empty_context(scenario)
    assert tracer.roots() == [True, True, False]
    assert tracer.steps() == [False, False, False]


@places
def test_snapshot_without_a_parent_takes_the_parent_away(tracer: Any, open_it: Callable[[Any], None]) -> None:
    def scenario() -> None:
        snapshot = clew.capture()
        with tracer.request():
            with snapshot.attached():
                open_it(tracer)
            open_it(tracer)

    in_empty_context(scenario)
    assert tracer.roots() == [True, False]
    assert tracer.steps() == [False, True]


def test_detached_block_keeps_opentelemetrys_baggage(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = OpenTelemetry(monkeypatch)

    def scenario() -> None:
        context.attach(baggage.set_baggage("tenant", "ada"))
        with tracer.request(), clew.detached():
            assert not trace.get_current_span().get_span_context().is_valid
            assert baggage.get_baggage("tenant") == "ada"

    in_empty_context(scenario)
    tracer.close()


@NEEDS_LANGSMITH
def test_detached_block_keeps_all_of_langsmiths_context_but_the_parent() -> None:
    import langsmith
    from langsmith.run_helpers import get_tracing_context, tracing_context

    client = langsmith.Client(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
    given = {"tags": ["tag"], "metadata": {"key": "value"}, "enabled": "local", "client": client}
    destinations: List[Any] = [{"project_name": "project"}]
    if hasattr(langsmith, "agent_address"):  # its later releases have another one, which excludes the first
        destinations.append({"address": langsmith.agent_address("agent", "production")})
    parent = "20261121T160000000000Z00000000-0000-4000-8000-000000000000"

    def scenario() -> None:
        for destination in destinations:
            with tracing_context(parent=parent, **given, **destination):
                outside = get_tracing_context()
                with clew.detached():
                    inside = get_tracing_context()
                assert get_tracing_context() == outside
            assert inside.pop("parent") is None
            assert outside.pop("parent") is not None
            # Later releases keep the id of a parent that was given as text once more.
            assert inside.pop("distributed_parent_id", None) is None
            outside.pop("distributed_parent_id", None)
            assert inside == outside
            assert {**outside, **given, **destination} == outside

    in_empty_context(scenario)
