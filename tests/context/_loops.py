"""
The event loops that step coroutines, and the ways to wrap a coroutine.

Each loop runs a coroutine function to its end, or fails at the deadline.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from typing import Any, Callable, Dict, List

import pytest
import sniffio
import trio
import trio.testing

import clew
from tests.context._coroutines import context_with
from tests.edges._threads import DEADLINE

Main = Callable[[], Any]
Wrap = Callable[[Any], Any]


def bare(coroutine: Any) -> Any:
    return coroutine


def shared(coroutine: Any) -> Any:
    return clew.wrap_coroutine(coroutine, context_with("ada"))


def copied(coroutine: Any) -> Any:
    return clew.wrap_coroutine(coroutine, clew.capture())


def run_on_asyncio(main: Main, *, make: Any = asyncio.new_event_loop, debug: bool = False, eager: bool = False) -> Any:
    """Run on a new loop. Raise the errors that a loop otherwise only logs."""
    loop = make()
    logged: List[object] = []
    loop.set_exception_handler(lambda _, context: logged.append(context))
    loop.set_debug(debug)
    if eager:
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]  # 3.12+
    try:
        result = loop.run_until_complete(asyncio.wait_for(main(), DEADLINE))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
    assert not logged, logged
    return result


def run_on_uvloop(main: Main) -> Any:
    if platform.python_implementation() != "CPython":
        pytest.skip("uvloop is for CPython")
    import uvloop

    return run_on_asyncio(main, make=uvloop.new_event_loop)


def run_on_trio(main: Main) -> Any:
    """Run on a clock that jumps to the next deadline, so timeouts pass at once."""

    async def before_the_deadline() -> Any:
        with trio.fail_after(DEADLINE):
            return await main()

    return trio.run(before_the_deadline, clock=trio.testing.MockClock(autojump_threshold=0))


ASYNCIO: Dict[str, Callable[[Main], Any]] = {
    "asyncio": run_on_asyncio,
    "debug": lambda main: run_on_asyncio(main, debug=True),
    "uvloop": run_on_uvloop,
}
if sys.version_info >= (3, 12):
    ASYNCIO["eager"] = lambda main: run_on_asyncio(main, eager=True)


async def checkpoint() -> None:
    if sniffio.current_async_library() == "trio":
        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


def current_task() -> object:
    return trio.lowlevel.current_task() if sniffio.current_async_library() == "trio" else asyncio.current_task()
