"""
Streams that the garbage collector closes: nothing is set in the context that is current then.

A collection may begin in the middle of a `ContextVar.set`. Before CPython 3.12 the interpreter crashes if a variable of
the same context is set then. How runs of streams end is in `test_stream_ends`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import types
from contextvars import Context, ContextVar, copy_context
from typing import Any, AsyncIterator, Callable, Dict, Generator, Iterator, List

import anyio.lowlevel
import pytest
import trio

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.context._stepping import collecting
from tests.context._loops import DEADLINE

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="needs CPython, whose contexts show whether they were changed"
)

user: ContextVar[str] = ContextVar("user", default="nobody")
other: ContextVar[str] = ContextVar("other", default="nobody")


def mapping() -> object:
    """Return what holds the values of the current context: CPython makes another one whenever a variable is set."""
    (found,) = gc.get_referents(copy_context())
    return found


def test_mapping_tells_what_was_set_and_reset_again() -> None:
    def run() -> None:
        user.set("ada")
        before = mapping()
        assert mapping() is before
        user.reset(user.set("grace"))
        assert mapping() is not before

    Context().run(run)


# What is left behind: each begins, in the current context, what it returns.


@clew.traceable
def plain() -> Iterator[int]:
    yield 1
    yield 2


@clew.traceable
def tidies_up() -> Iterator[int]:
    try:
        yield 1
        yield 2
    finally:
        with clew.trace("cleanup"):
            pass


@clew.traceable
def holds_blocks() -> Iterator[int]:
    with clew.trace("outer"), clew.tracing_context(tags=["inner"]), clew.trace("inner"):
        yield 1
        yield 2


@clew.traceable
def delegates() -> Iterator[int]:
    yield from tidies_up()


@clew.traceable(reduce_fn=lambda chunks: [repr(each) for each in chunks])
def reduced() -> Iterator[int]:
    yield 1
    yield 2


@clew.traceable(reduce_fn=list)
def returns_a_generator() -> Iterator[int]:
    return Iterable().__iter__()


@clew.traceable(reduce_fn=list)
def returns_an_iterator() -> Iterator[int]:
    return Numbers()


class Numbers:
    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        return 1

    def close(self) -> None:
        with clew.trace("closing"):
            pass


class Iterable:
    # Its generator is older than the driver, so the interpreter closes it first, in whichever context is current. It
    # sets nothing of its own, as that would be found here.
    def __iter__(self) -> Iterator[int]:
        with clew.trace("block"), clew.tracing_context(tags=["inner"]):
            yield 1
            yield 2

    def __aiter__(self) -> AsyncIterator[int]:
        return async_numbers()

    def __next__(self) -> int:
        raise NotImplementedError


async def async_numbers() -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        with clew.trace("cleanup"):
            pass


@clew.traceable(reduce_fn=list)
def returns_an_iterable() -> Any:
    return Iterable()


def after_two(make: Callable[[], Any]) -> Any:
    stream = make()
    next(stream)
    next(stream)
    return stream


def undecorated(make: Callable[[], Any]) -> Iterator[int]:
    for number in make():  # noqa: UP028  so that the traced generator is dropped, and not closed by this one
        yield number


def undecorated_from(make: Callable[[], Any]) -> Iterator[int]:
    yield from make()


class Closes:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __del__(self) -> None:
        self.stream.close()


def begun(stream: Any) -> Any:
    next(stream)
    return stream


def sent(stream: Any) -> Any:
    next(stream)
    with contextlib.suppress(StopIteration):
        stream.send("word")
    return stream


SYNC: Dict[str, Callable[[], Any]] = {
    "at the first item": lambda: begun(plain()),
    "at the second item": lambda: after_two(plain),
    "after what was sent": lambda: sent(holds_blocks()),
    "tidies up": lambda: begun(tidies_up()),
    "holds blocks": lambda: begun(holds_blocks()),
    "delegates": lambda: begun(delegates()),
    "reduced": lambda: begun(reduced()),
    "unsampled": lambda: begun(clew.traceable(enabled=True)(tidies_up)()),
    "returned": lambda: begun(returns_a_generator()),
    "returned iterator": lambda: begun(returns_an_iterator()),
    "returned iterable": returns_an_iterable,
    "iterator of a returned iterable": lambda: begun(iter(returns_an_iterable())),
    "in an undecorated generator": lambda: begun(undecorated(holds_blocks)),
    "in one that delegates": lambda: begun(undecorated_from(holds_blocks)),
    "closed by another finaliser": lambda: Closes(begun(holds_blocks())),
    "iterator that another finaliser closes": lambda: Closes(begun(returns_an_iterator())),
    "isolated": lambda: begun(clew.context_generator(isolate=[user])(sets_others)()),
}


# These have a context of their own, or no step to make.
SYNC_APART: Dict[str, Callable[[], Any]] = {
    "never begun, returned": returns_a_generator,
    "never begun": plain,
    "in a context of its own": lambda: begun(clew.context_generator(holds_blocks)()),
    "live": lambda: begun(clew.context_generator(inherit="live")(holds_blocks)()),
    "wrapped": lambda: begun(clew.wrap_stream(Numbers())),
    "wrapped in this context": lambda: begun(clew.wrap_generator(Foreign(), context=current())),
}


def sets_others() -> Iterator[int]:
    token = other.set("body")
    other.reset(token)
    try:
        yield 1
        yield 2
    finally:
        other.set("closed")


class Foreign(Generator[int, None, None]):
    """A generator that is written as a class."""

    def send(self, value: object) -> int:
        return 1

    def throw(self, *exception: Any) -> int:  # type: ignore[override]
        raise GeneratorExit


contexts: List[Context] = []


def current() -> Context:
    return contexts[-1]


def left_in_a_cycle(make: Callable[[], Any]) -> None:
    cycle = [make()]
    cycle.append(cycle)


@pytest.fixture(autouse=True)
def _quiet_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    gc.freeze()  # until the end of the file: unfreezing here would have the next test collect all that is imported
    yield
    gc.enable()


def left_old_in_a_young_cycle(make: Callable[[], Any]) -> None:
    """Leave a stream that a collection of the youngest objects does not look at, and drops all the same."""
    stream = make()
    gc.collect()
    cycle = [stream]
    cycle.append(cycle)


def changed_by_collecting(generation: int = 2) -> List[str]:
    """Return the current context's change, if collecting makes one."""
    before, values = mapping(), dict(copy_context())
    gc.collect(generation)
    after = copy_context()
    found = [each.name for each, value in after.items() if each not in values or values[each] is not value]
    return found or ([] if mapping() is before else ["something, and reset it"])


