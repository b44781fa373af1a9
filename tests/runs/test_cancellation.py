"""
Traced coroutines and async generators that are cancelled, at each await, against the undecorated ones.

Cancellation comes from tasks, scopes and timeouts; a signal's interrupts are elsewhere.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, AsyncIterator, Callable, Dict, List, Optional, Tuple

import anyio
import pytest
import trio

import clew
from tests.context._loops import ASYNCIO, Main, run_on_asyncio, run_on_trio
from tests.edges._generators import pause
from tests.runs.test_transparency import LOOPS, Call, Run, counted, in_copy_of_context, user


class Gate:
    """Be what a body awaits, and cancel it at one of these times."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.passed = 0
        self.notes: List[object] = []
        self.cancel: Callable[[], object]
        self.wait: Callable[[], Any] = pause

    async def __call__(self, name: str) -> None:
        self.passed += 1
        wait = pause
        if self.passed == self.number:
            self.cancel()
            wait = self.wait
        try:
            await wait()
        except BaseException as error:
            self.notes.append((name, type(error), user.get()))
            user.set(name)
            raise
        self.notes.append((name, user.get()))

    async def noting(self, work: Any) -> None:
        """Await what works, and note what comes of it."""
        try:
            self.notes.append(await work)
        except BaseException as error:
            self.notes.append(("out", *kinds_of(error)))
            raise
        finally:
            self.notes.append(user.get())


def kinds_of(error: Optional[BaseException]) -> Tuple[Any, ...]:
    if error is None:
        return ()
    return type(error), kinds_of(error.__cause__), kinds_of(error.__context__)


async def works(gate: Gate) -> str:
    try:
        await gate("first")
        try:
            await gate("second")
        finally:
            await gate("cleaning")
    finally:
        await gate("last")
    return "done"


async def goes_on(gate: Gate) -> str:
    try:
        await gate("first")
    except BaseException:
        await gate("rescued")
    await gate("second")
    return "done"


async def streams(gate: Gate) -> AsyncIterator[int]:
    try:
        await gate("before 1")
        yield 1
        await gate("before 2")
        yield 2
    finally:
        await gate("cleaning")
        await gate("last")


async def delegates(gate: Gate) -> AsyncIterator[int]:
    inner: Any = streams(gate)
    await gate("before all")
    try:
        async for item in inner:
            await gate("between")
            yield item
    finally:
        try:
            await gate("after all")
        finally:
            await inner.aclose()


async def all_of(stream: Any) -> List[Any]:
    return [item async for item in stream]


async def first_of(stream: Any) -> Any:
    first = await stream.__anext__()
    await stream.aclose()
    return first


async def itself(coroutine: Any) -> Any:
    return await coroutine


SCENARIOS: List[Tuple[Call, Callable[[Any], Any]]] = [
    (works, itself),
    (goes_on, itself),
    (streams, all_of),
    (streams, first_of),
    (delegates, all_of),
    (delegates, first_of),
]


async def by_its_task(gate: Gate, work: Any) -> None:
    def cancel() -> None:  # who runs is the task, also where that begins before it is known
        task: Any = asyncio.current_task()
        task.cancel()

    gate.cancel = cancel
    task = asyncio.ensure_future(gate.noting(work))
    await asyncio.wait([task])
    gate.notes.append(task.cancelled() or repr(task.exception()))


class JumpingLoop(asyncio.SelectorEventLoop):
    jumped = 0.0

    def time(self) -> float:
        return super().time() + self.jumped


def jump_on(gate: Gate) -> None:
    """Have so much time gone by, at the gate, that whoever waits for the body waits no longer."""
    loop: Any = asyncio.get_running_loop()

    def jump() -> None:
        loop.jumped += 5

    gate.cancel, gate.wait = jump, asyncio.Event().wait


async def by_wait_for(gate: Gate, work: Any) -> None:
    jump_on(gate)
    try:
        await asyncio.wait_for(gate.noting(work), 1)
    except asyncio.TimeoutError as error:
        gate.notes.append(kinds_of(error))


async def by_timeout(gate: Gate, work: Any) -> None:
    jump_on(gate)
    try:
        async with asyncio.timeout(1):  # type: ignore[attr-defined,unused-ignore]  # 3.11+
            await gate.noting(work)
    except asyncio.TimeoutError as error:
        gate.notes.append(kinds_of(error))


async def by_trio_scope(gate: Gate, work: Any) -> None:
    with trio.CancelScope() as scope:
        gate.cancel = scope.cancel
        await gate.noting(work)
    gate.notes.append(scope.cancelled_caught)


async def by_anyio_scope(gate: Gate, work: Any) -> None:
    with anyio.CancelScope() as scope:
        gate.cancel = scope.cancel
        await gate.noting(work)
    gate.notes.append(scope.cancelled_caught)


def run_on_jumping_loop(main: Main) -> Any:
    return run_on_asyncio(main, make=JumpingLoop)


CANCELS: Dict[str, Tuple[Run, Callable[[Gate, Any], Any]]] = {
    **{f"task, {name}": (run, by_its_task) for name, run in ASYNCIO.items()},
    "wait_for": (run_on_jumping_loop, by_wait_for),
    "trio": (run_on_trio, by_trio_scope),
    "anyio on asyncio": (LOOPS["anyio on asyncio"], by_anyio_scope),
    "anyio on trio": (LOOPS["anyio on trio"], by_anyio_scope),
}
if sys.version_info >= (3, 11):
    CANCELS["timeout"] = (run_on_jumping_loop, by_timeout)


@pytest.mark.parametrize(("run", "cancel"), CANCELS.values(), ids=CANCELS)
@pytest.mark.parametrize(("fn", "consume"), SCENARIOS)
def test_cancellation_at_each_await_is_what_it_is_undecorated(
    fn: Call, consume: Callable[[Any], Any], run: Run, cancel: Callable[[Gate, Any], Any]
) -> None:
    def notes_of(fn: Call, number: int) -> Gate:
        gate = Gate(number)

        def main() -> Any:
            return cancel(gate, consume(fn(gate)))

        in_copy_of_context(run, main)
        return gate

    number = 1
    while True:
        expected = notes_of(fn, number)
        with counted() as ended, clew.record() as runs:
            found = notes_of(clew.traceable(fn), number)
        assert found.notes == expected.notes
        is_out = any(isinstance(note, tuple) and note[0] == "out" for note in found.notes)
        status = "cancelled" if is_out or consume is first_of else "success"
        assert [run.status for run in ended] == [run.status for run in runs] == [status]
        if number > expected.passed:
            break
        number += 1
    assert number > 2


@pytest.mark.parametrize("fn", [works, all_of])
def test_task_that_is_cancelled_before_its_first_step_is_no_run(fn: Any) -> None:
    async def main() -> None:
        gate = Gate(0)
        work = clew.traceable(works)(gate) if fn is works else all_of(clew.traceable(streams)(gate))
        task = asyncio.ensure_future(work)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    with clew.record() as runs:
        asyncio.run(main())
    assert len(runs) == 0
