"""
`wrap_coroutine` on trio, and with anyio on both of its backends.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, List

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest
import sniffio
import trio

import clew
from tests.context._coroutines import context_with, var
from tests.context._loops import Wrap, bare, copied, run_on_trio, shared
from tests.edges._threads import DEADLINE, in_empty_context

BACKENDS = pytest.mark.parametrize("backend", ["asyncio", "trio"])


async def uses_anyio() -> List[object]:
    seen: List[object] = [sniffio.current_async_library()]
    with anyio.move_on_after(0.001) as scope:
        await anyio.sleep(DEADLINE)
    seen.append(scope.cancel_called)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(DEADLINE)
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.sleep, DEADLINE)
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    with pytest.raises(TimeoutError), anyio.fail_after(0.001):
        await anyio.sleep(DEADLINE)
    task = anyio.get_current_task().id
    seen.append(await anyio.to_thread.run_sync(anyio.from_thread.run_sync, sniffio.current_async_library))
    return [*seen, anyio.get_current_task().id == task, await anyio.to_thread.run_sync(var.get), var.get()]


@BACKENDS
@pytest.mark.parametrize("make", [lambda: context_with("ada"), lambda: context_with("ada").run(clew.capture)])
def test_body_uses_anyio_as_everywhere(backend: str, make: Callable[[], Any]) -> None:
    async def main() -> object:
        with anyio.fail_after(DEADLINE):
            return await clew.wrap_coroutine(uses_anyio(), make())

    assert in_empty_context(lambda: anyio.run(main, backend=backend)) == [backend, True, backend, True, "ada", "ada"]


@BACKENDS
@pytest.mark.parametrize("other", ["asyncio", "trio"])
def test_snapshot_of_another_loop_does_not_bring_that_loop(backend: str, other: str) -> None:
    async def capture() -> clew.Snapshot:
        return clew.capture()

    async def body() -> str:
        await anyio.lowlevel.checkpoint()
        return sniffio.current_async_library()

    async def main() -> str:
        return await clew.wrap_coroutine(body(), snapshot)

    snapshot = anyio.run(capture, backend=other)
    assert anyio.run(main, backend=backend) == backend


@BACKENDS
def test_cancel_scope_around_reaches_the_body_and_its_shield_holds(backend: str) -> None:
    async def body() -> None:
        try:
            await anyio.sleep(DEADLINE)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                seen.append(var.get())

    async def main() -> bool:
        with anyio.move_on_after(0.001) as scope:
            await shared(body())
        return scope.cancel_called

    seen: List[object] = []
    assert anyio.run(main, backend=backend)
    assert seen == ["ada"]


async def has_a_nursery(wrap: Wrap) -> object:
    async def child(delay: float) -> None:
        await trio.sleep(delay)
        seen.append((delay, trio.current_time() - start))

    async def body() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child, 2)
            nursery.start_soon(lambda: wrap(child(1)))
        with trio.move_on_after(1) as scope:
            await trio.sleep_forever()
        seen.append(scope.cancelled_caught)

    seen: List[object] = []
    start = trio.current_time()
    await wrap(body())
    return seen, trio.current_time() - start


async def is_cancelled_on_trio(wrap: Wrap) -> object:
    async def body() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            seen.append("cleaned up")

    seen: List[object] = []
    with trio.move_on_after(1) as scope:
        await wrap(body())
    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.cancel()
        nursery.start_soon(lambda: wrap(body()))
    return seen, scope.cancelled_caught


async def is_seen_by_trio(wrap: Wrap) -> object:
    async def body() -> object:
        task = trio.lowlevel.current_task()

        def look() -> List[str]:
            return [frame.f_code.co_name for frame, _ in task.iter_await_frames()]

        # With the token, trio calls the function outside of the task, while the task waits.
        look_from_outside = partial(trio.from_thread.run_sync, look, trio_token=trio.lowlevel.current_trio_token())
        names = await trio.to_thread.run_sync(look_from_outside)
        assert "wait_task_rescheduled" in names
        return names, trio.lowlevel.currently_ki_protected()

    return await wrap(body())


@pytest.mark.parametrize("scenario", [has_a_nursery, is_cancelled_on_trio, is_seen_by_trio])
def test_wrapped_coroutine_does_on_trio_what_the_bare_one_does(scenario: Callable[[Wrap], Any]) -> None:
    expected = run_on_trio(lambda: scenario(bare))
    assert run_on_trio(lambda: scenario(shared)) == expected
    assert run_on_trio(lambda: scenario(copied)) == expected
