"""
No registry of clew's keeps a class, function or other object of the program after its use.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing.pool import ThreadPool
from threading import Thread
from types import CodeType, FunctionType
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List

import anyio
import pytest
import trio

import clew
import clew.tasks.anyio
import clew.tasks.asyncio
import clew.tasks.trio
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.runs.headers import inject
from clew.testing.lifetimes import assert_released


def ignore(*_: object) -> None:
    """Stand for a callback."""


class Inline(Executor):
    """Run each job at once, with futures of a class of its own."""

    def __init__(self, future_class: Callable[[], Any]) -> None:
        self.future_class = future_class

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        future = self.future_class()
        future.set_result(fn(*args, **kwargs))
        return future


def wrapped_executor() -> object:
    class OwnFuture(Future):  # type: ignore[type-arg]  # as in the package
        pass

    class OwnExecutor(Inline):
        pass

    executor = OwnExecutor(OwnFuture)
    wrapped = clew.wrap_executor(executor)
    future = wrapped.submit(int)
    future.add_done_callback(ignore)
    assert list(wrapped.map(int, "1")) == [1]
    return OwnFuture, OwnExecutor, executor, wrapped, future


def pools() -> object:
    class OwnPool(clew.ContextThreadPoolExecutor):
        pass

    class OwnThreadPool(clew.ContextThreadPool):
        pass

    with OwnPool(1) as pool:
        future = pool.submit(int)
        assert list(pool.map(int, "1", buffersize=1)) == [1]
    with OwnThreadPool(1) as thread_pool:
        assert list(thread_pool.imap(int, "1")) == thread_pool.map(int, "1") == [1]
    thread_pool.join()
    return OwnPool, pool, future, OwnThreadPool, thread_pool


def pools_and_threads_of_the_stdlib() -> object:
    class OwnPool(ThreadPoolExecutor):
        pass

    class OwnThread(Thread):
        pass

    class OwnThreadPool(ThreadPool):
        pass

    with clew.installed():
        with OwnPool(1) as pool:
            pool.submit(int).result()
        thread = OwnThread(target=int)
        thread.start()
        thread.join()
        with OwnThreadPool(1) as thread_pool:
            assert thread_pool.apply_async(int, callback=ignore).get() == 0
        thread_pool.join()
    return OwnPool, pool, OwnThread, thread, OwnThreadPool, thread_pool


def threads() -> object:
    class OwnThread(clew.ContextThread):
        pass

    class OwnTimer(clew.ContextTimer):
        pass

    thread, timer = OwnThread(target=int), OwnTimer(0, int)
    for each in (thread, timer):
        each.start()
        each.join()
    return OwnThread, thread, OwnTimer, timer


def wrapped(kind: Any) -> Any:
    return clew.wrap_stream(kind())


def traced(kind: Any) -> Any:
    return clew.traceable(reduce_fn=list)(lambda: kind())()


def streams() -> object:
    class OwnIterator:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> int:
            raise StopIteration

        def close(self) -> None:
            pass

    class OwnStream:
        def __iter__(self) -> OwnIterator:
            return OwnIterator()

    read = []
    for make in (wrapped, traced):
        iterator, stream = make(OwnIterator), make(OwnStream)
        assert not [*iterator, *stream]
        iterator.close()
        read += [iterator, stream]
    return (OwnIterator, OwnStream, *read)


def async_streams() -> object:
    class OwnAsyncStream:
        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> int:
            raise StopAsyncIteration

    async def read(stream: Any) -> None:
        async for _ in stream:
            pass

    made = wrapped(OwnAsyncStream), traced(OwnAsyncStream)
    for stream in made:
        asyncio.run(read(stream))
    return (OwnAsyncStream, *made)


def functions() -> object:
    def plain(*, run_tree: Any = None) -> object:
        return run_tree

    async def coroutine(run_tree: Any = None) -> object:
        return run_tree

    def generator(run_tree: Any = None) -> Iterator[object]:
        yield run_tree

    async def async_generator(run_tree: Any = None) -> AsyncIterator[object]:
        yield run_tree

    async def use_async(kinds: Any) -> None:
        if len(kinds) == 4:
            await kinds[2]()
        async for _ in kinds[-1]():
            pass

    with_options = clew.traceable(reduce_fn=list, process_inputs=dict, process_chunk=str)
    made: List[Any] = []
    for decorate in (clew.bind, clew.capture().bind, clew.traceable, with_options):
        kinds = [decorate(fn) for fn in (plain, generator, coroutine, async_generator)]
        kinds[0]()
        list(kinds[1]())
        asyncio.run(use_async(kinds))
        made += kinds
    for options in ({}, {"inherit": "live"}, {"isolate": []}):
        kinds = [clew.context_generator(**options)(fn) for fn in (generator, async_generator)]
        list(kinds[0]())
        asyncio.run(use_async(kinds))
        made += kinds
    clew.traceable(plain)(langsmith_extra={"name": "other", "on_end": ignore})
    return (plain, coroutine, generator, async_generator, *made)


def code_of_failing_functions() -> object:
    names: Dict[str, Any] = {}
    # Code objects are equal if their texts are; the number makes a new one each time.
    exec(compile(f"def fail():\n    raise ValueError({next(numbers)})\n", __file__, "exec"), names)
    fail = names["fail"]
    with clew.record() as runs, pytest.raises(ValueError, match=r"^\d+$"):
        clew.traceable(fail)()
    assert "ValueError" in str(runs.find(name="fail").error)
    return fail, fail.__code__


numbers = iter(range(10**9))


def values() -> object:
    @dataclasses.dataclass
    class Fields:
        number: int = 1

    class Other:
        pass

    class OwnError(Exception):
        pass

    class Text(str):
        __slots__ = ("__weakref__",)

    fields, other, text = Fields(), Other(), Text("text")

    @clew.traceable
    def fail(*_: object) -> None:
        raise OwnError(text)

    with clew.record() as runs:
        with pytest.raises(OwnError):
            fail(fields, other, Fields, Other, {text: [text]})
        with clew.trace(text, text, tags=[text], metadata={text: text}, project_name=text):
            pass
    assert runs.to_json()
    return Fields, Other, OwnError, Text, fields, other, text, fail


def methods() -> object:
    class Traced:
        @clew.traceable
        def method(self) -> None:
            pass

        @clew.traceable
        def generate(self) -> Iterator[int]:
            yield 1

        @classmethod
        @clew.traceable
        def make(cls) -> Any:
            return cls()

        def __call__(self) -> None:
            pass

    traced = Traced.make()
    traced.method()
    list(traced.generate())
    clew.traceable(traced)()
    clew.bind(traced.method)()
    return Traced, traced


def configuration() -> object:
    class OwnExporter:
        def export(self, runs: object) -> None:
            pass

        def export_starts(self, runs: object) -> None:
            pass

        def shutdown(self, timeout: float) -> None:
            pass

    class OwnSampler:
        def __call__(self, root: object) -> bool:
            return True

    exporter, sampler = OwnExporter(), OwnSampler()
    clew.configure(exporter=exporter, sampler=sampler)
    with clew.trace("run"):
        pass
    clew.configure(exporter=None, sampler=None)
    return OwnExporter, exporter, OwnSampler, sampler


def accessors() -> object:
    class OwnAccessor:
        def get(self) -> Any:
            return None

        def set(self, value: Any) -> None:
            pass

        def clear(self) -> None:
            pass

        def restore(self, value: Any) -> None:
            pass

    accessor = OwnAccessor()
    unregister = clew.register_accessor("registries", accessor)
    clew.capture().run(int)
    unregister()
    return OwnAccessor, accessor


def tasks_of_asyncio() -> object:
    class Factory:
        def __call__(self, loop: Any, coro: Any, **options: Any) -> Any:
            return asyncio.Task(coro, loop=loop, **options)

    factory = Factory()

    async def job() -> None:
        pass

    async def main() -> object:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        async with clew.tasks.asyncio.TaskGroup() as group:
            task = group.create_task(job(), context=clew.capture())
        await clew.tasks.asyncio.to_thread(int)
        return loop, group, task

    loop, group, task = asyncio.run(main())
    return Factory, factory, loop, group, task


def tasks_of_anyio_and_trio() -> object:
    made: List[Any] = []

    async def main() -> None:
        async with clew.tasks.anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        made.append(group)

    async def main_of_trio() -> None:
        async with clew.tasks.trio.open_nursery(inherit_from="opener") as nursery:
            nursery.start_soon(trio.sleep, 0)
        made.append(nursery)

    anyio.run(main)
    anyio.run(main, backend="trio")
    trio.run(main_of_trio)
    return tuple(made)


def carriers() -> object:
    class Carrier(Dict[str, str]):
        pass

    carrier = Carrier()
    with clew.trace("request"):
        inject(carrier)
    with clew.tracing_context(parent=carrier):
        pass
    return Carrier, carrier


USES = [
    accessors,
    async_streams,
    carriers,
    code_of_failing_functions,
    configuration,
    functions,
    methods,
    pools,
    pools_and_threads_of_the_stdlib,
    streams,
    tasks_of_anyio_and_trio,
    tasks_of_asyncio,
    threads,
    values,
    wrapped_executor,
]


@pytest.mark.parametrize("is_recording", [False, True], ids=["not recording", "recording"])
@pytest.mark.parametrize("use", USES)
@pytest.mark.usefixtures("settings_as_they_were")
def test_registries_keep_nothing_of_the_program(use: Callable[[], object], is_recording: bool) -> None:
    def use_recorded() -> object:
        with clew.record() if is_recording else nullcontext(()) as runs:
            made: Any = use()
        list(runs)
        if RUNS_WITHOUT_GIL and sys.version_info < (3, 14):  # there, these live forever once a thread was started
            made = tuple(
                each
                for each in (made if type(made) is tuple else (made,))
                if not isinstance(each, (type, FunctionType, CodeType))
            )
        return made

    # A registry that keeps one object for each use keeps all of them. Loops are slower to make than the rest.
    assert_released(use_recorded, times=10 if "tasks" in use.__name__ else 100)
