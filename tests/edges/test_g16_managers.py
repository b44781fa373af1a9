"""
Context managers and fixtures made of generators, left in another task than they were entered in (G16).
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest
from anyio.from_thread import start_blocking_portal

import clew
from tests.context._coroutines import in_thread
from tests.context._loops import Main
from tests.edges._generators import (
    Keep,
    Watched,
    bare,
    current_name,
    everywhere,
    in_task,
    keeps,
    on_every_loop,
    pause,
    take,
)
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]

isolated: Any = clew.context_generator(isolate=[user])

other: ContextVar[Any] = ContextVar("other", default="nothing")


def sets_user(seen: List[object]) -> Iterator[object]:
    token = user.set("body")
    try:
        yield user.get()
    finally:
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


async def sets_user_async(seen: List[object]) -> AsyncIterator[object]:
    token = user.set("body")
    try:
        await pause()
        yield user.get()
    finally:
        await pause()
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


REFUSED = [clew.context_generator, clew.context_generator(inherit="live")]
refused = pytest.mark.parametrize("keep", REFUSED, ids=["creation", "live"])


@refused
def test_manager_without_isolate_is_refused_by_the_name_of_its_decorator(keep: Keep) -> None:
    with pytest.raises(TypeError, match=r" under contextmanager, found .*@context_generator\(isolate=\[\.\.\.\]\)"):
        contextmanager(keep(sets_user))([])
    with pytest.raises(TypeError, match=r" under asynccontextmanager, found .*@context_generator\(isolate="):
        asynccontextmanager(keep(sets_user_async))([])


@refused
def test_manager_that_is_a_method_or_decorates_is_refused_too(keep: Keep) -> None:
    class Holder:
        @contextmanager
        @keep
        def manager(self) -> Iterator[None]:
            yield

        @staticmethod
        @asynccontextmanager
        @keep
        async def manage() -> AsyncIterator[None]:
            yield

    with pytest.raises(TypeError, match=r"isolate=\[\.\.\.\]") as caught:
        Holder().manager()
    assert isinstance(caught.value, clew.ClewError)
    with pytest.raises(TypeError, match=r"isolate=\[\.\.\.\]"):
        Holder.manage()


@refused
def test_generator_that_no_contextlib_calls_is_not_refused(keep: Keep) -> None:
    assert list(keep(sets_user)([])) == ["body"]
    with contextlib.closing(keep(sets_user)([])) as generator:
        assert next(generator) == "body"


def within(keep: Keep) -> object:
    """Return what the body has given, what the block sees, what the body sees at its end, and what is seen then."""
    seen: List[object] = []
    user.set("ada")
    with contextmanager(keep(sets_user))(seen) as given:
        inside = user.get()
    return [given, inside, *seen, user.get()]


async def within_async(keep: Keep) -> object:
    seen: List[object] = []
    user.set("ada")
    async with asynccontextmanager(keep(sets_user_async))(seen) as given:
        inside = user.get()
    return [given, inside, *seen, user.get()]


@everywhere
def test_block_has_the_bare_managers_value_and_not_what_is_isolated(run: Run) -> None:
    whole = ["body", "body", "body", "ada", "ada"]
    assert in_empty_context(within, bare) == in_empty_context(run, lambda: within_async(bare)) == whole
    apart = ["body", "ada", "body", "ada", "ada"]
    assert in_empty_context(within, isolated) == in_empty_context(run, lambda: within_async(isolated)) == apart


def test_block_has_the_managers_other_values() -> None:
    def sets_other() -> Iterator[None]:
        token = other.set("something")
        yield
        other.reset(token)

    def scenario() -> List[object]:
        found = []
        with contextmanager(isolated(sets_other))():
            found.append(other.get())
        found.append(other.get())
        return found

    assert in_empty_context(scenario) == ["something", "nothing"]


# teardown elsewhere


async def torn_down_in_a_task(keep: Keep) -> List[object]:
    async def tear_down() -> None:
        await stack.aclose()

    seen: List[object] = []
    stack = AsyncExitStack()
    await stack.enter_async_context(asynccontextmanager(keep(sets_user_async))(seen))
    stack.enter_context(contextmanager(keep(sets_user))(seen))
    await in_task(tear_down())
    return seen


@on_every_loop
def test_manager_left_in_another_task_fails_bare_and_resets_with_clew(run: Run) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(run, lambda: torn_down_in_a_task(bare))
    assert in_empty_context(run, lambda: torn_down_in_a_task(isolated)) == ["body", "nobody"] * 2


@pytest.mark.parametrize("leave", [in_thread, lambda fn: copy_context().run(fn)], ids=["thread", "copied context"])
def test_manager_left_in_another_thread_or_context_fails_bare_and_resets_with_clew(leave: Callable[..., Any]) -> None:
    def scenario(keep: Keep) -> List[object]:
        seen: List[object] = []
        stack = ExitStack()
        stack.enter_context(contextmanager(keep(sets_user))(seen))
        leave(lambda: errors.append(outcome_of(stack.close)))
        return seen

    errors: List[object] = []
    in_empty_context(scenario, bare)
    assert "was created in a different Context" in str(errors.pop())
    assert in_empty_context(scenario, isolated) == ["body", "nobody"]
    assert errors == [None]


def outcome_of(fn: Callable[[], object]) -> object:
    try:
        return fn()
    except ValueError as error:
        return error


def as_fixture(keep: Keep, call: Callable[[Callable[..., Any], Any], Any]) -> List[object]:
    """Set up and tear down as plugins do it with an async generator: in a task each."""
    seen: List[object] = []
    generator = keep(sets_user_async)(seen)
    assert call(take, generator) == "body"
    with pytest.raises(StopAsyncIteration):
        call(take, generator)
    return seen


def on_loop_of_plugin(keep: Keep, make: Callable[[], Any]) -> List[object]:
    loop = make()
    try:
        return as_fixture(keep, lambda fn, *args: loop.run_until_complete(fn(*args)))
    finally:
        loop.close()


@keeps
def test_fixture_torn_down_in_another_task_fails_bare_and_resets_with_clew(keep: Keep) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(on_loop_of_plugin, bare, asyncio.new_event_loop)
    assert in_empty_context(on_loop_of_plugin, keep, asyncio.new_event_loop) == ["body", "nobody"]


def through_portal(keep: Keep, backend: str) -> List[object]:
    async def pass_end(fn: Callable[[Any], Any], generator: Any) -> Any:
        try:
            return await fn(generator)
        except StopAsyncIteration as ended:  # no future takes that
            return ended

    def call(fn: Callable[[Any], Any], generator: Any) -> Any:
        outcome = portal.call(pass_end, fn, generator)
        if isinstance(outcome, StopAsyncIteration):
            raise outcome
        return outcome

    with start_blocking_portal(backend) as portal:
        return as_fixture(keep, call)


@keeps
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_fixture_stepped_through_a_portal_fails_bare_and_resets_with_clew(keep: Keep, backend: str) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(through_portal, bare, backend)
    assert in_empty_context(through_portal, keep, backend) == ["body", "nobody"]


@pytest.fixture
@clew.context_generator
def named() -> Iterator[object]:
    token = user.set("fixture")
    yield user.get()
    user.reset(token)


@pytest.mark.usefixtures("named")
def test_fixture_keeps_its_value_to_itself_and_tears_down(named: object) -> None:
    assert (named, user.get()) == ("fixture", "nobody")


@on_every_loop
def test_run_of_a_manager_is_whole_though_another_task_leaves_it(run: Run) -> None:
    async def traced() -> AsyncIterator[None]:
        with clew.trace("body"):
            with clew.trace("set up"):
                await pause()
            yield
            with clew.trace("tear down"):
                await pause()

    async def main() -> object:
        with clew.trace("test"):
            generator = clew.context_generator(traced)()
            await in_task(take(generator))
            assert current_name() == "test"
            with pytest.raises(StopAsyncIteration):
                await in_task(take(generator))
            return current_name()

    before = clew.stats()
    with clew.record() as runs:
        assert in_empty_context(run, main) == "test"
    runs.assert_tree("test\n  body\n    set up\n    tear down")
    assert clew.stats() == before


@pytest.mark.usefixtures("no_collector")
@on_every_loop
def test_value_is_gone_after_the_teardown(run: Run) -> None:
    @asynccontextmanager
    @isolated
    async def holds() -> AsyncIterator[None]:
        token = user.set(watched.make())
        yield
        user.reset(token)

    async def main() -> bool:
        stack = AsyncExitStack()
        await stack.enter_async_context(holds())
        assert not watched.is_gone()
        await in_task(stack.aclose())
        return watched.is_gone()

    watched = Watched()
    assert in_empty_context(run, main)
