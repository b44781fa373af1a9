"""
`wrap_async_context_manager`: what an async context manager sets is there for the block of a portal's thread (R09).
"""

from __future__ import annotations

from contextlib import ExitStack, asynccontextmanager
from contextvars import ContextVar, copy_context
from typing import Any, AsyncIterator, Callable, ContextManager, Iterator, List

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

import clew
from clew.tasks.anyio import wrap_async_context_manager
from tests.edges._generators import Watched, as_user, complaints, current_name
from tests.edges._groups import innermost
from tests.edges._threads import DEADLINE, as_ada, in_empty_context, user

Wrap = Callable[[BlockingPortal, Any], ContextManager[Any]]
wraps = pytest.mark.parametrize(
    "wrap", [BlockingPortal.wrap_async_context_manager, wrap_async_context_manager], ids=["bare", "clew"]
)

place: ContextVar[str] = ContextVar("place", default="nowhere")


@pytest.fixture(params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[BlockingPortal]:
    with start_blocking_portal(request.param) as portal:
        yield portal


@asynccontextmanager
async def logged_in(name: object, seen: Any = None) -> AsyncIterator[str]:
    before = user.get()
    token = user.set(name)
    try:
        await anyio.lowlevel.checkpoint()
        yield f"for {name}"
    finally:
        await anyio.lowlevel.checkpoint()
        if seen is not None:
            seen.append(user.get())
        user.reset(token)
        assert user.get() == before


async def look() -> object:
    await anyio.lowlevel.checkpoint()
    return user.get()


def seen_in_block(wrap: Wrap, portal: BlockingPortal) -> List[object]:
    seen: List[object] = []
    with wrap(portal, logged_in("grace", seen)) as value:
        seen += [value, user.get(), portal.call(user.get), portal.call(look)]
        seen.append(portal.start_task_soon(look).result(DEADLINE))
        user.set("changed in the block")
        seen.append(portal.call(look))
    return [*seen, user.get(), portal.call(look)]


def test_bare_block_does_not_see_what_is_set_and_clews_does_until_its_end(portal: BlockingPortal) -> None:
    bare = as_ada(lambda: seen_in_block(BlockingPortal.wrap_async_context_manager, portal))
    assert (
        bare
        == ["for grace", "ada", "ada", "ada", "ada", "changed in the block", "grace"] + ["changed in the block"] * 2
    )
    kept = as_ada(lambda: seen_in_block(wrap_async_context_manager, portal))
    assert kept == ["for grace", "grace", "grace", "grace", "grace", "changed in the block", "grace", "ada", "ada"]


def test_variable_that_was_not_set_is_not_set_after_the_block(portal: BlockingPortal) -> None:
    def scenario() -> bool:
        with wrap_async_context_manager(portal, logged_in("grace")):
            assert user in copy_context()
        return user in copy_context()

    assert not in_empty_context(scenario)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_block_in_a_worker_thread_of_the_loop_itself(backend: str) -> None:
    async def main(wrap: Wrap) -> Any:
        user.set("ada")
        async with BlockingPortal() as portal:
            seen = await anyio.to_thread.run_sync(seen_in_block, wrap, portal)
        return seen, user.get()

    def run(wrap: Wrap) -> Any:
        return in_empty_context(lambda: anyio.run(main, wrap, backend=backend))

    seen, after = run(BlockingPortal.wrap_async_context_manager)
    assert (seen[1:5], after) == (["ada"] * 4, "ada")
    seen, after = run(wrap_async_context_manager)
    assert (seen[1:5], seen[-2:], after) == (["grace"] * 4, ["ada"] * 2, "ada")


def test_blocks_in_each_other_are_undone_in_their_order(portal: BlockingPortal) -> None:
    @asynccontextmanager
    async def at(where: str) -> AsyncIterator[None]:
        seen.append((user.get(), place.get()))
        token = place.set(where)
        yield
        place.reset(token)

    def note() -> None:
        seen.append((portal.call(look), portal.call(place.get)))

    def scenario() -> None:
        with wrap_async_context_manager(portal, logged_in("grace")):
            with wrap_async_context_manager(portal, at("home")):
                note()
                with wrap_async_context_manager(portal, logged_in("joan")):
                    note()
                note()
            note()
        note()

    seen: List[object] = []
    as_ada(scenario)
    assert seen == [
        ("grace", "nowhere"),
        ("grace", "home"),
        ("joan", "home"),
        ("grace", "home"),
        ("grace", "nowhere"),
        ("ada", "nowhere"),
    ]


def test_run_of_the_manager_is_the_parent_in_the_block(portal: BlockingPortal) -> None:
    @asynccontextmanager
    async def traced() -> AsyncIterator[None]:
        with clew.trace("session"):
            await anyio.lowlevel.checkpoint()
            yield

    async def query() -> None:
        with clew.trace("query"):
            await anyio.lowlevel.checkpoint()

    def scenario() -> object:
        with clew.trace("request"):
            for wrap in (BlockingPortal.wrap_async_context_manager, wrap_async_context_manager):
                with wrap(portal, traced()):
                    portal.call(query)
            return current_name()

    with clew.record() as runs:
        assert in_empty_context(scenario) == "request"
    runs.assert_tree(
        """
        request
          session
          query
          session
            query
        """
    )


class Manager:
    """Fail at the entry or at the exit, or have the block's exception go no further."""

    def __init__(self, *, on_entry: Any = None, on_exit: Any = None, is_suppressing: bool = False) -> None:
        self.on_entry, self.on_exit, self.is_suppressing = on_entry, on_exit, is_suppressing
        self.seen: List[Any] = []

    async def __aenter__(self) -> Any:
        user.set("grace")
        if self.on_entry:
            raise self.on_entry
        return self

    async def __aexit__(self, exc_type: object, exc: object, traceback: object) -> Any:
        self.seen.append((exc_type, repr(exc), traceback is not None, user.get()))
        if self.on_exit:
            raise self.on_exit
        return self.is_suppressing


def outcome_of_block(wrap: Wrap, portal: BlockingPortal, manager: Any, error: Any = None) -> object:
    """Return how the block ended, what its manager has seen, and who is here afterwards."""
    ended: object = "no error"
    try:
        with wrap(portal, manager):
            if error is not None:
                raise error("block")
    except BaseException as caught:
        ended = repr(innermost(caught)), type(caught.__context__)
    return ended, getattr(manager, "seen", None), user.get()


@pytest.mark.parametrize(
    "make",
    [
        Manager,
        lambda: Manager(on_entry=KeyError("entry")),
        lambda: Manager(on_exit=KeyError("exit")),
        lambda: Manager(is_suppressing=True),
        object,
    ],
)
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_exceptions_go_the_way_they_go_with_the_bare_one(portal: BlockingPortal, make: Any, error: Any) -> None:
    bare = as_ada(lambda: outcome_of_block(BlockingPortal.wrap_async_context_manager, portal, make(), error))
    assert as_ada(lambda: outcome_of_block(wrap_async_context_manager, portal, make(), error)) == bare


@asynccontextmanager
async def with_failing_child() -> AsyncIterator[None]:
    async def fail() -> None:
        raise KeyError("child")

    async with anyio.create_task_group() as group:
        group.start_soon(fail)
        yield


def test_task_that_fails_in_the_block_has_its_error_come_out_of_it(portal: BlockingPortal) -> None:
    ended = as_ada(lambda: outcome_of_block(wrap_async_context_manager, portal, with_failing_child()))
    assert ended == as_ada(
        lambda: outcome_of_block(BlockingPortal.wrap_async_context_manager, portal, with_failing_child())
    )
    assert "KeyError('child')" in str(ended)


@wraps
def test_portal_that_has_stopped_refuses_the_block_in_its_own_words(wrap: Wrap) -> None:
    with start_blocking_portal() as stopped:
        pass
    manager = Manager()
    with complaints() as found, pytest.raises(RuntimeError, match="This portal is not running"):
        wrap(stopped, manager).__enter__()
    assert (found, manager.seen) == ([], [])


def test_manager_is_left_when_the_block_is_left_in_another_context(portal: BlockingPortal) -> None:
    manager = Manager()
    stack = as_user("ada").run(ExitStack)
    in_empty_context(stack.enter_context, wrap_async_context_manager(portal, manager))
    with pytest.raises(clew.ClewError, match="left in the context in which it was entered") as caught:
        in_empty_context(stack.close)
    assert isinstance(caught.value, ValueError)
    assert [each[0] for each in manager.seen] == [type(caught.value)]


def test_block_that_the_manager_has_opened_is_not_taken_for_one_of_the_thread(portal: BlockingPortal) -> None:
    @asynccontextmanager
    async def detached() -> AsyncIterator[None]:
        with clew.detached():
            yield

    def scenario() -> List[object]:
        outer, inner = (as_user(name).run(clew.capture).attached() for name in ("outer", "inner"))
        outer.__enter__()
        with wrap_async_context_manager(portal, detached()):
            pass
        inner.__enter__()
        # In the wrong order: what is inside brings nothing back.
        outer.__exit__(None, None, None)
        seen = user.get()
        inner.__exit__(None, None, None)
        return [seen, user.get()]

    assert as_ada(scenario) == ["inner", "ada"]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("error", [None, KeyError])
def test_value_is_gone_after_the_block(portal: BlockingPortal, error: Any) -> None:
    def scenario(watched: Watched) -> None:
        with wrap_async_context_manager(portal, logged_in(watched.make())):
            portal.call(look)
            if error is not None:
                raise error

    watched = Watched()
    try:
        in_empty_context(scenario, watched)
    except KeyError as caught:
        caught.__traceback__ = None
    for _ in range(3):
        in_empty_context(portal.call, anyio.lowlevel.checkpoint)
    assert watched.is_gone()
