"""
Sampling: decided once, at the root, and held to by all that is under it, also in other services.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any, Callable, Iterator, List
from uuid import UUID

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.settings import settings


@pytest.fixture
def sample(settings_as_they_were: None) -> Callable[[Any], None]:
    def use(sampler: Any) -> None:
        settings.sampler = sampler

    return use


@clew.traceable
def inner() -> Any:
    return clew.get_current_run_tree()


@clew.traceable
def outer(count: int = 1) -> Any:
    return [inner() for _ in range(count)]


@clew.traceable
async def outer_async() -> Any:
    await asyncio.sleep(0)
    return inner()


@clew.traceable
def stream() -> Iterator[Any]:
    yield inner()
    yield clew.get_current_headers()


@clew.traceable
def returns() -> Iterator[Any]:
    return (inner() for _ in range(2))


def test_nothing_of_an_unsampled_trace_is_recorded(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    sample(0.0)
    outer()
    asyncio.run(outer_async())
    for make in (stream, returns):
        for _ in make():
            outer()
    with clew.trace("block") as run:
        run.add_outputs({"a": 1})
        inner()
        run.create_child("child").post()
    clew.RunTree("by hand").post()
    assert len(runs) == 0


def test_all_of_a_sampled_trace_is_recorded(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    sample(1)
    outer()
    assert runs.tree() == "outer\n└── inner"


def test_ratio_is_about_that_of_all_traces_and_none_is_split(
    runs: clew.Recording, sample: Callable[[Any], None]
) -> None:
    sample(0.25)
    for _ in range(2_000):
        outer(2)
    assert 380 <= len(runs.roots) <= 620  # six standard deviations
    assert {len(root.children) for root in runs.roots} == {2}
    # By the last 56 bits of the trace id, as everybody else who samples by a ratio finds it.
    assert all(root.trace_id.int & (1 << 56) - 1 >= 0.75 * (1 << 56) for root in runs.roots)


@pytest.mark.parametrize("ratio", [1e-16, 1e-17, 1e-300, 5e-324])
def test_ratio_that_is_next_to_nothing_records_next_to_nothing(
    runs: clew.Recording, sample: Callable[[Any], None], ratio: float
) -> None:
    for sampler in (ratio, lambda _: ratio):
        sample(sampler)
        for _ in range(200):
            outer()
    assert len(runs) == 0


LOW, HIGH = "018f0000-0000-7000-8000-000000000001", "018f0000-0000-7000-bfff-ffffffffffff"
VARIANT = "018f0000-0000-7000-bf00-000000000001"  # low; the digits of the variant do not count


@pytest.mark.parametrize(("run_id", "is_recorded"), [(LOW, False), (HIGH, True), (UUID(LOW), False), (VARIANT, False)])
def test_id_that_is_given_decides(
    runs: clew.Recording, sample: Callable[[Any], None], run_id: Any, is_recorded: bool
) -> None:
    sample(0.5)
    for _ in range(20):
        with clew.trace("block", run_id=run_id) as block:
            pass
        called = inner(langsmith_extra={"run_id": run_id})
        by_hand = clew.RunTree("by hand", id=run_id)
        by_hand.post()
        by_hand.end()
    assert len(runs) == (60 if is_recorded else 0)
    assert {str(run.id) for run in (block, called, by_hand)} == {str(run_id)}
    assert {run.to_headers()["traceparent"][-2:] for run in (block, called, by_hand)} == {"03" if is_recorded else "02"}


def test_sampler_is_asked_for_each_root_and_for_nothing_else(
    runs: clew.Recording, sample: Callable[[Any], None]
) -> None:
    asked: List[clew.TraceRoot] = []

    def by_name(root: clew.TraceRoot) -> bool:
        asked.append(root)
        return root.name != "outer"

    settings.set_resource(project_name=None, service="shop")
    sample(by_name)
    outer()
    with clew.trace("kept", "tool"):
        outer()
    assert asked == [clew.TraceRoot("outer", "chain", "shop"), clew.TraceRoot("kept", "tool", "shop")]
    runs.assert_tree("""
        kept
          outer
            inner
    """)


def test_sampler_may_return_a_ratio_and_fail(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    def fails(_: clew.TraceRoot) -> bool:
        raise LookupError("no")

    sample(lambda _: 0.0)
    outer()
    assert len(runs) == 0
    before = clew.stats().get("samplers_failed", 0)
    sample(fails)
    outer()
    assert len(runs) == 2
    assert clew.stats()["samplers_failed"] == before + 1
    sample(lambda _: float("nan"))
    outer()
    assert len(runs) == 4
    assert clew.stats()["samplers_failed"] == before + 2


def test_headers_of_an_unsampled_trace_say_so(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    sample(0.0)
    _, headers = list(stream())
    assert set(headers) == {"traceparent"}
    assert headers["traceparent"].endswith("-02")
    with clew.trace("block") as run:
        assert run.to_headers()["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-02"
    sample(None)
    with clew.tracing_context(parent=headers):
        outer()
    assert len(runs) == 0


def test_ids_of_an_unsampled_trace_are_the_same_to_all_that_ask(
    runs: clew.Recording, sample: Callable[[Any], None]
) -> None:
    def ask() -> Any:
        run = clew.get_current_run_tree()
        assert run is not None
        return run.id, run.trace_id, run.dotted_order, run.start_time_ns, clew.get_current_headers()["traceparent"]

    def ask_at_once() -> Any:
        gate = threading.Barrier(4)

        def wait_and_ask() -> Any:
            gate.wait(10)
            return ask()

        with clew.ContextThreadPoolExecutor(4) as pool:
            return [future.result(10) for future in [pool.submit(wait_and_ask) for _ in range(4)]]

    @clew.traceable
    def call() -> Any:
        return [*ask_at_once(), ask()]

    @clew.traceable
    async def call_async() -> Any:
        return [*ask_at_once(), ask()]

    @clew.traceable
    def stream_of_ids() -> Any:
        yield from ask_at_once()
        yield ask()

    sample(1e-12)
    asked = [call(), asyncio.run(call_async()), list(stream_of_ids())]
    with clew.trace("block"):
        asked.append([*ask_at_once(), ask()])
    for each in asked:
        assert len({*each}) == 1
        run_id, trace_id, dotted_order, start_time_ns, traceparent = each[0]
        assert run_id == trace_id
        assert dotted_order.endswith(f"Z{run_id}")
        assert int(run_id.hex[:12], 16) == start_time_ns // 1_000_000
        assert traceparent.startswith(f"00-{trace_id.hex}-")
    assert len({each[0] for each in asked}) == 4


def test_run_of_an_unsampled_trace_is_one_that_takes_everything(
    runs: clew.Recording, sample: Callable[[Any], None]
) -> None:
    sample(0.0)
    before = clew.stats()
    (run,) = outer()
    run.add_tags("a")
    run.add_metadata({"a": 1})
    run.end(outputs={"a": 1})
    assert isinstance(run, clew.RunTree)
    assert (run.name, run.parent_id) == ("outer", None)
    assert clew.stats() == before


def test_error_of_an_unsampled_call_is_the_programs_own(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    @clew.traceable
    def fails() -> None:
        raise KeyError("here")

    sample(0.0)
    with pytest.raises(KeyError, match="here"):
        fails()
    assert len(runs) == 0


def test_wrong_sampler_is_refused(sample: Callable[[Any], None]) -> None:
    with pytest.raises(ArgumentValueError, match=r"expected a ratio from 0 to 1, got 10"):
        sample(10)
    with pytest.raises(ArgumentTypeError, match=r"expected a sampler as a ratio or a function, got str '0\.1'"):
        sample("0.1")
    with pytest.raises(ArgumentTypeError, match="got bool True"):
        sample(True)


def test_project_and_service_are_those_of_the_process(runs: clew.Recording, sample: Callable[[Any], None]) -> None:
    settings.set_resource(project_name="shop", service="web")
    outer()
    with clew.tracing_context(project_name="own"):
        outer()
    assert [root.project_name for root in runs.roots] == ["shop", "own"]
    assert {run.service for run in runs} == {"web"}


def consumed(make: Callable[[], Any], within: Any) -> None:
    """Call in a block, and take the items after it, as who streams a response does."""
    with within:
        made = make()
    if hasattr(made, "__aiter__"):
        asyncio.run(read(made))
    else:
        list(made)


async def read(made: Any) -> List[Any]:
    return [each async for each in made]


@clew.traceable
async def stream_async() -> Any:
    await asyncio.sleep(0)
    yield inner()
    yield inner()


@clew.traceable
def returns_async() -> Any:
    return stream_of_two()


async def stream_of_two() -> Any:
    yield inner()
    yield inner()


EVERY_STREAM = [stream, stream_async, returns, returns_async]


@pytest.mark.parametrize("make", EVERY_STREAM)
def test_stream_stays_in_the_unsampled_trace_that_it_was_called_in(
    runs: clew.Recording, sample: Callable[[Any], None], make: Any
) -> None:
    sample(lambda root: root.name != "request")
    consumed(make, clew.trace("request"))
    assert runs.tree() == ""
    consumed(make, clew.trace("other"))
    assert [root.name for root in runs.roots] == ["other"]


@pytest.mark.parametrize("make", EVERY_STREAM)
def test_stream_that_was_called_where_nothing_is_recorded_is_not(runs: clew.Recording, make: Any) -> None:
    consumed(make, clew.tracing_context(enabled=False))
    assert runs.tree() == ""


@pytest.mark.parametrize("extra", [{}, {"run_id": "01a222e7-28d6-75c1-862e-867130f6d624"}])
def test_sampled_stream_starts_at_its_first_step(
    runs: clew.Recording, sample: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, extra: Any
) -> None:
    sample(1.0)
    made = stream(langsmith_extra=extra)  # type: ignore[call-arg]
    later = time.time_ns() + 5_000_000_000
    monkeypatch.setattr("clew.runs._tree.recipe.now_ns", lambda: later)
    list(made)
    found = runs.find(name="stream")
    assert found.start_time_ns == later
    milliseconds = int(found.id.hex[:12], 16)
    assert str(found.id) == extra["run_id"] if extra else milliseconds == later // 1_000_000
