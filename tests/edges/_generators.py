"""
What the generator edges share: the ways to keep a generator's context, the loops, and what is said behind our back.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import sys
import warnings
import weakref
from contextvars import Context
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List

import pytest
import sniffio
import trio

import clew
from tests.context._coroutines import finish, let_finalizers_run, suspend
from tests.context._loops import ASYNCIO, Main, checkpoint, run_on_trio
from tests.edges._threads import DEADLINE, Value, is_gone, user

Keep = Callable[[Any], Any]


def bare(fn: Any) -> Any:
    return fn


def wrapped(fn: Any) -> Any:
    """Wrap what each call returns, instead of decorating the function."""
    wrap: Any = clew.wrap_async_generator if inspect.isasyncgenfunction(fn) else clew.wrap_generator
    return lambda *args: wrap(fn(*args))


KEEPS: Dict[str, Keep] = {
    "creation": clew.context_generator,
    "wrapped": wrapped,
    "live": clew.context_generator(inherit="live"),
    "isolate": clew.context_generator(isolate=[user]),
}

keeps = pytest.mark.parametrize("keep", KEEPS.values(), ids=KEEPS)
# With `isolate=[user]`, the run that is current passes in both directions, as with a plain generator.
keeps_runs = pytest.mark.parametrize("keep", [KEEPS["creation"], KEEPS["live"]], ids=["creation", "live"])
# The values of the call, whatever the consumer's are.
keeps_call = pytest.mark.parametrize("keep", [KEEPS["creation"], KEEPS["wrapped"]], ids=["creation", "wrapped"])


def run_by_hand(main: Main) -> Any:
    return finish(main())


on_asyncio = pytest.mark.parametrize("run", ASYNCIO.values(), ids=ASYNCIO)
on_every_loop = pytest.mark.parametrize("run", [*ASYNCIO.values(), run_on_trio], ids=[*ASYNCIO, "trio"])
everywhere = pytest.mark.parametrize(
    "run", [*ASYNCIO.values(), run_on_trio, run_by_hand], ids=[*ASYNCIO, "trio", "by hand"]
)


async def pause() -> None:
    """Let the event loop have a turn, or whoever drives us by hand."""
    try:
        sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        await suspend()
    else:
        await checkpoint()


async def resets(seen: List[object]) -> AsyncIterator[None]:
    """Have a value that is put back, and note who is seen before and after that."""
    token = user.set("body")
    try:
        while True:
            await pause()
            yield
    finally:
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


async def settle_loop() -> None:
    """Return when what the loop was told to finalise is finalised, and what it has to log about that is logged."""
    for _ in range(2):
        let_finalizers_run()
        for _ in range(5):
            await pause()


async def in_task(coroutine: Any) -> Any:
    """Return what a coroutine returns, or raise what it raises, in a task of its own that starts with our values."""
    if sniffio.current_async_library() != "trio":
        return await asyncio.wait_for(asyncio.ensure_future(coroutine), DEADLINE)
    # An exception would come out of the nursery in a group.
    outcome: List[Any] = []

    async def child() -> None:
        try:
            outcome[:] = [await coroutine, None]
        except Exception as error:
            outcome[:] = [None, error]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(child)
    result, error = outcome
    outcome.clear()
    if error is not None:
        raise error
    return result


async def take(generator: Any) -> Any:
    """Return the next item, for whoever needs a coroutine for that."""
    return await generator.__anext__()


async def end(generator: Any) -> None:
    """Close an async generator, for whoever needs a coroutine for that."""
    await generator.aclose()


@contextlib.contextmanager
def complaints() -> Iterator[List[str]]:
    """Collect what is said where nobody can catch it: unraisable exceptions, and what event loops log or warn of."""
    found: List[str] = []
    before = sys.unraisablehook
    handler = _Handler(found)
    loggers = [logging.getLogger(name) for name in ("asyncio", "clew", "trio")]
    # In the test itself, and not in a fixture: pytest has a hook of its own around each phase.
    sys.unraisablehook = lambda args: found.append(repr(args.exc_value))
    for logger in loggers:
        logger.addHandler(handler)
    if hasattr(gc, "freeze"):  # CPython
        gc.freeze()  # until the end of the file: what earlier tests have left is not to complain here
    try:
        with warnings.catch_warnings():
            # trio's advice to close what is dropped; a test of its own compares it with the bare one's.
            warnings.filterwarnings("ignore", "Async generator .* was garbage collected", ResourceWarning)
            yield found
            # An exception that nobody took may be in a cycle with its task, which tells of it at its end.
            gc.collect()
            let_finalizers_run()
    finally:
        sys.unraisablehook = before
        for logger in loggers:
            logger.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, found: List[str]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("Executing %s took"):
            return  # which debug mode says of a slow machine
        error = record.exc_info and record.exc_info[1]
        self._found.append(f"{record.getMessage()} {error!r}")


def listen(found: List[str]) -> None:
    """Have what the running loop would log, or fail with, collected: on asyncio it has a handler of its own."""
    if sniffio.current_async_library() == "asyncio":
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, said: found.append(f"{said['message']} {said.get('exception')!r}"))


def current_name() -> object:
    """Return the name of the run that is current here."""
    run = clew.get_current_run_tree()
    return run and run.name


def as_user(name: object) -> Context:
    """Return a context in which that is the user, and nothing else is set."""
    context = Context()
    context.run(user.set, name)
    return context


class Watched:
    """Make values of ContextVars, and tell whether the last of them is gone."""

    def __init__(self) -> None:
        self._reference: Any = None

    def make(self) -> Value:
        value = Value()
        self._reference = weakref.ref(value)
        return value

    def is_gone(self) -> bool:
        return is_gone(self._reference)
