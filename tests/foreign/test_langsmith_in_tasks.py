"""
LangSmith's `traceable` streams, stepped by tasks and threads, and with tasks and threads of their own.

It is what its documentation has users pass parents for by hand before Python 3.11. Here nobody passes any.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Tuple

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task, run_in_executor, to_thread
from tests.context._loops import ASYNCIO, checkpoint, run_on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, settle
from tests.foreign._span_trees import LangSmithSpans, Tree
from tests.foreign._tracers import NEEDS_LANGSMITH

pytestmark = NEEDS_LANGSMITH

Wrap = Callable[[Any], Any]
Run = Callable[[Any], Any]

on_asyncio = pytest.mark.parametrize("run", ASYNCIO.values(), ids=ASYNCIO)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmithSpans]:
    spans = LangSmithSpans(monkeypatch)
    yield spans
    monkeypatch.undo()
    spans.close()


# A stream with a run open across its yields, and, in that, runs in a task and a thread between any two.


async def in_a_group(fetch: Callable[[], Any], parse: Callable[[], object]) -> None:
    async with TaskGroup() as group:
        group.create_task(fetch())
    await to_thread(parse)


async def in_bare_tasks(fetch: Callable[[], Any], parse: Callable[[], object]) -> None:
    await asyncio.ensure_future(fetch())
    with ThreadPoolExecutor(1) as pool:
        settle(pool)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
        await asyncio.get_running_loop().run_in_executor(pool, parse)


def body_of(spans: LangSmithSpans, work: Any = in_a_group) -> Callable[[str], AsyncIterator[int]]:
    async def body(name: str) -> AsyncIterator[int]:
        with spans.span(f"{name}.open"):
            for number in range(2):

                @spans.traced(f"{name}.fetch {number}")
                async def fetch() -> None:
                    await checkpoint()

                @spans.traced(f"{name}.parse {number}")
                def parse() -> None:
                    pass

                await work(fetch, parse)
                yield number

    return body


def traced(spans: LangSmithSpans, name: str, wrap: Wrap, **options: Any) -> Any:
    """Return a stream that `traceable` has a run for."""
    return spans.traced(name)(wrap(body_of(spans, **options)))(name)


def opened(spans: LangSmithSpans, name: str, wrap: Wrap) -> Any:
    """Return a stream that opens its run itself."""

    async def body(name: str) -> AsyncIterator[int]:
        with spans.span(name):
            async for number in body_of(spans)(name):
                yield number

    return wrap(body)(name)


STREAMS: Dict[str, Callable[[LangSmithSpans, str], Any]] = {
    "traceable": lambda spans, name: traced(spans, name, clew.context_generator(inherit="live")),
    "context_generator": lambda spans, name: opened(spans, name, clew.context_generator),
    "wrap_stream": lambda spans, name: opened(spans, name, lambda fn: lambda name: clew.wrap_stream(fn(name))),
}


async def in_one_task(stream: Any) -> AsyncIterator[int]:
    async for number in stream:
        yield number


async def in_a_task_a_step(stream: Any) -> AsyncIterator[int]:
    async def step() -> List[int]:
        async for number in stream:
            return [number]
        return []

    while True:
        found = await create_task(step())
        if not found:
            return
        yield found[0]


async def with_a_timeout_a_step(stream: Any) -> AsyncIterator[int]:
    while True:
        try:
            number = await asyncio.wait_for(stream.__anext__(), DEADLINE)
        except StopAsyncIteration:
            return
        yield number


CONSUMERS = pytest.mark.parametrize("consume", [in_one_task, in_a_task_a_step, with_a_timeout_a_step])


async def at_once(*coroutines: Any) -> None:
    async with TaskGroup() as group:
        for each in coroutines:
            group.create_task(each)


def request(
    spans: LangSmithSpans,
    make: Callable[[str], Any],
    consume: Any,
    run: Run = run_on_asyncio,
    together: Callable[..., Any] = at_once,
) -> Tree:
    """Consume two streams at once, with a run for each item, and return whose child each run is."""

    async def child(name: str, stream: Any) -> None:
        async for number in consume(stream):
            with spans.span(f"{name}.consumer {number}"):
                await checkpoint()

    async def main() -> None:
        with spans.span("request"):
            await together(*[child(name, make(name)) for name in "ab"])

    in_empty_context(run, main)
    return spans.tree()


def tree(later: str = "open") -> Tree:
    found: Tree = {"request": None}
    for name in "ab":
        found.update({name: "request", f"{name}.open": name})
        for number, parent in enumerate(["open", later]):
            above = name if parent == "stream" else f"{name}.{parent}"
            found.update({f"{name}.fetch {number}": above, f"{name}.parse {number}": above})
            found[f"{name}.consumer {number}"] = "request"
    return found


@CONSUMERS
def test_bare_stream_splits_in_threads_and_forgets_its_open_run(spans: LangSmithSpans, consume: Any) -> None:
    def make(name: str) -> Any:
        return traced(spans, name, lambda fn: fn, work=in_bare_tasks)

    # LangSmith steps it in the context of its run where it finds that tasks take one, on 3.11 to 3.13. Before, and
    # from 3.14 on, where `create_task` does not name its options any more, it puts that run back at each step.
    is_stepped_in_context = "context" in inspect.signature(asyncio.create_task).parameters
    expected = tree("open" if is_stepped_in_context else "stream")
    in_threads = {f"{name}.parse {number}": None for name in "ab" for number in range(2)}
    assert request(spans, make, consume, together=asyncio.gather) == {**expected, **in_threads}


# LangSmith calls the function outside of its run, and steps what it returns inside: hence `live` above.
def test_stream_in_the_context_of_its_call_is_beside_its_run(spans: LangSmithSpans) -> None:
    found = request(spans, lambda name: traced(spans, name, clew.context_generator), in_one_task)
    assert found == {**tree(), "a.open": "request", "b.open": "request"}


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
@CONSUMERS
@on_asyncio
def test_stream_is_whole_with_what_it_has_started(spans: LangSmithSpans, make: Any, consume: Any, run: Run) -> None:
    assert request(spans, lambda name: make(spans, name), consume, run) == tree()
    assert sorted(spans.ended()) == sorted(tree())
    assert spans.failed() == set()


# A plain generator, each step of which is in a thread.


async def step_in_thread(pool: Any, stream: Any) -> Any:
    return await to_thread(next, stream, None)


async def step_in_pool(pool: Any, stream: Any) -> Any:
    return await run_in_executor(pool, next, stream, None)


async def step_in_bare_pool(pool: Any, stream: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(pool, next, stream, None)


def request_in_threads(spans: LangSmithSpans, wrap: Wrap, step: Any) -> Tree:
    @spans.traced("stream")
    @wrap
    def stream() -> Iterator[int]:
        with spans.span("open"):
            for number in range(2):
                with spans.span(f"chunk {number}"):
                    yield number

    async def main() -> None:
        with ThreadPoolExecutor(1) as pool:
            settle(pool)  # as above
            with spans.span("request"):
                steps = stream()
                assert [await step(pool, steps) for _ in range(3)] == [0, 1, None]

    in_empty_context(run_on_asyncio, main)
    return spans.tree()


IN_THREADS: Tree = {"request": None, "stream": "request", "open": "stream", "chunk 0": "open", "chunk 1": "open"}


def test_bare_stream_stepped_in_a_pool_is_a_trace_of_its_own(spans: LangSmithSpans) -> None:
    assert request_in_threads(spans, lambda fn: fn, step_in_bare_pool) == {**IN_THREADS, "stream": None}


@pytest.mark.parametrize("wrap", [lambda fn: fn, clew.context_generator(inherit="live")], ids=["as it is", "live"])
@pytest.mark.parametrize("step", [step_in_thread, step_in_pool])
def test_stream_stepped_in_threads_is_whole(spans: LangSmithSpans, wrap: Wrap, step: Any) -> None:
    assert request_in_threads(spans, wrap, step) == IN_THREADS


# What is made in one run and consumed in a task that was started in another one.


def hand_over(spans: LangSmithSpans, wrap: Wrap, start: Callable[[Any], Any]) -> Tree:
    @spans.traced("stream")
    async def stream() -> AsyncIterator[int]:
        yield 1

    async def consumer(stream: Any) -> None:
        async for _ in stream:
            with spans.span("consumer"):
                pass

    async def main() -> None:
        with spans.span("request"):
            made = wrap(stream())
            with spans.span("server"):
                await start(consumer(made))

    in_empty_context(run_on_asyncio, main)
    return spans.tree()


HANDED_OVER: Tree = {"request": None, "server": "request", "stream": "request", "consumer": "server"}


def test_bare_stream_belongs_to_whoever_consumes_it(spans: LangSmithSpans) -> None:
    assert hand_over(spans, lambda stream: stream, asyncio.ensure_future) == {**HANDED_OVER, "stream": "server"}


def test_wrapped_stream_belongs_to_where_it_was_made(spans: LangSmithSpans) -> None:
    assert hand_over(spans, clew.wrap_stream, create_task) == HANDED_OVER


# A traced function that is cancelled: LangSmith notes that in a thread, which it awaits.


@on_asyncio
@pytest.mark.parametrize("capture", [lambda: None, copy_context, clew.capture], ids=["plain", "context", "snapshot"])
def test_cancelled_function_ends_its_run_once(spans: LangSmithSpans, run: Run, capture: Any) -> None:
    begun: List[Tuple[()]] = []

    @spans.traced("waits")
    async def waits() -> None:
        with spans.span("waits.inner"):
            begun.append(())
            await asyncio.Event().wait()

    async def main() -> None:
        with spans.span("request"):
            async with TaskGroup() as group:
                task = group.create_task(waits(), context=capture())
                while not begun:
                    await checkpoint()
                task.cancel()
            assert task.cancelled()
            with spans.span("after"):
                pass

    in_empty_context(run, main)
    assert spans.tree() == {"request": None, "waits": "request", "waits.inner": "waits", "after": "request"}
    assert sorted(spans.ended()) == sorted(spans.tree())
    assert spans.failed() == {"waits", "waits.inner"}
