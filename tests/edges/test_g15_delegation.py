"""
Generators with a context of their own within each other: recursion, delegation, and steps at the same time (G15).
"""

from __future__ import annotations

import platform
import threading
from contextvars import copy_context
from typing import Any, AsyncIterator, Callable, Dict, Generator, Iterator, List

import pytest

import clew
from tests.context._loops import Main
from tests.edges._generators import (
    Keep,
    Watched,
    as_user,
    bare,
    current_name,
    everywhere,
    in_task,
    keeps,
    keeps_call,
    keeps_runs,
    on_every_loop,
    pause,
    take,
)
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]

DEEP = 20


def descending(keep: Keep) -> Any:
    def down(depth: int) -> Generator[Any, Any, str]:
        token = user.set(depth)
        yield user.get()
        if depth:
            assert (yield from kept(depth - 1)) == f"was {depth - 1}"
        yield user.get()
        user.reset(token)
        return f"was {depth}"

    kept = keep(down)
    return kept


def descending_async(keep: Keep) -> Any:
    async def down(depth: int) -> AsyncIterator[object]:
        token = user.set(depth)
        await pause()
        yield user.get()
        if depth:
            async for each in kept(depth - 1):
                yield each
        await pause()
        yield user.get()
        user.reset(token)

    kept = keep(down)
    return kept


DOWN_AND_UP = [*range(DEEP, -1, -1), *range(DEEP + 1)]


@keeps
@everywhere
def test_recursive_generator_has_a_value_for_each_depth(keep: Keep, run: Run) -> None:
    async def main() -> List[object]:
        return [(each, user.get()) async for each in descending_async(keep)(DEEP)]

    expected = [(depth, "nobody") for depth in DOWN_AND_UP]
    assert in_empty_context(lambda: [(each, user.get()) for each in descending(keep)(DEEP)]) == expected
    assert in_empty_context(run, main) == expected


@keeps
def test_recursive_generator_has_a_value_for_each_depth_wherever_it_is_stepped(keep: Keep) -> None:
    generator = in_empty_context(descending(keep), DEEP)
    assert [as_user("someone else").run(next, generator) for _ in DOWN_AND_UP] == DOWN_AND_UP
    with pytest.raises(StopIteration, match=f"was {DEEP}"):
        next(generator)


@keeps_runs
def test_runs_of_a_recursive_generator_nest_by_depth(keep: Keep) -> None:
    def down(depth: int) -> Iterator[object]:
        with clew.trace(f"level {depth}"):
            yield current_name()
            if depth:
                yield from kept(depth - 1)
            with clew.trace(f"after {depth}"):
                yield current_name()

    kept = keep(down)
    with clew.record() as runs:
        found = in_empty_context(list, kept(2))
    assert found == ["level 2", "level 1", "level 0", "after 0", "after 1", "after 2"]
    runs.assert_tree(
        """
        level 2
          level 1
            level 0
              after 0
            after 1
          after 2
        """
    )


@keeps
def test_inner_generator_delegated_to_is_closed_with_the_outer_one_in_its_own_context(keep: Keep) -> None:
    def inner() -> Iterator[object]:
        token = user.set("inner")
        try:
            yield user.get()
        finally:
            seen.append(user.get())
            user.reset(token)
            seen.append(user.get())

    def outer() -> Iterator[object]:
        token = user.set("outer")
        try:
            yield from keep(inner)()
        finally:
            seen.append(user.get())
            user.reset(token)

    seen: List[object] = []
    generator = in_empty_context(keep(outer))
    assert as_user("first").run(next, generator) == "inner"
    as_user("second").run(generator.close)
    assert seen == ["inner", "outer", "outer"]


@keeps_call
@pytest.mark.usefixtures("no_collector")
def test_value_of_each_depth_is_gone_when_that_is_left(keep: Keep) -> None:
    def inner() -> Iterator[None]:
        user.set(watched.make())
        yield

    def outer() -> Iterator[bool]:
        for _ in keep(inner)():
            yield watched.is_gone()
        yield watched.is_gone()

    watched = Watched()
    generator = in_empty_context(keep(outer))
    assert not next(generator)
    assert next(generator)


# at the same time


def said_by(fn: Callable[..., Any], *args: Any) -> object:
    try:
        return fn(*args)
    except (RuntimeError, ValueError) as error:
        return type(error), str(error)