@pytest.fixture
def here() -> Iterator[Context]:
    contexts.append(Context())
    yield contexts[-1]
    contexts.clear()


@pytest.mark.parametrize("name", [*SYNC, *SYNC_APART])
def test_stream_that_is_collected_sets_nothing_here(name: str, here: Context) -> None:
    def run() -> List[str]:
        user.set("ada")
        with clew.trace("request"):
            left_in_a_cycle({**SYNC, **SYNC_APART}[name])
            return changed_by_collecting()

    with clew.record() as runs:
        assert here.run(run) == []
    assert {run.status for run in runs} <= {"success", "cancelled"}


@pytest.mark.parametrize("name", [*SYNC, *SYNC_APART])
def test_old_stream_of_a_young_cycle_sets_nothing_here(name: str, here: Context) -> None:
    def run() -> List[str]:
        user.set("ada")
        with clew.trace("request"):
            left_old_in_a_young_cycle({**SYNC, **SYNC_APART}[name])
            return changed_by_collecting(0)

    with clew.record() as runs:
        assert here.run(run) == []
    assert {run.status for run in runs} <= {"success", "cancelled"}


@pytest.mark.parametrize("name", [*SYNC, *SYNC_APART])
def test_stream_that_is_collected_sets_nothing_elsewhere(name: str, here: Context) -> None:
    def elsewhere() -> None:
        user.set("grace")
        with clew.trace("elsewhere"):
            found.extend(changed_by_collecting())

    found: List[str] = []
    with clew.record():
        here.run(left_in_a_cycle, {**SYNC, **SYNC_APART}[name])
        thread = threading.Thread(target=Context().run, args=[elsewhere])
        thread.start()
        thread.join(DEADLINE)
    assert found == []


