"""
G02, G04, G06 to G09 with other people's spans: each open in a generator across its yields.

The tracers are the real ones, of `_tracers.py`, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator, List, Tuple, Union

import pytest

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from tests.context._loops import checkpoint, run_on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context
from tests.foreign import _span_trees
from tests.foreign._tracers import NEEDS_LANGSMITH

if TYPE_CHECKING:
    from tests.foreign._span_trees import Tree

Wrap = Callable[[Any], Any]


class AsyncBlock:
    """Be for `async with` what is for `with`; with no async generator, which the loop would close too."""

    def __init__(self, block: Any) -> None:
        self._block = block

    async def __aenter__(self) -> Any:
        return self._block.__enter__()

    async def __aexit__(self, *exception: object) -> Any:
        return self._block.__exit__(*exception)


class LangSmithSpans(_span_trees.LangSmithSpans):
    """Open LangSmith's runs with `trace`, whose block is for both kinds of `with`."""

    span_async = _span_trees.LangSmithSpans.span


class OpenTelemetrySpans(_span_trees.OpenTelemetrySpans):
    """Open OpenTelemetry's spans with `start_as_current_span`."""

    def span_async(self, name: str) -> Any:
        return AsyncBlock(self.span(name))


class SentrySpans(_span_trees.SentrySpans):
    """Open Sentry's spans, the request and what is outside of it as transactions."""

    def span_async(self, name: str) -> Any:
        return AsyncBlock(self.span(name))


Spans = Union[LangSmithSpans, OpenTelemetrySpans, SentrySpans]
SPANS = [pytest.param(LangSmithSpans, marks=NEEDS_LANGSMITH), OpenTelemetrySpans]

# Sentry puts a span, at its end, into the scope that it was taken from, whoever ends it.
THOSE_THAT_BREAK = pytest.mark.parametrize("spans", SPANS, indirect=True)


@pytest.fixture(params=[*SPANS, SentrySpans])
def spans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    spans = request.param(monkeypatch)
    yield spans
    monkeypatch.undo()
    spans.close()


def bare(fn: Any) -> Any:
    return fn


def wrapped(fn: Any) -> Any:
    return lambda *args: clew.wrap_stream(fn(*args))


CLEW = pytest.mark.parametrize("wrap", [clew.context_generator, wrapped], ids=["context_generator", "wrap_stream"])


def streams_of(spans: Any, wrap: Wrap) -> Tuple[Any, Any]:
    """Return two functions that return a stream, and an asynchronous one, which has a span open while it lasts."""

    @wrap
    def stream(name: str) -> Iterator[int]:
        with spans.span(name):
            for number in range(3):
                with spans.span(f"{name}.{number}"):
                    pass
                yield number

    @wrap
    async def async_stream(name: str) -> AsyncIterator[int]:
        async with spans.span_async(name):
            for number in range(3):
                with spans.span(f"{name}.{number}"):
                    await checkpoint()
                yield number

    return stream, async_stream


INTERLEAVED: Tree = {
    "request": None,
    "a": "request",
    "b": "request",
    **{f"{name}.{number}": name for name in "ab" for number in range(3)},
    **{f"consumer.{number}": "request" for number in range(3)},
}


def interleave(spans: Spans, wrap: Wrap) -> Tree:
    stream, _ = streams_of(spans, wrap)

    def request() -> None:
        with spans.span("request"):
            for number, _ in zip(stream("a"), stream("b")):
                with spans.span(f"consumer.{number}"):
                    pass

    in_empty_context(request)
    return spans.tree()


def test_bare_streams_interleaved_nest_wrongly(spans: Any) -> None:
    found = interleave(spans, bare)
    assert found["b"] == "a"
    assert found["consumer.0"] == "b"


@CLEW
def test_streams_interleaved_nest_right(spans: Any, wrap: Wrap, caplog: pytest.LogCaptureFixture) -> None:
    assert interleave(spans, wrap) == INTERLEAVED
    assert caplog.messages == []


def interleave_async(spans: Spans, wrap: Wrap, *, in_tasks: bool) -> Tree:
    _, stream = streams_of(spans, wrap)

    async def step(stream: Any) -> Any:
        try:
            return await stream.__anext__()
        except StopAsyncIteration:
            return None

    async def request() -> None:
        with spans.span("request"):
            a, b = stream("a"), stream("b")
            for number in range(4):
                if in_tasks:
                    await asyncio.gather(*[asyncio.ensure_future(step(each)) for each in (a, b)])
                else:
                    await step(a)
                    await step(b)
                if number < 3:
                    with spans.span(f"consumer.{number}"):
                        pass

    in_empty_context(run_on_asyncio, request)
    return spans.tree()


