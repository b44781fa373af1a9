"""
What the type checkers know: decorators and executors keep the types of what they are given.

The checkers read this file; run by pytest, it shows that the calls work as well.
"""

from __future__ import annotations

import contextvars
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator, List

import clew
import clew.tasks.anyio
import clew.tasks.asyncio
import clew.tasks.trio
from clew import ContextThreadPoolExecutor, Run, RunTree, bind, capture, record, trace, traceable

if TYPE_CHECKING:
    from asyncio import Future as AsyncFuture, Task  # noqa: F401  in the texts of types below
    from concurrent.futures import Future  # noqa: F401  the same
    from datetime import datetime  # noqa: F401  the same

    import trio
    from anyio import TaskHandle  # noqa: F401  the same
    from typing_extensions import assert_type
else:

    def assert_type(value: Any, kind: Any) -> Any:
        return value


@traceable
def plain(a: int, *, b: str = "x") -> float:
    return float(a)


@traceable(run_type="tool", name="search", tags=["t"], metadata={"k": 1})
def with_options(a: int) -> str:
    return str(a)


@traceable("tool")
def with_kind(a: int) -> str:
    return str(a)


@traceable
async def coroutine(a: int) -> bytes:
    return bytes(a)


class Service:
    @traceable
    def method(self, a: int) -> str:
        return str(a)


def add(a: int, b: int = 2) -> int:
    return a + b


def test_traceable_keeps_the_types() -> None:
    assert_type(plain(1, b="y"), float)
    assert_type(with_options(1), str)
    assert_type(with_kind(1), str)
    assert_type(Service().method(1), str)
    awaiting: Coroutine[Any, Any, bytes] = coroutine(1)
    awaiting.close()


def test_executor_keeps_the_types() -> None:
    with ContextThreadPoolExecutor(max_workers=1) as pool:
        assert_type(pool.submit(add, 1, b=2), "Future[int]")
        assert_type(pool.map(add, [1], [2], buffersize=1), Iterator[int])
        assert pool.submit(add, 1, b=2).result() == 3


def test_context_keeps_the_types() -> None:
    assert_type(bind(add)(1, b=2), int)
    assert_type(capture().run(add, 1, b=2), int)


def test_runs_are_typed() -> None:
    with record() as runs, trace("x") as run:
        assert_type(run, RunTree)
        assert_type(clew.get_current_run_tree(), "RunTree | None")
    assert_type(runs.find(name="x"), Run)
    assert_type(runs.tree(), str)


async def wait(a: int) -> bytes:
    return bytes(a)


class Bound:
    @bind
    def method(self, a: int) -> str:
        return str(a)

    @bind
    @classmethod
    def of_class(cls, a: int) -> str:
        return str(a)

    @bind
    @staticmethod
    def static(a: int) -> str:
        return str(a)


def test_bind_keeps_the_types_of_every_kind() -> None:
    snapshot = capture()
    for bound in (bind(wait), snapshot.bind(wait)):
        awaiting: Coroutine[Any, Any, bytes] = bound(1)
        awaiting.close()
    assert_type(Bound().method(1), str)
    assert_type(Bound.of_class(1), str)
    assert_type(Bound.static(1), str)
    assert_type(snapshot.bind(add)(1, b=2), int)


def test_wrappers_keep_the_types_of_what_they_wrap() -> None:
    awaiting: Coroutine[Any, Any, bytes] = clew.wrap_coroutine(wait(1), capture())
    awaiting.close()
    with ThreadPoolExecutor() as pool:
        assert_type(clew.wrap_executor(pool), ThreadPoolExecutor)
    with clew.ContextThreadPool(1) as old:
        assert_type(old.map(str, [1]), List[str])
        assert_type(old.apply(add, (1,)), int)
    with capture().attached() as nothing:
        assert_type(nothing, None)
    with clew.detached() as nothing:
        assert_type(nothing, None)