OPERATIONS: Dict[str, Callable[[Any], Any]] = {
    "next": next,
    "send": lambda generator: generator.send(1),
    "throw": lambda generator: generator.throw(KeyError()),
    "close": lambda generator: generator.close(),
}


@keeps
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
@pytest.mark.parametrize("run_in", [lambda fn, *args: fn(*args), lambda fn, *args: copy_context().run(fn, *args)])
def test_generator_that_steps_itself_is_told_what_the_bare_one_is(
    keep: Keep, operation: Callable[[Any], Any], run_in: Callable[..., Any]
) -> None:
    def stepped(keep: Keep) -> List[object]:
        def steps_itself() -> Iterator[object]:
            token = user.set("body")
            yield run_in(said_by, operation, generators[0])
            yield user.get()
            user.reset(token)

        generators: List[Any] = []
        generators.append(keep(steps_itself)())
        return list(generators[0])

    expected = [(ValueError, "generator already executing"), "body"]
    assert in_empty_context(stepped, bare) == in_empty_context(stepped, keep) == expected


@keeps
def test_generator_that_another_thread_is_in_is_told_what_the_bare_one_is(keep: Keep) -> None:
    def stepped(keep: Keep) -> List[object]:
        def waits() -> Iterator[object]:
            user.set("body")
            is_in.set()
            assert may_go_on.wait(DEADLINE)
            yield user.get()

        is_in, may_go_on = threading.Event(), threading.Event()
        generator = keep(waits)()
        found: List[object] = []
        thread = threading.Thread(target=lambda: found.append(next(generator)))
        thread.start()
        assert is_in.wait(DEADLINE)
        found.append(said_by(next, generator))
        may_go_on.set()
        thread.join(DEADLINE)
        return [*found, generator.close()]

    expected = [(ValueError, "generator already executing"), "body", None]
    assert in_empty_context(stepped, bare) == in_empty_context(stepped, keep) == expected


ASYNC_OPERATIONS: Dict[str, Callable[[Any], Any]] = {
    "next": lambda generator: generator.__anext__(),
    "send": lambda generator: generator.asend(1),
}
# PyPy 7.3 itself lets these two into a bare generator that is running, which is then broken, and trio with it.
if platform.python_implementation() != "PyPy":
    ASYNC_OPERATIONS["throw"] = lambda generator: generator.athrow(KeyError())
    ASYNC_OPERATIONS["close"] = lambda generator: generator.aclose()


@keeps
@on_every_loop
@pytest.mark.parametrize("operation", ASYNC_OPERATIONS.values(), ids=ASYNC_OPERATIONS)
def test_async_generator_stepped_by_two_tasks_says_what_the_bare_one_says(
    keep: Keep, run: Run, operation: Callable[[Any], Any]
) -> None:
    async def stepped(keep: Keep) -> List[object]:
        async def steps_itself() -> AsyncIterator[object]:
            token = user.set("body")
            yield await in_task(operate())
            await pause()
            yield user.get()
            user.reset(token)

        async def operate() -> object:
            try:
                return await operation(generators[0])
            except (RuntimeError, ValueError) as error:
                return type(error), str(error)

        generators: List[Any] = []
        generators.append(keep(steps_itself)())
        return [each async for each in generators[0]]

    found = in_empty_context(run, lambda: stepped(bare))
    assert found[0][0] is RuntimeError
    assert "asynchronous generator is already running" in found[0][1]
    assert found[1] == "body"
    assert in_empty_context(run, lambda: stepped(keep)) == found


@keeps
@everywhere
def test_two_steps_that_are_pending_at_once_are_no_shared_awaitable(keep: Keep, run: Run) -> None:
    async def counts() -> AsyncIterator[object]:
        token = user.set(0)
        for _ in range(4):
            user.set(user.get() + 1)
            await pause()
            yield user.get()
        user.reset(token)

    async def main(keep: Keep) -> List[object]:
        generator = keep(counts)()
        first, second = generator.__anext__(), generator.__anext__()
        found = [await second, await first, await take(generator)]
        await generator.aclose()
        return found

    assert in_empty_context(run, lambda: main(bare)) == in_empty_context(run, lambda: main(keep)) == [1, 2, 3]