def test_bare_async_streams_interleaved_nest_wrongly(spans: Any) -> None:
    found = interleave_async(spans, bare, in_tasks=False)
    assert found["b"] == "a"
    assert found["consumer.0"] == "b"


def test_bare_async_streams_stepped_by_tasks_lose_their_spans(spans: Any) -> None:
    # (Sentry's is not lost, but left in the scope, which the tasks share.)
    found = interleave_async(spans, bare, in_tasks=True)
    assert [found[f"{name}.1"] for name in "ab"] != ["a", "b"]


@CLEW
@pytest.mark.parametrize("in_tasks", [False, True], ids=["one task", "a task a step"])
def test_async_streams_interleaved_nest_right(
    spans: Any, wrap: Wrap, caplog: pytest.LogCaptureFixture, in_tasks: bool
) -> None:
    assert interleave_async(spans, wrap, in_tasks=in_tasks) == INTERLEAVED
    assert caplog.messages == []


# What is dropped half-way. "here" is opened afterwards where the stream was begun, and "there" where it was dropped.

DROPPED: Tree = {"request": None, "a": "request", "a.0": "a", "here": "request"}


def drop(spans: Spans, wrap: Wrap, *, in_thread: bool) -> Tree:
    stream, _ = streams_of(spans, wrap)

    def drop_it(box: List[Any]) -> None:
        box.clear()
        # Without a GIL, the thread that made the stream finalises it. A collection here would do so in any order.
        if not (in_thread and RUNS_WITHOUT_GIL):
            gc.collect()
        if in_thread:
            with spans.span("there"):
                pass

    def request() -> None:
        with spans.span("request"):
            box = [stream("a")]
            next(box[0])
            if in_thread:
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(in_empty_context, drop_it, box).result(DEADLINE)
            else:
                drop_it(box)
            with spans.span("here"):
                pass

    in_empty_context(request)
    return spans.tree()


@pytest.mark.skipif(RUNS_WITHOUT_GIL, reason="needs a GIL: without one, the thread that made the stream finalises it")
@THOSE_THAT_BREAK
def test_bare_stream_dropped_in_a_thread_breaks(spans: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert drop(spans, bare, in_thread=True)["here"] == "a"
    assert ("Failed to detach context" in caplog.messages) == isinstance(spans, OpenTelemetrySpans)


@CLEW
@pytest.mark.parametrize("in_thread", [False, True], ids=["here", "in a thread"])
def test_stream_dropped_half_way_leaves_nothing(
    spans: Any, wrap: Wrap, caplog: pytest.LogCaptureFixture, in_thread: bool
) -> None:
    assert drop(spans, wrap, in_thread=in_thread) == {**DROPPED, **({"there": None} if in_thread else {})}
    assert caplog.messages == []


async def break_off(stream: Any, kept: List[Any]) -> None:
    async for _ in stream:
        break


async def leave_for_the_shutdown(stream: Any, kept: List[Any]) -> None:
    kept.append(stream)
    await stream.__anext__()


async def close_in_another_task(stream: Any, kept: List[Any]) -> None:
    await stream.__anext__()
    await asyncio.get_running_loop().create_task(stream.aclose())


async def drop_in_another_task(stream: Any, kept: List[Any]) -> None:
    await stream.__anext__()
    box = [stream]
    del stream

    async def task() -> None:
        box.clear()
        gc.collect()

    await asyncio.get_running_loop().create_task(task())


ENDS = pytest.mark.parametrize("end", [break_off, leave_for_the_shutdown, close_in_another_task, drop_in_another_task])


def drop_async(spans: Spans, wrap: Wrap, end: Callable[..., Any]) -> Tree:
    _, stream = streams_of(spans, wrap)
    kept: List[Any] = []

    async def request() -> None:
        with spans.span("request"):
            others = asyncio.all_tasks()
            await end(stream("a"), kept)
            gc.collect()
            for _ in range(20):  # in which the loop begins to finalise what it has been given
                await checkpoint()
            for finalising in asyncio.all_tasks() - others:  # LangSmith ends a run in a thread
                await finalising
            with spans.span("here"):
                pass

    in_empty_context(run_on_asyncio, request)
    return spans.tree()


@THOSE_THAT_BREAK
@ENDS
def test_bare_async_stream_dropped_half_way_breaks(spans: Any, caplog: pytest.LogCaptureFixture, end: Any) -> None:
    assert drop_async(spans, bare, end)["here"] == "a"
    assert ("Failed to detach context" in caplog.messages) == isinstance(spans, OpenTelemetrySpans)


@CLEW
@ENDS
def test_async_stream_dropped_half_way_leaves_nothing(
    spans: Any, wrap: Wrap, caplog: pytest.LogCaptureFixture, end: Any
) -> None:
    assert drop_async(spans, wrap, end) == DROPPED
    assert caplog.messages == []
