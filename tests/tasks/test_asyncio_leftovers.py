"""
What is left, without the cyclic collector, of tasks and groups of `clew.tasks.asyncio` that have ended: nothing.

Where a group is the stdlib's, it is as much as that one leaves.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from contextvars import Context, ContextVar
from typing import Any, Callable, Dict, List

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task
from tests.edges._generators import as_user, complaints
from tests.edges._threads import Value, in_empty_context, is_gone, user

Make = Callable[[], Dict[str, Any]]

OPTIONS: Dict[str, Make] = {
    "plain": dict,
    "name": lambda: {"name": "worker"},
    "context": lambda: {"context": as_user("ada")},
    "snapshot": lambda: {"context": as_user("ada").run(clew.capture)},
}
options = pytest.mark.parametrize("make_options", OPTIONS.values(), ids=OPTIONS)


async def returns(value: Value) -> Value:
    user.set(value)
    await asyncio.sleep(0)
    return Value()


async def returns_at_once(value: Value) -> Value:
    return Value()


class Failure(Exception):
    """Be an error that a weak reference can watch."""


async def fails(value: Value) -> None:
    await returns(value)
    raise Failure


async def is_cancelled(value: Value) -> None:
    await returns(value)
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    await asyncio.sleep(0)


class Watch:
    """Hold weak references to what was used."""

    def __init__(self) -> None:
        self._references: Dict[str, Any] = {}

    def __call__(self, **objects: Any) -> None:
        self._references.update((name, weakref.ref(each)) for name, each in objects.items())

    def alive(self) -> List[str]:
        return [name for name, reference in self._references.items() if not is_gone(reference)]


async def alone(group_class: Any, watch: Watch, body: Any, options: Dict[str, Any]) -> None:
    value = Value()
    coroutine = body(value)
    task = create_task(coroutine, **options)
    watch(value=value, coroutine=coroutine, stepped=task.get_coro(), task=task)
    await asyncio.wait([task])
    if not task.cancelled():
        watch(result=task.exception() or task.result())


async def in_a_group(group_class: Any, watch: Watch, body: Any, options: Dict[str, Any]) -> None:
    value = Value()
    coroutine = body(value)
    group = group_class()
    watch(value=value, coroutine=coroutine, group=group)
    try:
        async with group:
            watch(task=group.create_task(coroutine, **options))
            del coroutine
    except Exception as error:
        watch(error=error, child=error.exceptions[0])  # type: ignore[attr-defined]


async def in_a_body_that_fails(group_class: Any, watch: Watch, body: Any, options: Dict[str, Any]) -> None:
    group = group_class()
    try:
        async with group:
            watch(group=group, task=group.create_task(body(Value()), **options))
            await asyncio.sleep(0)
            raise Failure
    except Exception as error:
        watch(error=error, body=error.exceptions[0])  # type: ignore[attr-defined]


async def in_a_group_that_is_cancelled(group_class: Any, watch: Watch, body: Any, options: Dict[str, Any]) -> None:
    async def parent() -> None:
        group = group_class()
        watch(group=group)
        async with group:
            watch(task=group.create_task(body(Value()), **options))
            watch(other=group.create_task(waits(Value()), **options))

    async def waits(value: Value) -> None:
        user.set(value)
        watch(value=value)
        await asyncio.get_running_loop().create_future()

    task = asyncio.ensure_future(parent())
    watch(parent=task)
    for _ in range(2):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        watch(error=task.exception())


def left_of(group_class: Any, use: Any, body: Any, options: Dict[str, Any]) -> List[str]:
    async def main() -> List[str]:
        await asyncio.ensure_future(use(group_class, watch, body, options))
        options.clear()
        for _ in range(3):  # the loop itself has what it has called last
            await asyncio.sleep(0)
        return watch.alive()

    watch = Watch()
    return in_empty_context(asyncio.run, main())


USES = [alone, in_a_group, in_a_body_that_fails, in_a_group_that_is_cancelled]


@options
@pytest.mark.parametrize("body", [returns, returns_at_once, fails, is_cancelled])
@pytest.mark.parametrize("use", USES)
@pytest.mark.usefixtures("no_collector")
def test_nothing_is_left_of_what_has_ended(use: Any, body: Any, make_options: Make) -> None:
    expected: List[str] = []
    if sys.version_info >= (3, 11):
        expected = left_of(asyncio.TaskGroup, use, body, {})
    assert set(left_of(TaskGroup, use, body, make_options())) <= set(expected)


REFUSED: Dict[str, Callable[[Any], object]] = {
    "of the group": lambda coroutine: TaskGroup().create_task(coroutine),
    "of the group, with a context": lambda coroutine: TaskGroup().create_task(coroutine, context=Context()),
    "of the context": lambda coroutine: create_task(coroutine, context={}),  # type: ignore[arg-type]
    "of an option": lambda coroutine: create_task(coroutine, unknown_option=True),
}


@pytest.mark.parametrize("refuse", REFUSED.values(), ids=REFUSED)
@pytest.mark.usefixtures("no_collector")
def test_nothing_is_left_of_a_coroutine_that_was_refused(refuse: Any) -> None:
    async def main() -> List[str]:
        watch = Watch()
        value = Value()
        coroutine = returns(value)
        watch(coroutine=coroutine, value=value)
        with pytest.raises((TypeError, RuntimeError)):
            refuse(coroutine)
        coroutine.close()
        del coroutine, value
        return watch.alive()

    asyncio.run(main())


@pytest.mark.parametrize("make_options", [OPTIONS["plain"], OPTIONS["context"]], ids=["plain", "context"])
def test_two_thousand_tasks_of_a_group_leave_nothing(make_options: Make) -> None:
    async def child(number: int) -> None:
        counted[number] = Counted()
        own.set(counted.pop(number))
        await asyncio.sleep(0)
        if not number % 7:
            raise asyncio.CancelledError

    async def main() -> int:
        async with TaskGroup() as group:
            for number in range(2000):
                group.create_task(child(number), **make_options())
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        return Counted.alive

    own: ContextVar[object] = ContextVar("own")
    counted: Dict[int, Counted] = {}
    gc.collect()
    gc.disable()
    try:
        with complaints() as found:
            alive = in_empty_context(asyncio.run, main())
    finally:
        gc.enable()
    assert found == []
    assert alive <= 1 or not hasattr(sys, "getrefcount")


class Counted:
    """Be counted while alive."""

    alive = 0

    def __init__(self) -> None:
        Counted.alive += 1

    def __del__(self) -> None:
        Counted.alive -= 1