def test_body_that_is_collected_has_its_run_and_its_blocks(here: Context) -> None:
    @clew.traceable
    def body() -> Iterator[int]:
        try:
            with clew.trace("block"):
                yield 1
        finally:
            with clew.trace("cleanup"):
                pass

    def run() -> None:
        with clew.trace("request"):
            left_in_a_cycle(lambda: begun(body()))
            gc.collect()
            with clew.trace("after"):
                pass

    before = clew.stats()
    with clew.record() as runs:
        here.run(run)
    runs.assert_tree("""
    request
      body [cancelled]
        block [cancelled]
        cleanup
      after
    """)
    assert clew.stats() == before


def test_block_of_a_coroutine_that_is_collected_is_not_counted(here: Context) -> None:
    @types.coroutine
    def pause() -> Iterator[None]:
        yield

    async def job() -> None:
        with clew.trace("block"):
            await pause()

    def begin() -> Any:
        coroutine = job()
        coroutine.send(None)
        return coroutine

    def run() -> None:
        left_in_a_cycle(begin)
        with clew.trace("request"):
            gc.collect()

    before = clew.stats()
    with clew.record() as runs:
        here.run(run)
    assert runs.find(name="block").status == "cancelled"
    assert clew.stats() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_child_forked_during_a_collection_elsewhere_is_not_collecting() -> None:
    is_in, may_end = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            is_in.set()
            may_end.wait(DEADLINE)

    def collect() -> None:
        left_in_a_cycle(Slow)
        gc.collect()

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        assert is_in.wait(DEADLINE)
        assert collecting._collector == [thread.ident]
        child = os.fork()
        if not child:
            os._exit(collecting._collector != [0])
        assert os.waitpid(child, 0)[1] == 0
    finally:
        may_end.set()
        thread.join(DEADLINE)


# What the program closes itself is as without a decorator.


@clew.traceable
def resets() -> Iterator[int]:
    token = user.set("body")
    try:
        yield 1
    finally:
        user.reset(token)


@clew.traceable
async def resets_async() -> AsyncIterator[int]:
    token = user.set("body")
    try:
        yield 1
    finally:
        user.reset(token)


def closed(stream: Any) -> None:
    next(stream)
    stream.close()


def broken_off(stream: Any) -> None:
    for _ in stream:
        break


@pytest.mark.parametrize("leave", [closed, broken_off])
def test_stream_that_the_program_leaves_resets_its_variables_here(leave: Callable[[Any], None], here: Context) -> None:
    def run() -> str:
        user.set("ada")
        leave(resets())
        return user.get()

    with clew.record():
        assert here.run(run) == "ada"


def test_async_stream_that_the_program_closes_resets_its_variables_here(here: Context) -> None:
    async def main() -> str:
        user.set("ada")
        stream: Any = resets_async()
        await stream.__anext__()
        await stream.aclose()
        return user.get()

    with clew.record():
        assert here.run(trio.run, main) == "ada"


# Async streams

Steps = Callable[[Any], None]


def step_of(stream: Any) -> None:
    """Make one step, with no event loop."""
    with contextlib.suppress(StopIteration):
        stream.__anext__().send(None)


@clew.traceable
async def async_plain() -> AsyncIterator[int]:
    yield 1
    yield 2


@clew.traceable
async def async_tidies_up() -> AsyncIterator[int]:
    async for number in async_numbers():
        yield number


@clew.traceable
async def async_holds_blocks() -> AsyncIterator[int]:
    async with clew.trace("outer"):
        with clew.tracing_context(tags=["inner"]), clew.trace("inner"):
            yield 1
            yield 2


class Forever:
    def __await__(self) -> Iterator[None]:
        while True:
            yield


@clew.traceable
async def async_waits() -> AsyncIterator[int]:
    with clew.trace("outer"):
        yield 1
        with clew.trace("inner"):
            await Forever()
        yield 2


@clew.traceable
async def async_waits_at_once() -> AsyncIterator[int]:
    with clew.trace("outer"):
        await Forever()
        yield 1


@clew.traceable
def returns_async() -> AsyncIterator[int]:
    return async_numbers()


async def async_sets_others() -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        other.set("closed")


def stepped(make: Callable[[], Any], times: int = 1) -> Any:
    stream = make()
    for _ in range(times):
        step_of(stream)
    return stream


