"""
What only anyio's task groups have: their class, the names of tasks, and handles and `create_task` from 4.14 on.

What they share with trio's nurseries is in `test_groups`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import product
from typing import Any, Callable, Dict, List

import anyio
import anyio.abc
import anyio.lowlevel
import pytest

import clew
from clew.tasks.anyio import TaskGroup, create_task_group
from tests.edges._generators import as_user, complaints
from tests.edges._groups import HAS_HANDLES, Kind, anyio_kinds, innermost, needs_handles
from tests.edges._threads import in_empty_context, in_use_by_a_thread, user
from tests.tasks._scenarios import Options, Trace, ending, options, trace_of

NAMED: List[Dict[str, Any]] = [{}, {"name": "named"}, {"name": Kind}]


async def function(*args: Any, task_status: Any = None) -> None:
    if task_status is not None:
        task_status.started()
    await anyio.lowlevel.checkpoint()
    args[0].append(anyio.get_current_task().name)


class Callables:
    async def method(self, *args: Any, **options: Any) -> None:
        await function(*args, **options)

    async def __call__(self, *args: Any, **options: Any) -> None:
        await function(*args, **options)


FUNCTIONS: Dict[str, Callable[..., Any]] = {
    "function": function,
    "lambda": lambda *args, **options: function(*args, **options),
    "method": Callables().method,
    # Before 4.14 and on trio, where clew hands on something else, this has its repr for a name.
    **({"partial": partial(function)} if HAS_HANDLES else {}),
    "callable object": Callables(),
}


@anyio_kinds
@options
def test_task_has_the_name_that_anyio_gives_it(kind: Kind, options: Options) -> None:
    async def scenario(open_group: Any, options: Options, trace: Trace) -> None:
        for fn, named in product(FUNCTIONS.values(), NAMED):
            async with open_group() as group:
                group.start_soon(fn, trace, **named, **options())
                await group.start(fn, trace, **named, **options())

    expected = trace_of(kind, kind.bare, scenario)
    assert len(expected) == 2 * len(FUNCTIONS) * len(NAMED)
    assert trace_of(kind, kind.clew, scenario, options) == expected


@anyio_kinds
def test_group_is_of_anyios_class_for_the_loop_and_of_clews(kind: Kind) -> None:
    async def main() -> None:
        group, bare = create_task_group(), anyio.create_task_group()
        assert isinstance(group, TaskGroup)
        assert isinstance(group, anyio.abc.TaskGroup)
        assert isinstance(group, type(bare))
        assert type(group) is type(create_task_group())
        assert type(group).__name__ == type(bare).__name__
        async with group as entered, bare:
            assert entered is group
            assert type(group.cancel_scope) is type(bare.cancel_scope)

    kind.run(main)


@anyio_kinds
def test_bare_group_in_the_same_program_is_as_it_was(kind: Kind) -> None:
    async def main() -> None:
        async with create_task_group(), anyio.create_task_group() as bare:
            assert not isinstance(bare, TaskGroup)
            with pytest.raises(TypeError, match="unexpected keyword argument 'context'"):
                bare.start_soon(anyio.lowlevel.checkpoint, context=Context())

    kind.run(main)


@anyio_kinds
@options
def test_start_soon_returns_what_anyio_returns(kind: Kind, options: Options) -> None:
    async def child() -> str:
        await anyio.lowlevel.checkpoint()
        return "result"

    async def main() -> object:
        async with create_task_group() as group:
            handle = group.start_soon(child, **options())
            return (await handle) if HAS_HANDLES else handle

    assert kind.run(main) == ("result" if HAS_HANDLES else None)


async def is_awaited(open_group: Any, options: Options, trace: Trace) -> None:
    async def child(error: Any) -> str:
        await anyio.lowlevel.checkpoint()
        if error is not None:
            raise error
        return "result"

    async def waiting() -> None:
        with ending(trace):
            await anyio.sleep_forever()

    with ending(trace):
        async with open_group() as group:
            handle = group.create_task(child(None), name="named", **options())
            trace.append((await handle, handle.name, str(handle.status), handle.return_value))
            handle = group.create_task(waiting(), **options())
            await anyio.wait_all_tasks_blocked()
            handle.cancel()
            await handle.wait()
            trace.append((str(handle.status), handle.name))
            handle = await group.start(function, trace, return_handle=True, **options())
            await handle.wait()
            trace.append(str(handle.status))
            handle = group.create_task(child(KeyError("child")), **options())
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.sleep_forever()
    trace.append((str(handle.status), repr(handle.exception)))


async def is_no_coroutine(open_group: Any, options: Options, trace: Trace) -> None:
    async with open_group() as group:
        for wrong in (function, 3, None, anyio.lowlevel.checkpoint):
            with suppress(TypeError):
                group.create_task(wrong, **options())
                trace.append("was taken")
        trace.append("refused")


async def is_not_active(open_group: Any, options: Options, trace: Trace) -> None:
    group = open_group()
    with ending(trace):
        group.create_task(anyio.lowlevel.checkpoint(), **options())
    async with group:
        pass
    with ending(trace):
        group.create_task(anyio.lowlevel.checkpoint(), **options())


async def is_cancelled_before_its_first_step(open_group: Any, options: Options, trace: Trace) -> None:
    async with open_group() as group:
        handle = group.create_task(function(trace), **options())
        handle.cancel()
    trace.append(str(handle.status))


@needs_handles
@anyio_kinds
@options
@pytest.mark.parametrize("scenario", [is_awaited, is_no_coroutine, is_not_active, is_cancelled_before_its_first_step])
def test_handle_does_what_it_does_in_anyios_own_group(kind: Kind, scenario: Any, options: Options) -> None:
    with complaints() as found:
        expected = trace_of(kind, kind.bare, scenario)
        assert trace_of(kind, kind.clew, scenario, options) == expected
    assert expected
    assert found == []


@needs_handles
@anyio_kinds
@pytest.mark.parametrize("wrong", [3, {}, Context])
def test_coroutine_is_closed_that_is_refused_for_its_context(kind: Kind, wrong: Any) -> None:
    async def main() -> None:
        async with create_task_group() as group:
            with pytest.raises(clew.ClewError, match=r"expected a contextvars.Context or a clew.Snapshot"):
                group.create_task(function([]), context=wrong)

    with complaints() as found:
        kind.run(main)
    assert found == []


@needs_handles
@anyio_kinds
def test_coroutine_that_is_given_twice_is_an_error_of_the_second_task(kind: Kind) -> None:
    async def child() -> None:
        await anyio.sleep_forever()

    async def main(open_group: Any, make: Callable[[], Any]) -> None:
        async with open_group() as group:
            coro = child()
            for _ in range(2):
                group.create_task(coro, **make())
                await anyio.wait_all_tasks_blocked()
            await anyio.sleep_forever()

    with complaints() as found:
        for open_group, make in ((kind.bare, dict), (kind.clew, lambda: {"context": Context()})):
            with pytest.raises(BaseException) as caught:
                kind.run(lambda o=open_group, m=make: main(o, m))
            assert isinstance(innermost(caught.value), RuntimeError)
            assert "await" in str(innermost(caught.value))
    assert found == []


@needs_handles
@anyio_kinds
def test_context_in_use_elsewhere_is_an_error_of_the_task_of_a_handle(kind: Kind) -> None:
    async def main() -> Any:
        async with create_task_group() as group:
            handle = group.create_task(function([]), context=context)
            with suppress(anyio.get_cancelled_exc_class()):
                await handle.wait()
        return handle.exception

    context = as_user("ada")
    with complaints() as found:
        with in_use_by_a_thread(context), pytest.raises(BaseException) as caught:
            kind.run(main)
        assert isinstance(innermost(caught.value), clew.ClewError)
    assert found == []


def test_task_factory_of_ones_own_is_used() -> None:
    class OwnTask(asyncio.Task):  # type: ignore[type-arg]
        """Be the task of somebody's own."""

    async def child() -> None:
        found.append((type(asyncio.current_task()), user.get()))

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(lambda loop, coro, **options: OwnTask(coro, loop=loop, **options))
        async with create_task_group() as group:
            group.start_soon(child, context=as_user("ada"))

    found: List[object] = []
    in_empty_context(asyncio.run, main())
    assert found == [(OwnTask, "ada")]
