"""
Task groups of clew's against anyio's and trio's own: the same but for where their tasks run.

What only one of them has is in `test_anyio_groups` and `test_trio_nurseries`.
"""

from __future__ import annotations

import asyncio
import gc
import re
import threading
import weakref
from contextvars import Context, copy_context
from typing import Any, Dict, List

import anyio
import anyio.lowlevel
import pytest
import sniffio
import trio

import clew
from tests.edges._generators import Watched, as_user, complaints
from tests.edges._groups import KINDS, STARTS, Kind, Start, innermost, kinds
from tests.edges._threads import in_empty_context, in_use_by_a_thread, is_gone, user
from tests.tasks._scenarios import Options, Trace, described, ending, options, scenarios, trace_of

both_starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


@kinds
@options
@scenarios
def test_task_does_what_it_does_in_the_librarys_own_group(kind: Kind, scenario: Any, options: Options) -> None:
    expected = trace_of(kind, kind.bare, scenario)
    assert expected
    assert trace_of(kind, kind.clew, scenario, options) == expected


async def starting_by_start(group: Any, fn: Any, **options: Any) -> None:
    await group.start(fn, **options)


async def starting_soon(group: Any, fn: Any, **options: Any) -> None:
    group.start_soon(fn, **options)


def plain_function(*, task_status: object = None) -> str:
    return "plain"


async def async_generator(*, task_status: object = None) -> Any:
    yield


async def takes_an_argument(number: int, *, task_status: object = None) -> None:
    pass


async def takes_no_status() -> None:
    pass


def raises_in_the_call(*, task_status: object = None) -> None:
    raise KeyError("in the call")


def returns_a_future(*, task_status: object = None) -> Any:
    loop = asyncio.new_event_loop()
    loop.close()
    return asyncio.Future(loop=loop)


def without_addresses(said: Any) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", str(said))


NO_ASYNC_FUNCTIONS = [plain_function, async_generator, takes_an_argument, raises_in_the_call, returns_a_future]
WAYS_TO_START = [(start, lambda fn=fn: fn) for start in (starting_soon, starting_by_start) for fn in NO_ASYNC_FUNCTIONS]
# `start` binds what it gets to a keyword first, and says of these what the stdlib says.
WAYS_TO_START += [(starting_soon, make) for make in (lambda: None, takes_no_status, returns_a_future)]


@kinds
@options
def test_what_is_no_async_function_is_refused_in_the_loops_own_words(kind: Kind, options: Options) -> None:
    def of(start: Any, make: Any, open_group: Any, options: Options = dict) -> Any:
        async def scenario(open_group: Any, options: Options, trace: Trace) -> None:
            with ending(trace):
                async with open_group() as group:
                    with ending(trace):
                        await start(group, make(), **options())

        with complaints() as found:
            trace = trace_of(kind, open_group, scenario, options)
        return without_addresses(trace), without_addresses(found)

    for start, make in WAYS_TO_START:
        assert of(start, make, kind.clew, options) == of(start, make, kind.bare)


@kinds
@both_starts
@pytest.mark.parametrize("wrong", [3, "context", {}, Context, copy_context])
def test_what_is_no_context_is_refused(kind: Kind, start: Start, wrong: Any) -> None:
    async def main() -> None:
        async with kind.clew() as group:
            with pytest.raises(
                clew.ClewError, match=r"expected a contextvars.Context or a clew.Snapshot, got"
            ) as caught:
                await start(group, ran.append, context=wrong)
            assert isinstance(caught.value, TypeError)

    ran: List[object] = []
    with complaints() as found:
        kind.run(main)
    assert (found, ran) == ([], [])


async def is_entered_twice(open_group: Any, options: Options, trace: Trace) -> None:
    manager = open_group()
    async with manager as group:
        group.start_soon(anyio.lowlevel.checkpoint, **options())
    with ending(trace):
        async with manager:
            trace.append("entered")


async def is_used_after_its_block(open_group: Any, options: Options, trace: Trace) -> None:
    async with open_group() as group:
        group.start_soon(anyio.lowlevel.checkpoint, **options())
    for start in STARTS.values():
        with ending(trace):
            await start(group, lambda: trace.append("ran"), **options())