ASYNC: Dict[str, Callable[[], Any]] = {
    "at the first item": lambda: stepped(async_plain),
    "at the second item": lambda: stepped(async_plain, 2),
    "tidies up": lambda: stepped(async_tidies_up),
    "holds blocks": lambda: stepped(async_holds_blocks),
    "waits": lambda: stepped(async_waits, 2),
    "waits at its beginning": lambda: stepped(async_waits_at_once),
    "returned": lambda: stepped(returns_async),
    "iterator of a returned iterable": lambda: stepped(lambda: returns_an_iterable().__aiter__()),
    "isolated": lambda: stepped(clew.context_generator(isolate=[user])(async_sets_others)),
    "wrapped in this context": lambda: stepped(lambda: clew.wrap_async_generator(async_numbers(), context=current())),
    "wrapped coroutine that another finaliser closes": lambda: Closes(ASYNC_APART["wrapped coroutine"]()),
}


ASYNC_APART: Dict[str, Callable[[], Any]] = {
    "never begun": async_plain,
    "never begun, returned": returns_async,
    "in a context of its own": lambda: stepped(clew.context_generator(async_holds_blocks)),
    "live": lambda: stepped(clew.context_generator(inherit="live")(async_holds_blocks)),
    "wrapped coroutine": lambda: first_step(clew.wrap_coroutine(waits(), current())),
}


# Without a GIL, the collector finalises objects in the order of their addresses: it may close the body of a stream,
# which another stream consumes, before the driver that would close it in a copy.
IN_ANY_ORDER = {"tidies up"} if RUNS_WITHOUT_GIL else set()


async def waits() -> None:
    await Forever()


def first_step(coroutine: Any) -> Any:
    coroutine.send(None)
    return coroutine


@pytest.mark.parametrize("name", [name for name in (*ASYNC, *ASYNC_APART) if name not in IN_ANY_ORDER])
def test_async_stream_that_is_collected_without_a_loop_sets_nothing_here(name: str, here: Context) -> None:
    def run() -> List[str]:
        user.set("ada")
        with clew.trace("request"):
            left_in_a_cycle({**ASYNC, **ASYNC_APART}[name])
            return changed_by_collecting()

    with clew.record():
        assert here.run(run) == []


@pytest.mark.parametrize("name", [name for name in (*ASYNC, *ASYNC_APART) if name not in IN_ANY_ORDER])
def test_async_stream_that_is_collected_without_a_loop_sets_nothing_elsewhere(name: str, here: Context) -> None:
    def elsewhere() -> List[str]:
        user.set("grace")
        with clew.trace("elsewhere"):
            return changed_by_collecting()

    with clew.record():
        here.run(left_in_a_cycle, {**ASYNC, **ASYNC_APART}[name])
        assert Context().run(elsewhere) == []


LOOPED = ["at the first item", "at the second item", "tidies up", "holds blocks", "returned"]


async def left_in_a_loop(name: str) -> List[str]:
    async def make() -> Any:
        stream = {
            "tidies up": async_tidies_up,
            "holds blocks": async_holds_blocks,
            "returned": returns_async,
        }.get(name, async_plain)()
        for _ in range(2 if name == "at the second item" else 1):
            await stream.__anext__()
        return stream

    user.set("ada")
    with clew.trace("request"):
        cycle = [await make()]
        cycle.append(cycle)
        del cycle
        return changed_by_collecting()


@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
@pytest.mark.parametrize("name", LOOPED)
@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)], ids=["asyncio", "trio"])
def test_async_stream_that_a_loop_finalises_sets_nothing_here(
    name: str, run: Callable[[Any], Any], here: Context
) -> None:
    async def main() -> List[str]:
        found = await left_in_a_loop(name)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        return found

    with clew.record() as runs:
        assert here.run(run, main()) == []
    assert {each.status for each in runs if each.name != "request"} <= {"success", "cancelled"}


AT_EXIT = """
import gc
import clew
from tests.runs import test_collected_streams as cases

recording = clew.record()
recording.__enter__()
cases.contexts.append(__import__("contextvars").Context())
kept = [make() for make in (
    *cases.SYNC.values(), *cases.SYNC_APART.values(), *cases.ASYNC.values(), *cases.ASYNC_APART.values()
)]
kept.append(kept)
"""


def test_streams_that_are_left_at_the_exit_say_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT], capture_output=True, text=True, timeout=DEADLINE * 2, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
