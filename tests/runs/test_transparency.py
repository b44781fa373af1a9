"""
Traced functions of every kind, in every place, against the undecorated ones: who calls them sees no difference.

What random generators do under random scripts is for the property tests; cancellation is in `test_cancellation`.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from contextlib import contextmanager
from contextvars import ContextVar, Token
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional, Tuple

import anyio
import pytest
import trio
import trio.lowlevel

import clew
from clew.runs._tree import hooks
from clew.runs._tree.settings import settings
from tests.context._loops import ASYNCIO, Main, current_task, run_on_asyncio, run_on_trio
from tests.edges._generators import pause, run_by_hand
from tests.edges._threads import DEADLINE, in_empty_context

if sys.version_info >= (3, 11):
    Group = ExceptionGroup  # noqa: F821  3.11's
else:
    from exceptiongroup import ExceptionGroup as Group

Run = Callable[[Main], Any]
Call = Callable[..., Any]
Decorate = Callable[[Any], Any]

user: ContextVar[str] = ContextVar("user", default="nobody")
RESULT = object()


class Box:
    """Hold what a caller and the function that it calls hand each other, and what that has seen."""

    def __init__(self, task: object, handed: Token[str]) -> None:
        self.task = task
        self.handed = handed
        self.kept: Optional[Token[str]] = None
        self.seen: List[object] = []


# How a body may end


def returns() -> object:
    return RESULT


def raises() -> None:
    raise KeyError("here", RESULT)


def raises_from() -> None:
    try:
        raises()
    except KeyError as error:
        raise LookupError("no such thing") from error


def raises_while_handling() -> None:
    try:
        raises()
    finally:
        raise LookupError("on the way")


def raises_with_notes() -> None:
    error = ValueError("noted")
    error.__notes__ = ["a note"]  # type: ignore[attr-defined,unused-ignore]
    raise error


def raises_group() -> None:
    raise Group("several", [ValueError(1), Group("more", [KeyError(RESULT)])])


def is_interrupted() -> None:
    raise KeyboardInterrupt("by hand")


def exits() -> None:
    raise SystemExit(3)


def stops() -> None:
    raise StopIteration(1)


def is_cancelled() -> None:
    raise asyncio.CancelledError("by itself")


ENDS: List[Callable[[], object]] = [
    returns,
    raises,
    raises_from,
    raises_while_handling,
    raises_with_notes,
    raises_group,
    is_interrupted,
    exits,
    stops,
    is_cancelled,
]

# The kinds of function; `owner` is `self` or `cls`.


def begin(box: Box) -> None:
    """See who is there, take back what the caller has set, and leave it a token of our own."""
    box.seen.append((task_here() is box.task, user.get()))
    user.reset(box.handed)
    box.kept = user.set("body")


def task_here() -> object:
    try:
        return current_task()
    except Exception:
        return None


def plain(owner: object, end: Callable[[], object], box: Box) -> object:
    begin(box)
    return end()


async def coroutine(owner: object, end: Callable[[], object], box: Box) -> object:
    begin(box)
    await pause()
    box.seen.append((task_here() is box.task, user.get()))
    await pause()
    return end()


def generator(owner: object, end: Callable[[], object], box: Box) -> Iterator[Any]:
    begin(box)
    sent = yield 1
    box.seen.append((sent, user.get()))
    yield 2
    return end()


async def async_generator(owner: object, end: Callable[[], object], box: Box) -> AsyncIterator[Any]:
    await pause()
    begin(box)
    await pause()
    sent = yield 1
    box.seen.append((task_here() is box.task, sent, user.get()))
    await pause()
    yield 2
    await pause()
    end()


def returns_generator(owner: object, end: Callable[[], object], box: Box) -> Iterator[Any]:
    return generator(owner, end, box)


def returns_async_generator(owner: object, end: Callable[[], object], box: Box) -> AsyncIterator[Any]:
    return async_generator(owner, end, box)


async def returns_async_generator_later(owner: object, end: Callable[[], object], box: Box) -> AsyncIterator[Any]:
    await pause()
    return async_generator(owner, end, box)


async def returns_generator_later(owner: object, end: Callable[[], object], box: Box) -> Iterator[Any]:
    await pause()
    return generator(owner, end, box)


SYNC: List[Call] = [plain, generator, returns_generator]
ASYNC: List[Call] = [
    coroutine,
    async_generator,
    returns_async_generator,
    returns_async_generator_later,
    returns_generator_later,
]

# The places that a function may have in a program


def as_function(fn: Call, decorate: Decorate) -> Call:
    return partial(decorate(fn), None)


def as_method(fn: Call, decorate: Decorate) -> Call:
    return type("Shop", (), {"call": decorate(fn)})().call  # type: ignore[no-any-return]


def as_bound_method(fn: Call, decorate: Decorate) -> Call:
    return decorate(type("Shop", (), {"call": fn})().call)  # type: ignore[no-any-return]


def as_class_method(fn: Call, decorate: Decorate) -> Call:
    return type("Shop", (), {"call": decorate(classmethod(fn))}).call  # type: ignore[attr-defined,no-any-return]


def as_static_method(fn: Call, decorate: Decorate) -> Call:
    return partial(type("Shop", (), {"call": decorate(staticmethod(fn))}).call, None)  # type: ignore[attr-defined]


def as_callable_object(fn: Call, decorate: Decorate) -> Call:
    return decorate(type("Shop", (), {"__call__": fn})())  # type: ignore[no-any-return]


def as_call_of_a_class(fn: Call, decorate: Decorate) -> Call:
    return type("Shop", (), {"__call__": decorate(fn)})()  # type: ignore[no-any-return]


def as_partial(fn: Call, decorate: Decorate) -> Call:
    return decorate(partial(fn, None))  # type: ignore[no-any-return]


PLACES: List[Callable[[Call, Decorate], Call]] = [
    as_function,
    as_method,
    as_bound_method,
    as_class_method,
    as_static_method,
    as_callable_object,
    as_call_of_a_class,
    as_partial,
]

# How much is recorded


@contextmanager
def recording() -> Iterator[Tuple[Decorate, int]]:
    with clew.record() as runs:
        yield clew.traceable, 1
    assert "pending" not in {run.status for run in runs}


@contextmanager
def recording_off() -> Iterator[Tuple[Decorate, int]]:
    yield clew.traceable, 0


@contextmanager
def unsampled() -> Iterator[Tuple[Decorate, int]]:
    before, settings.sampler = settings.sampler, 0.0
    try:
        with clew.record():
            yield clew.traceable, 0
    finally:
        settings.sampler = before


@contextmanager
def never_enabled() -> Iterator[Tuple[Decorate, int]]:
    with clew.record():
        yield clew.traceable(enabled=False), 0


@contextmanager
def not_enabled() -> Iterator[Tuple[Decorate, int]]:
    with clew.record(), clew.tracing_context(enabled=False):
        yield clew.traceable, 0


MODES = [recording, recording_off, unsampled, never_enabled, not_enabled]

# What a caller sees


def undecorated(fn: Any) -> Any:
    return fn


async def consumed(call: Call, end: Callable[[], object], box: Box) -> object:
    """Return all that comes of a call, and which user the caller then sees each time."""
    result = call(end, box)
    if inspect.iscoroutine(result):
        result = await result
    items: List[object] = []
    if inspect.isasyncgen(result):
        async for item in result:
            items.append((item, user.get()))
            user.set("consumer")
        return items
    if inspect.isgenerator(result):
        try:
            while True:
                items.append((result.send("sent" if items else None), user.get()))
        except StopIteration as stopped:
            return items, stopped.value
    return result


async def observed(call: Call, end: Callable[[], object]) -> Tuple[List[object], List[object]]:
    """Return what is seen of a call, and the frames of its exception."""
    user.set("caller")
    box = Box(task_here(), user.set("handed over"))
    seen: List[object] = []
    frames: List[object] = []
    try:
        raise LookupError("what the caller handles")
    except LookupError:
        try:
            seen.append(await consumed(call, end, box))
        except BaseException as error:
            seen.append(described(error))
            frames.extend(frames_of(error))
    seen.append(user.get())
    if box.kept is not None:
        user.reset(box.kept)
    return [*seen, user.get(), *box.seen], frames


def described(error: Optional[BaseException]) -> object:
    if error is None:
        return None
    return (
        type(error),
        str(error),
        repr(error.args),
        [described(one) for one in getattr(error, "exceptions", ())],
        getattr(error, "__notes__", None),
        error.__suppress_context__,
        described(error.__cause__),
        described(error.__context__),
    )


def frames_of(error: BaseException) -> List[object]:
    return [(frame.filename, frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]


def check_frames(found: List[object], expected: List[object], most: int = 1) -> None:
    """Check that no frame is missing, and that there are not too many of ours."""
    left = iter(found)
    assert all(frame in left for frame in expected), (found, expected)
    assert len(found) <= len(expected) + most, (found, expected)


def check_same(run: Run, mode: Any, place: Callable[[Call, Decorate], Call], fn: Call) -> None:
    def seen_of(decorate: Decorate, end: Callable[[], object]) -> Any:
        return in_empty_context(run, partial(observed, place(fn, decorate), end))

    for end in ENDS:
        expected, frames = seen_of(undecorated, end)
        with counted() as ended, mode() as (decorate, runs):
            found, more_frames = in_copy_of_context(run, partial(observed, place(fn, decorate), end))
        assert found == expected
        check_frames(more_frames, frames)
        assert len(ended) == runs
        assert clew.get_current_run_tree() is None


def in_copy_of_context(run: Run, main: Main) -> Any:
    return clew.capture().run(run, main)


@contextmanager
def counted() -> Iterator[List[clew.RunTree]]:
    """Collect the runs that end, once for each time that they do."""
    ended: List[clew.RunTree] = []
    on_end = ended.append  # the very object that is removed again
    hooks.add_end_hook(on_end)
    try:
        yield ended
    finally:
        hooks.remove_end_hook(on_end)


every_mode = pytest.mark.parametrize("mode", MODES)


@every_mode
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fn", [*SYNC, *ASYNC])
def test_call_is_what_it_is_undecorated(fn: Call, place: Callable[[Call, Decorate], Call], mode: Any) -> None:
    check_same(run_by_hand, mode, place, fn)


# On every loop


def run_on_anyio(main: Main, backend: str) -> Any:
    async def before_the_deadline() -> Any:
        with anyio.fail_after(DEADLINE):
            return await main()

    return anyio.run(before_the_deadline, backend=backend)


LOOPS: Dict[str, Run] = {
    **ASYNCIO,
    "trio": run_on_trio,
    "anyio on asyncio": lambda main: run_on_anyio(main, "asyncio"),
    "anyio on trio": lambda main: run_on_anyio(main, "trio"),
}


@pytest.mark.parametrize("mode", [recording, recording_off])
@pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("fn", [*SYNC, *ASYNC])
def test_call_is_what_it_is_undecorated_on_every_loop(fn: Call, run: Run, mode: Any) -> None:
    check_same(run, mode, as_function, fn)


# An exception of a call with options passes through whoever has read them, and the function made for that call.
@pytest.mark.parametrize("fn", [plain, coroutine, generator, async_generator])
def test_call_with_options_of_its_own_is_what_it_is_undecorated(fn: Call) -> None:
    for end in ENDS:
        expected, frames = in_empty_context(run_by_hand, partial(observed, partial(fn, None), end))
        with clew.record() as runs:
            call = partial(clew.traceable(fn), None, langsmith_extra={"name": "named", "parent": "ignore"})
            found, more_frames = in_copy_of_context(run_by_hand, partial(observed, call, end))
        assert found == expected
        check_frames(more_frames, frames)
        assert len(runs) == 1


# The turns of the loop


class CountingLoop(asyncio.SelectorEventLoop):
    turns = 0

    def call_soon(self, *args: Any, **kwargs: Any) -> Any:
        self.turns += 1
        return super().call_soon(*args, **kwargs)


class CountingSteps(trio.abc.Instrument):
    def __init__(self) -> None:
        self.turns = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.turns += 1


def turns_on_asyncio(main: Main) -> int:
    loop = CountingLoop()
    run_on_asyncio(main, make=lambda: loop)
    return loop.turns


def turns_on_trio(main: Main) -> int:
    counting = CountingSteps()

    async def before_the_deadline() -> None:
        with trio.fail_after(DEADLINE):
            await main()

    trio.run(before_the_deadline, instruments=[counting])
    return counting.turns


def turns_by_hand(main: Main) -> int:
    turns = 0
    stepped: Any = main()
    while True:
        turns += 1
        try:
            stepped.send(None)
        except StopIteration:
            return turns


@every_mode
@pytest.mark.parametrize("count_turns", [turns_on_asyncio, turns_on_trio, turns_by_hand])
@pytest.mark.parametrize("fn", ASYNC)
def test_call_takes_as_many_turns_of_the_loop(fn: Call, count_turns: Callable[[Main], int], mode: Any) -> None:
    for end in (returns, raises):
        expected = count_turns(partial(observed, partial(fn, None), end))
        with mode() as (decorate, _):
            assert count_turns(partial(observed, partial(decorate(fn), None), end)) == expected


def test_turns_are_counted() -> None:
    async def more_pauses() -> None:
        await pause()

    async def none() -> None:
        pass

    for count_turns in (turns_on_asyncio, turns_on_trio, turns_by_hand):
        assert count_turns(more_pauses) == count_turns(none) + 1
