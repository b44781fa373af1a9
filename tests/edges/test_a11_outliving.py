"""
A11: a task that outlives the run that has started it nests under it, and keeps nothing of its payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from contextvars import copy_context
from typing import Any, Callable, Dict, List, Tuple

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task, to_thread
from tests.context._loops import Main
from tests.edges._generators import Watched, current_name, on_asyncio
from tests.edges._threads import Value, in_empty_context, is_gone, user

Run = Callable[[Main], Any]
Start = Callable[[Any, Any], Any]


def shared(group: Any, coroutine: Any) -> Any:
    return create_task(coroutine, context=copy_context())


def copied(group: Any, coroutine: Any) -> Any:
    return create_task(coroutine, context=clew.capture())


STARTS: Dict[str, Start] = {
    "bare": lambda group, coroutine: asyncio.create_task(coroutine),
    "create_task": lambda group, coroutine: create_task(coroutine),
    "context": shared,
    "snapshot": copied,
    "TaskGroup": lambda group, coroutine: group.create_task(coroutine),
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


async def started_and_over(request: Callable[[Callable[[Any], Any]], Any], start: Start) -> Tuple[object, object]:
    """Return what the task of a request sees before and after the end of that, and what a look in between finds."""

    async def work() -> None:
        with clew.trace("begun before the end"):
            seen.append(current_name())
            await go.wait()
        with clew.trace("begun after the end"):
            await to_thread(clew.traceable(lambda: None, name="in a thread"))
        seen.append(current_name())

    seen: List[object] = []
    go = asyncio.Event()
    async with TaskGroup() as group:
        tasks: List[Any] = []
        look = await create_task(request(lambda: tasks.append(start(group, work()))))
        for _ in range(3):
            await asyncio.sleep(0)
        found = look and look()
        go.set()
        await tasks.pop()
    return seen, found


@starts
@on_asyncio
def test_task_nests_under_the_run_that_has_started_it_also_after_its_end(run: Run, start: Start) -> None:
    async def request(begin: Callable[[], None]) -> None:
        with clew.trace("request"):
            begin()

    with clew.record() as runs:
        seen, _ = in_empty_context(run, lambda: started_and_over(request, start))
    assert seen == ["begun before the end", "request"]
    runs.assert_tree("request\n  begun before the end\n  begun after the end\n    in a thread")
    assert {each.status for each in runs} == {"success"}
    assert runs.find(name="begun after the end").start_time_ns >= runs.find(name="request").end_time_ns


class Tracer:
    """Be the run of a tracer that keeps inputs and outputs on what is in the context."""

    def __init__(self, inputs: object) -> None:
        self.inputs = inputs


@on_asyncio
@pytest.mark.usefixtures("no_collector")
def test_task_keeps_the_payload_that_a_bare_context_leads_to(run: Run) -> None:
    async def request(begin: Callable[[], None]) -> Any:
        user.set(Tracer(watched.make()))
        begin()
        return watched.is_gone

    watched = Watched()
    assert in_empty_context(run, lambda: started_and_over(request, STARTS["bare"]))[1] is False


@starts
@on_asyncio
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["returns", "fails"])
def test_nothing_of_the_payload_is_alive_when_the_run_has_ended(run: Run, start: Start, end: str) -> None:
    @clew.traceable
    async def answer(question: Value, begin: Callable[[], None]) -> Value:
        begin()
        tree = clew.get_current_run_tree()
        result = Value()
        references.extend(map(weakref.ref, (question, tree, result)))  # type: ignore[arg-type]
        assert tree is not None
        tree.add_metadata({"result": result})
        if end == "fails":
            raise LookupError
        return result

    async def request(begin: Callable[[], None]) -> Any:
        with clew.record() as runs, contextlib.suppress(LookupError):
            await answer(Value(), begin)
        # Who records has the payload as long as it likes.
        assert runs.find(name="answer").inputs
        return lambda: [is_gone(each) for each in references]

    references: List[Any] = []
    assert in_empty_context(run, lambda: started_and_over(request, start))[1] == [True] * 3