async def is_used_before_its_block(open_group: Any, options: Options, trace: Trace) -> None:
    group = open_group()
    for start in STARTS.values():
        with ending(trace):
            await start(group, lambda: trace.append("ran"), **options())


@kinds
@options
@pytest.mark.parametrize("scenario", [is_entered_twice, is_used_after_its_block, is_used_before_its_block])
def test_group_out_of_its_block_refuses_in_the_loops_own_words(kind: Kind, scenario: Any, options: Options) -> None:
    def of(open_group: Any, options: Options = dict) -> str:
        # Where a manager is no group, the class that has no such method is another one.
        return re.sub(r"'\w+Manager' object", "manager", str(trace_of(kind, open_group, scenario, options)))

    with complaints() as found:
        expected = of(kind.bare)
        assert of(kind.clew, options) == expected
    assert found == []
    assert "ran" not in expected


@pytest.mark.parametrize("open_group", [(kind.bare, kind.clew) for kind in KINDS.values()], ids=KINDS)
def test_group_without_a_loop_is_refused_in_the_librarys_own_words(open_group: Any) -> None:
    def outcome(open_it: Any) -> Any:
        async def enter() -> None:
            async with open_it():
                pass

        try:
            entering = enter()
            entering.send(None)
        except BaseException as error:
            return described(error)
        finally:
            entering.close()
        return "entered"

    bare, clews = open_group
    with complaints() as found:
        expected = in_empty_context(outcome, bare)
        assert expected != "entered"
        assert in_empty_context(outcome, clews) == expected
    assert found == []


@kinds
@both_starts
def test_context_in_use_elsewhere_is_an_error_of_the_task(kind: Kind, start: Start) -> None:
    async def main() -> None:
        async with kind.clew() as group:
            await start(group, lambda: ran.append("task"), context=context)

    ran: List[object] = []
    context = as_user("ada")
    with complaints() as found:
        with in_use_by_a_thread(context), pytest.raises(BaseException) as caught:
            kind.run(main)
        error = innermost(caught.value)
        assert isinstance(error, clew.ClewError)
        assert isinstance(error, RuntimeError)
        assert "found the one of context= in use elsewhere" in str(error)
    assert (found, ran) == ([], [])
    # It is free again, and nothing was done in it.
    kind.run(main)
    assert (ran, context[user]) == (["task"], "ada")


@kinds
def test_context_of_whoever_opens_the_group_is_shared_with_a_task_in_it(kind: Kind) -> None:
    async def child() -> None:
        for name in ("ada", "grace"):
            seen.append(user.get())
            user.set(name)
            await anyio.lowlevel.checkpoint()

    async def parent(*, task_status: Any) -> None:
        task_status.started()
        user.set("parent")
        async with kind.clew() as group:
            group.start_soon(child, context=context)
            await anyio.wait_all_tasks_blocked()
        seen.append(user.get())

    async def main() -> None:
        async with kind.clew() as group:
            await group.start(parent, context=context)

    seen: List[object] = []
    context = Context()
    kind.run(main)
    assert seen == ["parent", "ada", "grace"]


@kinds
@options
@both_starts
def test_keyboard_interrupt_in_a_task_comes_out(kind: Kind, start: Start, options: Options) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt("by itself")

    async def main(open_group: Any, options: Options) -> None:
        async with open_group() as group:
            await start(group, interrupt, **options())

    def ended(open_group: Any, options: Options = dict) -> object:
        with pytest.raises(BaseException) as caught:
            kind.run(lambda: main(open_group, options))
        return type(caught.value), repr(innermost(caught.value))

    expected = ended(kind.bare)
    assert expected[1] == "KeyboardInterrupt('by itself')"
    assert ended(kind.clew, options) == expected


@kinds
@options
def test_traced_task_that_is_cancelled_ends_its_run_as_cancelled_once(kind: Kind, options: Options) -> None:
    @clew.traceable
    async def child(*, task_status: Any = None) -> None:
        if task_status is not None:
            task_status.started()
        await anyio.sleep_forever()

    async def main() -> None:
        async with kind.clew() as group:
            group.start_soon(child, **options())
            await group.start(child, **options())
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

    with complaints() as found, clew.record() as runs:
        in_empty_context(kind.run, main)
    assert [(run.name, run.status) for run in runs] == [("child", "cancelled")] * 2
    assert found == []


