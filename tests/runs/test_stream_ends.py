"""
The run of a stream ends once, whichever way that ends, and whether or not anybody is left to see it.

What an ended run leaves behind is in `test_lifetimes`; cancellation at each await, in `test_cancellation`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Iterator, List

import pytest

import clew
from tests.context._loops import ASYNCIO, Main, run_on_trio
from tests.edges._generators import complaints, in_task, pause, settle_loop, take
from tests.edges._threads import DEADLINE, in_empty_context

if TYPE_CHECKING:
    from tests.runs._watching import Watching

Run = Callable[[Main], Any]
on_every_loop = pytest.mark.parametrize("run", [*ASYNCIO.values(), run_on_trio], ids=[*ASYNCIO, "trio"])


def numbers() -> Iterator[int]:
    yield 1
    yield 2


def fails() -> Iterator[int]:
    yield 1
    raise KeyError


def never(make: Callable[[], Any]) -> None:
    make()


def never_and_closed(make: Callable[[], Any]) -> None:
    make().close()


def never_and_thrown_into(make: Callable[[], Any]) -> None:
    with contextlib.suppress(KeyError):
        make().throw(KeyError())


def exhausted(make: Callable[[], Any]) -> None:
    generator = make()
    with contextlib.suppress(KeyError):
        list(generator)
    for _ in range(2):
        assert list(generator) == []
        generator.close()


def broken_off(make: Callable[[], Any]) -> None:
    for _ in make():
        break


def closed(make: Callable[[], Any]) -> None:
    generator = make()
    next(generator)
    for _ in range(2):
        generator.close()


def thrown_into(make: Callable[[], Any]) -> None:
    generator = make()
    next(generator)
    for _ in range(2):
        with contextlib.suppress(KeyError):
            generator.throw(KeyError())


def left_in_a_cycle(make: Callable[[], Any]) -> None:
    cycle = [make()]
    cycle.append(cycle)  # type: ignore[arg-type]
    next(cycle[0])
    del cycle
    gc.collect()


def left_in_another_thread(make: Callable[[], Any]) -> None:
    box = [make()]
    next(box[0])
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join(DEADLINE)


WAYS: Dict[Callable[..., None], List[str]] = {
    never: [],
    never_and_closed: [],
    never_and_thrown_into: [],
    exhausted: ["success"],
    broken_off: ["cancelled"],
    closed: ["cancelled"],
    thrown_into: ["error"],
    left_in_a_cycle: ["cancelled"],
    left_in_another_thread: ["cancelled"],
}


@pytest.mark.parametrize("way", WAYS)
def test_run_of_a_stream_ends_once(watching: Watching, way: Callable[..., None]) -> None:
    way(clew.traceable(numbers))
    gc.collect()
    assert [status for _, status in watching.ended] == WAYS[way]
    assert len(watching.started) == len(watching.ended)


@pytest.mark.parametrize("way", WAYS)
def test_run_of_a_returned_stream_ends_once(watching: Watching, way: Callable[..., None]) -> None:
    way(clew.traceable(lambda: numbers()))
    gc.collect()
    assert [status for _, status in watching.ended] == (WAYS[way] or ["cancelled"])


def test_run_of_a_stream_that_fails_ends_once(watching: Watching) -> None:
    exhausted(clew.traceable(fails))
    assert watching.ended == [("fails", "error")]


async def async_numbers() -> AsyncIterator[int]:
    await pause()
    yield 1
    await pause()
    yield 2


async def async_fails() -> AsyncIterator[int]:
    yield 1
    await pause()
    raise KeyError


async def async_never(make: Callable[[], Any]) -> None:
    make()


async def async_never_and_closed(make: Callable[[], Any]) -> None:
    await make().aclose()


async def async_never_and_thrown_into(make: Callable[[], Any]) -> None:
    with contextlib.suppress(KeyError):
        await make().athrow(KeyError())


async def async_exhausted(make: Callable[[], Any]) -> None:
    generator = make()
    with contextlib.suppress(KeyError):
        async for _ in generator:
            pass
    for _ in range(2):
        assert [item async for item in generator] == []
        await generator.aclose()


async def async_broken_off(make: Callable[[], Any]) -> None:
    async for _ in make():
        break
    await settle_loop()


async def async_closed(make: Callable[[], Any]) -> None:
    generator = make()
    await take(generator)
    for _ in range(2):
        await generator.aclose()


async def async_closed_by_another_task(make: Callable[[], Any]) -> None:
    generator = make()
    await take(generator)
    await in_task(close(generator))


async def close(generator: Any) -> None:
    await generator.aclose()


async def async_thrown_into(make: Callable[[], Any]) -> None:
    generator = make()
    await take(generator)
    with contextlib.suppress(KeyError):
        await generator.athrow(KeyError())


async def async_left_in_a_cycle(make: Callable[[], Any]) -> None:
    cycle = [make()]
    cycle.append(cycle)  # type: ignore[arg-type]
    await take(cycle[0])
    del cycle
    gc.collect()
    await settle_loop()


async def async_left_to_the_shutdown(make: Callable[[], Any]) -> None:
    generator = make()
    await take(generator)
    kept.append(generator)


kept: List[Any] = []

ASYNC_WAYS: Dict[Callable[..., Any], List[str]] = {
    async_never: [],
    async_never_and_closed: [],
    async_never_and_thrown_into: [],
    async_exhausted: ["success"],
    async_broken_off: ["cancelled"],
    async_closed: ["cancelled"],
    async_closed_by_another_task: ["cancelled"],
    async_thrown_into: ["error"],
    async_left_in_a_cycle: ["cancelled"],
    async_left_to_the_shutdown: ["cancelled"],
}


@on_every_loop
@pytest.mark.parametrize("is_returned", [False, True])
@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_run_of_an_async_stream_ends_once(
    watching: Watching, way: Callable[..., Any], is_returned: bool, run: Run
) -> None:
    make = clew.traceable((lambda: async_numbers()) if is_returned else async_numbers)
    with complaints() as found:
        in_empty_context(run, lambda: way(make))
        gc.collect()
    expected = ASYNC_WAYS[way] or (["cancelled"] if is_returned else [])
    assert [status for _, status in watching.ended] == expected
    assert found == []
    kept.clear()
    gc.collect()
    assert [status for _, status in watching.ended] == expected


@on_every_loop
def test_run_of_an_async_stream_that_fails_ends_once(watching: Watching, run: Run) -> None:
    in_empty_context(run, lambda: async_exhausted(clew.traceable(async_fails)))
    assert watching.ended == [("async_fails", "error")]


@on_every_loop
def test_many_streams_at_once_each_end_once_with_their_own_children(run: Run) -> None:
    @clew.traceable
    async def counts(name: str) -> AsyncIterator[int]:
        for number in range(len(name)):
            await pause()
            with clew.trace(f"{name} {number}"):
                await pause()
            yield number

    names = ["a" * length for length in range(1, 9)]

    async def main() -> None:
        streams = {name: counts(name) for name in names}
        # Each round leaves out another one, so that they come out of step.
        for turn in range(40):
            for number, name in enumerate(names):
                if (turn + number) % 3 and name in streams:
                    try:
                        await take(streams[name])
                    except StopAsyncIteration:
                        del streams[name]
        assert not streams

    with clew.record() as runs:
        run(main)
    assert [(root.inputs["name"], root.status) for root in runs.roots] != []
    for root in runs.roots:
        name = root.inputs["name"]
        assert root.status == "success"
        assert [child.name for child in root.children] == [f"{name} {number}" for number in range(len(name))]


# At the end of a process

ENDINGS = {
    "at exit": "",
    "by sys.exit": "sys.exit(0)",
    "with recording off": "recording.__exit__(None, None, None)",
    "in a global cycle": "cycle = [generators]; cycle.append(cycle); generators = None",
    "with an exit handler": "atexit.register(lambda: [next(one, None) for one in generators[:2]])",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_interpreter_exits_in_silence_with_streams_open(ending: str) -> None:
    code = """
        import asyncio, atexit, sys, threading
        import clew

        @clew.traceable
        def child():
            pass

        @clew.traceable
        def plain():
            try:
                yield 1
                yield 2
            finally:
                child()

        @clew.traceable
        async def stream():
            with clew.trace("block"):
                yield 1

        @clew.traceable(reduce_fn=len)
        def returned():
            return plain()

        recording = clew.record()
        recording.__enter__()
        generators = [plain(), returned(), stream(), plain()]
        next(generators[0])
        next(generators[1])
        try:
            generators[2].__anext__().send(None)
        except StopIteration:
            pass
    """
    run_in_silence(textwrap.dedent(code) + ending)


def run_in_silence(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.returncode, done.stderr.decode()) == (0, "")


def test_interpreter_exits_in_silence_while_threads_are_in_streams() -> None:
    run_in_silence(
        textwrap.dedent(
            """
            import threading
            import clew

            @clew.traceable
            def stream():
                while True:
                    yield 1

            def read():
                for number, _ in enumerate(stream()):
                    if number == 100:
                        is_in.set()

            is_in = threading.Event()
            clew.record().__enter__()
            threading.Thread(target=read, daemon=True).start()
            is_in.wait(30)
            """
        )
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_stream_goes_on_in_a_forked_child_and_in_its_parent() -> None:
    run_in_silence(
        textwrap.dedent(
            """
            import os, sys
            import clew

            @clew.traceable
            def child(n):
                return n

            @clew.traceable
            def stream():
                for n in range(4):
                    child(n)
                    yield n

            with clew.record() as runs:
                open_one, left = stream(), stream()
                next(open_one), next(left)
                pid = os.fork()
                assert list(open_one) == [1, 2, 3]
                if not pid:
                    del left
                    assert [run.status for run in runs.roots] == ["success", "cancelled"]
                    sys.exit(0)  # and not os._exit, so that all is put away
                assert os.waitpid(pid, 0)[1] == 0
                assert [run.status for run in runs.roots] == ["success", "pending"]
                assert list(left) == [1, 2, 3]
            assert [run.status for run in runs.roots] == ["success", "success"]
            assert [len(run.children) for run in runs.roots] == [4, 4]
            """
        )
    )
