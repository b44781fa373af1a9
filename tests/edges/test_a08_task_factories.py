"""
A08: task factories that know nothing of `context=`, or of `name=`, and those that make tasks of their own class.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, Callable, List

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task
from tests.edges._generators import as_user, complaints
from tests.edges._threads import DEADLINE, in_empty_context, user


class OwnTask(asyncio.Task):  # type: ignore[type-arg]
    pass


def plain(loop: Any, coroutine: Any) -> Any:
    return OwnTask(coroutine, loop=loop)


def with_context(loop: Any, coroutine: Any, *, context: Any = None) -> Any:
    return OwnTask(coroutine, loop=loop) if context is None else OwnTask(coroutine, loop=loop, context=context)


def with_name(loop: Any, coroutine: Any, name: Any = None) -> Any:
    return OwnTask(coroutine, loop=loop, name=name)


def with_everything(loop: Any, coroutine: Any, **options: Any) -> Any:
    return OwnTask(coroutine, loop=loop, **options)


class Unknown:
    """Be a factory whose arguments cannot be told, as some that are written in C."""

    __signature__ = "(...)"

    def __call__(self, *args: Any, **options: Any) -> Any:
        return with_everything(*args, **options)


def under(factory: Any, main: Callable[[], Any]) -> Any:
    """Run on a loop with that factory."""

    async def begin() -> Any:
        asyncio.get_running_loop().set_task_factory(factory)
        return await asyncio.wait_for(main(), DEADLINE)

    with complaints() as found:
        result = in_empty_context(asyncio.run, begin())
    assert found == []
    return result


FACTORIES = [plain, with_context, with_name, with_everything]
if sys.version_info >= (3, 11):
    FACTORIES.append(Unknown())  # type: ignore[arg-type]  # who is asked for a name or a context only there
factories = pytest.mark.parametrize("factory", FACTORIES, ids=lambda each: getattr(each, "__name__", "unknown"))


async def sets(value: object) -> object:
    before = user.get()
    await asyncio.sleep(0)
    user.set(value)
    return before


async def refused(**options: Any) -> bool:
    """Tell whether the bare function refuses these options, as the factory does not take them."""
    coroutine = sets("grace")
    try:
        await asyncio.create_task(coroutine, **options)
    except TypeError:
        coroutine.close()
        return True
    return False


@pytest.mark.parametrize("factory", [plain, with_name])
def test_bare_task_cannot_be_started_in_a_context_under_a_factory_that_takes_none(factory: Any) -> None:
    assert under(factory, lambda: refused(context=as_user("ada")))


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.14 hands the name to the factory")
@pytest.mark.parametrize("factory", [plain, with_context])
def test_bare_task_cannot_be_named_under_a_factory_that_takes_no_name(factory: Any) -> None:
    assert under(factory, lambda: refused(name="worker"))


async def in_group(coroutine: Any, **options: Any) -> Any:
    async with TaskGroup() as group:
        return group.create_task(coroutine, **options)


async def by_itself(coroutine: Any, **options: Any) -> Any:
    task = create_task(coroutine, **options)
    await asyncio.wait([task])
    return task


starts = pytest.mark.parametrize("start", [by_itself, in_group], ids=["create_task", "TaskGroup"])


@starts
@factories
def test_task_under_any_factory_shares_its_context_and_has_its_name(factory: Any, start: Any) -> None:
    async def main() -> List[object]:
        user.set("of main")
        context = as_user("ada")
        task = await start(sets("grace"), context=context, name="worker")
        assert isinstance(task, OwnTask)
        return [task.result(), context[user], task.get_name(), user.get()]

    assert under(factory, main) == ["ada", "grace", "worker", "of main"]


@starts
@factories
def test_task_under_any_factory_has_a_copy_of_a_snapshot(factory: Any, start: Any) -> None:
    async def main() -> List[object]:
        task = await start(sets("grace"), context=snapshot)
        return [task.result(), snapshot.run(user.get)]

    snapshot = as_user("ada").run(clew.capture)
    assert under(factory, main) == ["ada", "ada"]


@starts
@factories
def test_task_without_a_context_is_what_the_factory_makes_of_it(factory: Any, start: Any) -> None:
    async def main() -> List[object]:
        user.set("of main")
        tasks = [await start(sets("grace")), await start(sets("grace"), name="worker")]
        assert all(type(task) is OwnTask for task in tasks)
        return [*(task.result() for task in tasks), tasks[1].get_name(), user.get()]

    assert under(factory, main) == ["of main", "of main", "worker", "of main"]


@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="3.13.0 itself sets the name of what a factory makes")
def test_factory_may_make_what_has_no_name() -> None:
    def factory(loop: Any, coroutine: Any) -> Any:
        future = loop.create_future()
        task = OwnTask(coroutine, loop=loop)
        task.add_done_callback(lambda _: future.set_result(task.result()))
        return future

    async def main() -> object:
        context = as_user("ada")
        task: Any = create_task(sets("grace"), context=context, name="worker")
        assert not hasattr(task, "get_name")
        return await task, context[user]

    assert under(factory, main) == ("ada", "grace")


@factories
def test_error_of_the_factory_closes_the_coroutine(factory: Any) -> None:
    def fails(*args: Any, **options: Any) -> Any:
        raise LookupError("no task today")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(fails)
        for options in ({}, {"name": "worker"}, {"context": as_user("ada")}):
            with pytest.raises(LookupError, match="no task today"):
                create_task(sets("grace"), **options)  # type: ignore[arg-type]
            async with TaskGroup() as group:
                with pytest.raises(LookupError, match="no task today"):
                    group.create_task(sets("grace"), **options)  # type: ignore[arg-type]
        asyncio.get_running_loop().set_task_factory(factory)

    under(factory, main)