@kinds
def test_snapshot_carries_the_values_of_accessors_at_every_step(kind: Kind) -> None:
    class Place(threading.local):
        name = "nowhere"

    async def child() -> None:
        for _ in range(3):
            found.append(place.name)
            await anyio.lowlevel.checkpoint()
            found.append(place.name)
        place.name = "changed"

    async def watch() -> None:
        for _ in range(5):
            found_outside.append(place.name)
            await anyio.lowlevel.checkpoint()

    async def main() -> None:
        place.name = "there"
        snapshot = clew.capture()
        place.name = "here"
        async with kind.clew() as group:
            group.start_soon(child, context=snapshot)
            group.start_soon(watch)

    place = Place()
    found: List[object] = []
    found_outside: List[object] = []
    unregister = clew.register_accessor("place", clew.thread_local_accessor(place, "name"))
    try:
        in_empty_context(kind.run, main)
    finally:
        unregister()
    assert (found, found_outside, place.name) == (["there"] * 6, ["here"] * 5, "here")


class Held:
    """Weak references to what a group had: whatever can have one."""

    def __init__(self) -> None:
        self._references: Dict[str, Any] = {}

    def watch(self, **things: Any) -> None:
        self._references.update({name: weakref.ref(thing) for name, thing in things.items()})

    def alive(self) -> List[str]:
        assert len(self._references) >= 3
        return [name for name, reference in self._references.items() if not is_gone(reference)]


async def waiting(event: Any, *, task_status: Any) -> None:
    task_status.started()
    await (anyio.sleep_forever() if event is None else event.wait())


async def use(kind: Kind, held: Held, watched: Watched, options: Options, end: str) -> None:
    def in_task() -> None:
        user.set(watched.make())
        if kind is KINDS["trio"]:
            held.watch(task=trio.lowlevel.current_task(), coroutine=trio.lowlevel.current_task().coro)
        elif sniffio.current_async_library() == "asyncio":
            held.watch(task=asyncio.current_task())

    async def child() -> None:
        in_task()
        if end != "raises at once":
            await may_end.wait()
        if end.startswith("raises"):
            raise KeyError("child")

    may_end = anyio.Event()
    given = options()
    if given:
        held.watch(context=given["context"])
    async with kind.clew() as group:
        held.watch(group=group, method=group.start_soon, scope=group.cancel_scope)
        if end != "raises at once":
            await group.start(waiting, None if end != "returns" else may_end, **options())
        group.start_soon(child, **given)
        await anyio.wait_all_tasks_blocked()
        if end == "cancelled":
            group.cancel_scope.cancel()
        may_end.set()


@kinds
@options
@pytest.mark.parametrize("end", ["returns", "raises", "raises at once", "cancelled"])
@pytest.mark.usefixtures("no_collector")
def test_nothing_of_a_group_is_alive_after_its_end(kind: Kind, options: Options, end: str) -> None:
    async def main() -> List[str]:
        held, watched, ended = Held(), Watched(), "returned"
        try:
            await use(kind, held, watched, options, end)
        except Exception as error:
            ended = repr(innermost(error))
        # The loop lets go of a task a few steps after its end.
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        if kind is not KINDS["trio"] and end != "returns":
            gc.collect()  # of anyio's own cycles, each of an exception and a group that has seen it
        assert ended == ("KeyError('child')" if end.startswith("raises") else "returned")
        return [*held.alive(), *([] if watched.is_gone() else ["value"])]

    assert in_empty_context(kind.run, main) == []


@kinds
@pytest.mark.usefixtures("no_collector")
def test_many_tasks_leave_nothing_behind(kind: Kind) -> None:
    async def child() -> None:
        await anyio.lowlevel.checkpoint()
        user.set(Watched())
        ran.append(1)

    async def round_of(number: int, options: Options) -> int:
        async with kind.clew() as group:
            for _ in range(number):
                group.start_soon(child, **options())
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        ran.clear()
        # Not `isinstance`, which asks objects of other tests that answer nothing.
        return sum(1 for each in gc.get_objects() if type(each) in (Watched, clew.Snapshot))

    async def main() -> None:
        for make in (lambda: {"context": Context()}, lambda: {"context": clew.capture()}, dict):
            before = await round_of(10, make)
            assert await round_of(500, make) == before

    ran: List[int] = []
    in_empty_context(kind.run, main)