@clew.context_generator
def spoken(times: int) -> Generator[str, int, bytes]:
    heard = yield "said"
    return bytes(heard * times)


@clew.context_generator(inherit="live")
def letters(word: str) -> Iterator[str]:
    yield from word


@clew.context_generator(isolate=[])
async def spoken_async(times: int) -> AsyncGenerator[str, int]:
    yield "said" * times


@clew.context_generator
async def letters_async(word: str) -> AsyncIterator[str]:
    for letter in word:
        yield letter


def test_generators_keep_their_types() -> None:
    assert_type(spoken(1), Generator[str, int, bytes])
    assert_type(letters("a"), Iterator[str])
    assert_type(spoken_async(1), AsyncGenerator[str, int])
    assert_type(letters_async("a"), AsyncIterator[str])
    assert_type(bind(letters)("a"), Iterator[str])
    numbers: Generator[int, None, None] = (number for number in [1])
    assert_type(clew.wrap_generator(numbers), Generator[int, None, None])
    assert_type(clew.wrap_stream(iter([1])), Iterator[int])


def takes_what_is_said_to_be_less(items: Iterator[int], async_items: AsyncIterator[int]) -> None:
    assert_type(clew.wrap_generator(items, inherit="live"), Iterator[int])
    assert_type(clew.wrap_async_generator(async_items), AsyncIterator[int])


async def takes_a_nursery(nursery: trio.Nursery) -> None:
    nursery.start_soon(wait, 1)


async def tasks_of_each_loop() -> None:
    context = contextvars.Context()
    assert_type(clew.tasks.asyncio.create_task(wait(1), context=context), "Task[bytes]")
    async with clew.tasks.asyncio.TaskGroup() as group:
        assert_type(group, clew.tasks.asyncio.TaskGroup)
        assert_type(group.create_task(wait(1), name="x", context=capture()), "Task[bytes]")
    assert_type(await clew.tasks.asyncio.to_thread(add, 1, b=2), int)
    assert_type(clew.tasks.asyncio.run_in_executor(None, add, 1, b=2), "AsyncFuture[int]")
    async with clew.tasks.anyio.create_task_group() as anyio_group:
        assert_type(anyio_group, clew.tasks.anyio.TaskGroup)
        assert_type(anyio_group.start_soon(wait, 1, context=context), "TaskHandle[bytes]")
        await anyio_group.start(wait, 1, context=capture())
    async with clew.tasks.trio.open_nursery(inherit_from="opener") as nursery:
        nursery.start_soon(wait, 1, context=context)
        await takes_a_nursery(nursery)


def test_run_keeps_the_type() -> None:
    assert_type(clew.tasks.asyncio.run(wait(1), context=contextvars.Context()), bytes)


def test_headers_and_baggage_are_strings() -> None:
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    assert_type(RunTree.from_headers(headers), "RunTree | None")
    assert_type(RunTree("run").to_headers(), "dict[str, str]")
    assert_type(clew.get_current_headers(), "dict[str, str]")
    assert_type(clew.get_baggage(), "dict[str, str]")
    assert_type(clew.get_baggage("key"), "str | None")
    for parent in (headers, [("traceparent", "x")], [(b"traceparent", b"x")], "dotted order", RunTree("run"), False):
        with clew.tracing_context(parent=parent, tags=["t"], metadata={"k": 1}, enabled=False), clew.baggage(key="x"):
            pass


def test_fields_of_an_open_run_take_more_than_they_give() -> None:
    with trace("x", None) as run:
        run.name, run.run_type, run.error = "y", "tool", ValueError("no")
        run.inputs = run.outputs = {"a": 1}
        run.tags = ("a",)
        run.tags += ["b"]
        run.metadata = {"a": 1}
        run.set(usage_metadata={"input_tokens": 1})
        assert_type(run.tags, "List[str]")
        assert_type(run.error, "str | None")
        assert_type(run.end_time, "datetime | None")
