"""
What `create_task` and `TaskGroup` of `clew.tasks.asyncio` refuse, how they say it, and that no coroutine is left over.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import threading
from contextvars import Context
from typing import Any, Callable, Coroutine, Dict, List

import pytest

import clew
from clew.errors import ArgumentTypeError, ClewError, ContextInUseError
from clew.tasks.asyncio import TaskGroup, create_task
from tests.context._loops import Main, run_on_asyncio
from tests.edges._generators import as_user, complaints, on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, in_use_by_a_thread, user

Run = Callable[[Main], Any]
Start = Callable[..., Any]

OPTIONS: Dict[str, Callable[[], Dict[str, Any]]] = {
    "plain": dict,
    "name": lambda: {"name": "worker"},
    "context": lambda: {"context": as_user("ada")},
    "snapshot": lambda: {"context": as_user("ada").run(clew.capture)},
}
options = pytest.mark.parametrize("make_options", OPTIONS.values(), ids=OPTIONS)


async def by_itself(*args: Any, **options: Any) -> None:
    await create_task(*args, **options)


async def in_group(*args: Any, **options: Any) -> None:
    """Raise what the task does, or `create_task` itself, as if there were no group around it."""
    try:
        async with TaskGroup() as group:
            group.create_task(*args, **options)
            # Before 3.13, a group that ends at once forgets that an eager task has had it cancel this one.
            await asyncio.sleep(0)
    except Exception as error:
        [only] = error.exceptions  # type: ignore[attr-defined]
        raise only from None


starts = pytest.mark.parametrize("start", [by_itself, in_group], ids=["create_task", "TaskGroup"])


async def looks() -> object:
    await asyncio.sleep(0)
    return user.get()


def generator() -> Any:
    yield


async def async_generator() -> Any:
    yield


NO_COROUTINES: List[Callable[[], object]] = [lambda: looks, async_generator, int, lambda: None, lambda: "looks()"]
if sys.version_info >= (3, 12):
    NO_COROUTINES.append(generator)  # until then, asyncio takes it for one


@starts
@options
@pytest.mark.parametrize("make_wrong", NO_COROUTINES)
def test_what_is_no_coroutine_is_refused(start: Start, make_options: Any, make_wrong: Any) -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="coroutine"):
            await start(make_wrong(), **make_options())

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@starts
@pytest.mark.parametrize("wrong", [{}, 5, "context", Context, dict.items], ids=str)
def test_what_is_no_context_is_refused_and_the_coroutine_closed(start: Start, wrong: Any) -> None:
    async def main() -> None:
        with pytest.raises(ArgumentTypeError, match=r"expected a contextvars\.Context or a clew\.Snapshot, got"):
            await start(looks(), context=wrong)

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@starts
def test_unknown_option_is_refused_and_the_coroutine_closed(start: Start) -> None:
    async def main() -> None:
        for make_options in OPTIONS.values():
            with pytest.raises(TypeError, match="unknown_option"):
                await start(looks(), unknown_option=True, **make_options())

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@options
def test_task_without_an_event_loop_is_refused_and_the_coroutine_closed(make_options: Any) -> None:
    with complaints() as found, pytest.raises(RuntimeError, match="no running event loop"):
        create_task(looks(), **make_options())
    assert found == []


@options
def test_task_on_another_thread_is_refused_and_the_coroutine_closed(make_options: Any) -> None:
    def start() -> None:
        with pytest.raises(RuntimeError, match="no running event loop"):
            create_task(looks(), **make_options())
        done.append(True)

    async def main() -> None:
        thread = threading.Thread(target=start)
        thread.start()
        thread.join(DEADLINE)

    done: List[bool] = []
    with complaints() as found:
        asyncio.run(main())
    assert found == []
    assert done == [True]


@starts
@options
def test_coroutine_that_is_over_says_so(start: Start, make_options: Any) -> None:
    async def main() -> None:
        coroutine = looks()
        await coroutine
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await start(coroutine, **make_options())

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@starts
@options
def test_coroutine_that_waits_in_another_task_is_refused_and_goes_on_there(start: Start, make_options: Any) -> None:
    async def waits() -> object:
        await go.wait()
        return user.get()

    async def main() -> None:
        nonlocal go
        go = asyncio.Event()
        coroutine = waits()
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="awaited already"):
            await start(awaiting(coroutine), **make_options())
        go.set()
        assert await task == "nobody"

    async def awaiting(coroutine: Any) -> object:
        return await coroutine

    go: Any = None
    with complaints() as found:
        in_empty_context(asyncio.run, main())
    assert found == []


@starts
def test_coroutine_passed_twice_at_once_fails_the_second_task_alone(start: Start) -> None:
    async def main() -> None:
        coroutine = looks()
        contexts = [as_user("ada").run(stepped_snapshot) for _ in range(2)]
        first = create_task(coroutine, context=contexts[0])
        second = create_task(start(coroutine, context=contexts[1]))
        assert await first == "ada"
        with pytest.raises(RuntimeError, match=r"awaited already|already awaited"):
            await second

    with complaints() as found:
        asyncio.run(main())
    assert found == []


def stepped_snapshot() -> clew.Snapshot:
    """Return a snapshot with the values of an accessor: a task in it is stepped on every version."""
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(threading.local(), "tenant"))
    try:
        return clew.capture()
    finally:
        unregister()


@starts
@on_asyncio
def test_context_that_another_thread_is_in_is_an_error_of_the_task(run: Run, start: Start) -> None:
    async def main() -> None:
        with in_use_by_a_thread(context), pytest.raises(
            ContextInUseError, match="expected a context that is free"
        ) as caught:
            await start(looks(), context=context)
        assert isinstance(caught.value, RuntimeError)
        assert await create_task(looks(), context=context) == "ada"

    context = as_user("ada")
    with complaints() as found:
        in_empty_context(run, main)
    assert found == []


@on_asyncio
def test_context_in_use_fails_the_group_as_any_error_of_a_child(run: Run) -> None:
    async def main() -> List[object]:
        with in_use_by_a_thread(context):
            try:
                async with TaskGroup() as group:
                    sibling = group.create_task(asyncio.sleep(DEADLINE))
                    group.create_task(looks(), context=context)
            except Exception as error:
                return [*map(type, error.exceptions), sibling.cancelled()]  # type: ignore[attr-defined]
        return []

    context = Context()
    with complaints() as found:
        assert run(main) == [ContextInUseError, True]
    assert found == []


@starts
def test_snapshot_of_a_context_in_use_is_none_of_it(start: Start) -> None:
    async def main() -> None:
        with in_use_by_a_thread(context):
            await start(looks(), context=snapshot)

    context = as_user("ada")
    snapshot = context.run(clew.capture)
    asyncio.run(main())


def test_context_that_is_free_again_at_the_first_step_is_none_in_use() -> None:
    async def main() -> object:
        with in_use_by_a_thread(context):
            task = create_task(looks(), context=context)
        return await task

    context = as_user("ada")
    assert in_empty_context(run_on_asyncio, main) == "ada"


# The misuses of a group: each returns the group and what its `create_task` is expected to say.


async def not_entered() -> Any:
    return TaskGroup(), "has not been entered"


async def ended() -> Any:
    async with TaskGroup() as group:
        pass
    return group, "is finished"


async def ended_with_an_error() -> Any:
    group = TaskGroup()
    try:
        async with group:
            raise LookupError
    except Exception:
        return group, "is finished|is shutting down"


# In the calls themselves, so that nobody but the group has the coroutines.
CALLS: Dict[str, Callable[[Any], object]] = {
    "plain": lambda group: group.create_task(looks()),
    "name": lambda group: group.create_task(looks(), name="worker"),
    "context": lambda group: group.create_task(looks(), context=as_user("ada")),
    "snapshot": lambda group: group.create_task(looks(), name="worker", context=as_user("ada").run(clew.capture)),
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
COUNTS_REFERENCES = hasattr(sys, "getrefcount")
closes = pytest.mark.skipif(
    sys.version_info < (3, 13) and not COUNTS_REFERENCES, reason="3.13 closes what is refused, counted or not"
)


@closes
@calls
@pytest.mark.parametrize("misuse", [not_entered, ended, ended_with_an_error])
def test_group_outside_of_its_block_refuses_tasks_and_closes_their_coroutines(misuse: Any, call: Any) -> None:
    async def main() -> None:
        group, said = await misuse()
        with pytest.raises(RuntimeError, match=said) as caught:
            call(group)
        assert not isinstance(caught.value, ClewError)

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@closes
@calls
@on_asyncio
def test_group_that_is_shutting_down_refuses_tasks_and_closes_their_coroutines(run: Run, call: Any) -> None:
    async def starts_another(group: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            with pytest.raises(RuntimeError, match="is shutting down"):
                call(group)
            refused.append(True)

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def body() -> None:
        async with TaskGroup() as group:
            group.create_task(starts_another(group))
            group.create_task(fails())

    async def main() -> None:
        with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):
            await body()

    refused: List[bool] = []
    with complaints() as found:
        run(main)
    assert refused == [True]
    assert found == []


def test_group_leaves_a_coroutine_that_it_refuses_to_who_has_it_too_before_python_3_13() -> None:
    async def main() -> object:
        coroutine = looks()
        with pytest.raises(RuntimeError, match="has not been entered"):
            TaskGroup().create_task(coroutine)
        if sys.version_info < (3, 13):
            return await coroutine
        assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED
        return "nobody"

    assert in_empty_context(asyncio.run, main()) == "nobody"


def test_group_entered_twice_says_so_and_goes_on() -> None:
    async def main() -> object:
        async with TaskGroup() as group:
            with pytest.raises(RuntimeError, match=r"TaskGroup <TaskGroup entered> has .*been entered"):
                await group.__aenter__()
            task = group.create_task(looks())
        with pytest.raises(RuntimeError, match=r"has .*been entered"):
            await group.__aenter__()
        return task.result()

    assert in_empty_context(asyncio.run, main()) == "nobody"


def test_group_without_a_task_says_so() -> None:
    def enter() -> None:
        try:
            TaskGroup().__aenter__().send(None)
        except BaseException as error:
            found.append(error)
        loop.stop()

    found: List[BaseException] = []
    loop = asyncio.new_event_loop()
    loop.call_soon(enter)
    loop.run_forever()
    loop.close()
    assert isinstance(found[0], RuntimeError)
    assert "cannot determine the parent task" in str(found[0])


def test_group_without_an_event_loop_says_so() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        TaskGroup().__aenter__().send(None)


class OfCython(Coroutine[Any, Any, None]):
    """Be a coroutine as Cython makes them: it has less to be asked than a native one."""

    cr_running = False
    cr_await = None

    def __init__(self) -> None:
        self.cr_frame: Any = object()

    def send(self, _: Any) -> Any:
        raise StopIteration

    def throw(self, *exception: Any) -> Any:
        raise exception[0]

    def close(self) -> None:
        self.cr_frame = None

    def __await__(self) -> Any:
        return iter(())


@starts
def test_coroutine_of_another_make_is_refused_and_closed_as_well(start: Start) -> None:
    async def main() -> None:
        with pytest.raises(ArgumentTypeError, match=r"expected a contextvars\.Context"):
            await start(coroutine, context=5)

    coroutine = OfCython()
    run_on_asyncio(main)
    assert coroutine.cr_frame is None


@starts
def test_error_of_a_task_factory_comes_with_its_traceback(start: Start) -> None:
    def factory(loop: Any, coroutine: Any, **_options: Any) -> Any:
        if not is_broken:
            return asyncio.Task(coroutine, loop=loop)
        raise RuntimeError("of the factory")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        is_broken.append(True)
        try:
            with pytest.raises(RuntimeError, match="of the factory") as caught:
                await start(looks(), name="x")
        finally:
            is_broken.clear()
        assert caught.traceback[-1].name == "factory"

    is_broken: List[bool] = []
    with complaints() as found:
        run_on_asyncio(main)
    assert found == []
