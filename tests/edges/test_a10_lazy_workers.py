"""
A10: a background worker that is started lazily, inside of the first request, belongs to no request.

The current spans and runs of other tracers, in a `clew.detached()` block, are in `tests/foreign`.
"""

from __future__ import annotations

import asyncio
import weakref
from contextvars import Context
from typing import Any, Callable, Dict, List, Tuple

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task
from tests.context._loops import Main
from tests.edges._generators import Watched, on_asyncio
from tests.edges._threads import in_empty_context, is_gone, user

Run = Callable[[Main], Any]
Start = Callable[[Any, Any], Any]


def bare(group: Any, coroutine: Any) -> Any:
    return asyncio.create_task(coroutine)


def detached(group: Any, coroutine: Any) -> Any:
    with clew.detached():
        return create_task(coroutine)


def detached_in_a_group(group: Any, coroutine: Any) -> Any:
    with clew.detached():
        return group.create_task(coroutine)


def detached_without_link(group: Any, coroutine: Any) -> Any:
    with clew.detached(link=False):
        return create_task(coroutine)


def in_a_context_of_its_own(group: Any, coroutine: Any) -> Any:
    return create_task(coroutine, context=Context())


LINKED = (detached, detached_in_a_group)
STARTS = (*LINKED, detached_without_link, in_a_context_of_its_own)


class Batcher:
    """Handle items one after the other, in a worker that the first of them starts."""

    def __init__(self, group: Any, start: Start) -> None:
        self._group = group
        self._start = start
        self._items: asyncio.Queue[Any] = asyncio.Queue()
        self.worker: Any = None

    async def handle(self, item: str) -> object:
        if self.worker is None:
            self.worker = self._start(self._group, self._work())
        done: Any = asyncio.get_running_loop().create_future()
        await self._items.put((item, done))
        return await done

    async def _work(self) -> None:
        while True:
            item, done = await self._items.get()
            with clew.trace(f"handle {item}"):
                done.set_result(user.get())
            del done


async def serve(start: Start, requests: Any) -> List[object]:
    """Return what the worker saw as the user at each of some requests, each in a task of its own."""

    async def request(name: str) -> object:
        user.set(name)
        with clew.trace(f"request of {name}"):
            return await batcher.handle(name)

    async with TaskGroup() as group:
        batcher = Batcher(group, start)
        seen = [await create_task(request(name)) for name in requests]
        batcher.worker.cancel()
    return seen


def recorded(run: Run, start: Start) -> Tuple[List[object], Any]:
    with clew.record() as runs:
        seen = in_empty_context(run, lambda: serve(start, ("ada", "grace", "alan")))
    return seen, runs


@on_asyncio
def test_all_runs_of_a_bare_worker_nest_under_the_first_request(run: Run) -> None:
    seen, runs = recorded(run, bare)
    assert seen == ["ada"] * 3
    runs.assert_tree(
        """
        request of ada
        ├── handle ada
        ├── handle grace
        └── handle alan
        request of grace
        request of alan
        """
    )


@on_asyncio
@pytest.mark.parametrize("start", STARTS)
def test_runs_of_a_detached_worker_are_roots_and_linked_to_where_it_was_asked_for(run: Run, start: Start) -> None:
    seen, runs = recorded(run, start)
    assert sorted(root.name for root in runs.roots) == sorted(each.name for each in runs)
    first = runs.find(name="request of ada")
    links = ((first.trace_id, first.span_id),) if start in LINKED else ()
    handled = [runs.find(name=f"handle {name}") for name in ("ada", "grace", "alan")]
    assert [each.links for each in handled] == [links] * 3
    assert len({each.trace_id for each in (first, *handled)}) == 4
    # Variables of one's own stay, unless the worker has a context of its own.
    assert seen == ["nobody" if start is in_a_context_of_its_own else "ada"] * 3


@on_asyncio
@pytest.mark.parametrize("start", [detached, detached_in_a_group])
def test_request_has_its_run_again_after_it_has_started_the_worker(run: Run, start: Start) -> None:
    async def request(batcher: Batcher) -> None:
        with clew.trace("request") as tree:
            await batcher.handle("item")
            assert clew.get_current_run_tree() is tree
            await create_task(clew.traceable(after)())

    async def after() -> None:
        pass

    async def main() -> None:
        async with TaskGroup() as group:
            batcher = Batcher(group, start)
            await request(batcher)
            batcher.worker.cancel()

    with clew.record() as runs:
        in_empty_context(run, main)
    runs.assert_tree("request\n  after\nhandle item")


PINS: Dict[Start, bool] = {bare: True, in_a_context_of_its_own: False}


@on_asyncio
@pytest.mark.parametrize("start", PINS)
@pytest.mark.usefixtures("no_collector")
def test_worker_in_a_context_of_its_own_keeps_no_value_of_the_first_request(run: Run, start: Start) -> None:
    async def request(batcher: Batcher) -> None:
        user.set(watched.make())
        await batcher.handle("item")

    async def main() -> bool:
        async with TaskGroup() as group:
            batcher = Batcher(group, start)
            await create_task(request(batcher))
            await asyncio.sleep(0)
            found = watched.is_gone()
            batcher.worker.cancel()
        return found

    watched = Watched()
    assert in_empty_context(run, main) is not PINS[start]


@on_asyncio
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.usefixtures("no_collector")
def test_worker_keeps_no_payload_of_the_first_request(run: Run, start: Start) -> None:
    async def request(batcher: Batcher) -> weakref.ref[Any]:
        with clew.record(), clew.trace("request", inputs={"question": "long"}) as tree:
            await batcher.handle("item")
            tree.add_outputs({"answer": "long"})
            return weakref.ref(tree)

    async def main() -> bool:
        async with TaskGroup() as group:
            batcher = Batcher(group, start)
            reference = await create_task(request(batcher))
            await asyncio.sleep(0)
            found = is_gone(reference)
            batcher.worker.cancel()
        return found

    assert in_empty_context(run, main)
