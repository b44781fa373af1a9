"""
Arguments that `wrap_generator`, `wrap_async_generator` and `wrap_stream` refuse, and contexts in use elsewhere.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextvars import Context
from typing import Any, AsyncIterator, Dict, Iterator, List

import pytest

import clew
from clew.errors import AlreadyEnteredError, ArgumentTypeError, ArgumentValueError, ContextInUseError
from tests.context._coroutines import context_with, var
from tests.context.test_stepping_refusals import while_in_use
from tests.edges._threads import DEADLINE


def numbers() -> Iterator[int]:
    yield 1
    yield 2


async def numbers_async() -> AsyncIterator[int]:
    yield 1
    yield 2


def step(operation: Any) -> object:
    """Return the item of an operation that awaits nothing."""
    try:
        operation.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("expected an item, found the generator awaiting something")


def started() -> Any:
    generator = numbers()
    next(generator)
    return generator


def started_async() -> Any:
    generator = numbers_async()
    step(generator.__anext__())
    return generator


def ended() -> Any:
    generator = numbers()
    list(generator)
    return generator


def ended_async() -> Any:
    generator = numbers_async()
    step(generator.aclose())
    return generator


async def coroutine_function() -> None:
    pass


class Manager:
    def __enter__(self) -> Iterator[int]:
        return iter([1])

    def __exit__(self, *exception: object) -> None:
        pass


WRONG = [
    (
        clew.wrap_generator,
        lambda: numbers,
        ArgumentTypeError,
        r"expected a generator, .*call it: wrap_generator\(f\(\)",
    ),
    (clew.wrap_generator, numbers_async, ArgumentTypeError, "pass it to wrap_async_generator"),
    (clew.wrap_generator, lambda: [1], ArgumentTypeError, r"got list \[1\]; pass it to wrap_stream"),
    (clew.wrap_generator, lambda: numbers_async, ArgumentTypeError, "call it, and pass the result"),
    (clew.wrap_generator, lambda: 5, ArgumentTypeError, "got int 5; call a generator function and pass"),
    (clew.wrap_generator, started, AlreadyEnteredError, "which was started; wrap it before its first step"),
    (clew.wrap_generator, ended, AlreadyEnteredError, "which has ended"),
    (clew.wrap_generator, lambda: clew.wrap_generator(numbers()), AlreadyEnteredError, "clew has wrapped before"),
    (clew.wrap_async_generator, lambda: numbers_async, ArgumentTypeError, r"call it: wrap_async_generator\(f\(\)"),
    (clew.wrap_async_generator, numbers, ArgumentTypeError, "pass it to wrap_generator"),
    (clew.wrap_async_generator, started_async, AlreadyEnteredError, "which was started"),
    (clew.wrap_async_generator, ended_async, AlreadyEnteredError, "which has ended"),
    (
        clew.wrap_async_generator,
        lambda: clew.wrap_async_generator(numbers_async()),
        AlreadyEnteredError,
        "clew has wrapped before",
    ),
    (clew.wrap_stream, started, AlreadyEnteredError, "which was started"),
    (clew.wrap_stream, started_async, AlreadyEnteredError, "which was started"),
    (clew.wrap_stream, lambda: 5, ArgumentTypeError, "expected something to iterate over, got int 5; pass an iter"),
    (clew.wrap_stream, lambda: numbers, ArgumentTypeError, r"call it: wrap_stream\(f\(\)\)"),
    (clew.wrap_stream, Manager, ArgumentTypeError, "enter it, and pass the value of its with block"),
]


@pytest.mark.parametrize(("wrap", "make", "kind", "said"), WRONG)
def test_what_cannot_be_wrapped_is_refused_with_what_to_do(wrap: Any, make: Any, kind: Any, said: str) -> None:
    given = make()
    with pytest.raises(kind, match=said):
        wrap(given)


def test_coroutine_is_to_be_awaited_before_its_stream_is_wrapped() -> None:
    coroutine: Any = coroutine_function()
    with pytest.raises(ArgumentTypeError, match="await it, and pass the result"):
        clew.wrap_stream(coroutine)
    coroutine.close()


def test_running_generator_is_refused() -> None:
    found: List[BaseException] = []

    def wraps_itself() -> Iterator[None]:
        try:
            clew.wrap_generator(generator)
        except AlreadyEnteredError as error:
            found.append(error)
        yield

    generator: Any = wraps_itself()
    next(generator)
    assert "which is running" in str(found.pop())


OPTIONS: List[Any] = [
    ({"inherit": "never"}, ArgumentValueError, "got 'never'"),
    ({"isolate": [1]}, ArgumentTypeError, "expected ContextVars in isolate, found int 1"),
    ({"context": 5}, ArgumentTypeError, "expected a contextvars.Context or a clew.Snapshot, got int 5"),
    ({"context": Context(), "isolate": [var]}, ArgumentValueError, "expected isolate or context=, got both"),
    ({"context": Context(), "inherit": "live"}, ArgumentValueError, "expected inherit='live' or context=, got both"),
    ({"isolate": [var], "inherit": "live"}, ArgumentValueError, "expected isolate or inherit='live', got both"),
]


@pytest.mark.parametrize(("options", "kind", "said"), OPTIONS)
def test_wrong_options_are_refused_and_the_generator_left_alone(options: Dict[str, Any], kind: Any, said: str) -> None:
    generator, async_generator = numbers(), numbers_async()
    with pytest.raises(kind, match=said):
        clew.wrap_generator(generator, **options)
    with pytest.raises(kind, match=said):
        clew.wrap_async_generator(async_generator, **options)
    assert list(generator) == [1, 2]
    assert step(async_generator.__anext__()) == 1


# If the context is in use elsewhere, the step raises an error, and the body ends in a copy of the context.


def looks(seen: List[object]) -> Iterator[None]:
    try:
        yield
        yield
    finally:
        seen.append(var.get())


async def looks_async(seen: List[object]) -> AsyncIterator[None]:
    try:
        yield
        yield
    finally:
        seen.append(var.get())


@while_in_use
def test_shared_context_in_use_elsewhere_is_told_and_the_body_ends_in_a_copy(run_in_use: Any) -> None:
    context, seen = context_with("ada"), []
    generator = clew.wrap_generator(looks(seen), context=context)
    agen = clew.wrap_async_generator(looks_async(seen), context=context)
    next(generator)
    step(agen.__anext__())
    with pytest.raises(ContextInUseError, match=r"in use elsewhere; pass context.copy\(\)"):
        run_in_use(context, next, generator)
    with pytest.raises(ContextInUseError):
        run_in_use(context, step, agen.__anext__())
    assert seen == ["ada", "ada"]


@while_in_use
def test_generators_are_closed_although_their_context_is_in_use(run_in_use: Any) -> None:
    context, seen = context_with("ada"), []
    generator = clew.wrap_generator(looks(seen), context=context)
    agen = clew.wrap_async_generator(looks_async(seen), context=context)
    next(generator)
    step(agen.__anext__())
    run_in_use(context, generator.close)
    run_in_use(context, step, agen.aclose())
    assert seen == ["ada", "ada"]


def test_shared_context_is_stepped_in_where_it_is_current() -> None:
    def sets() -> Iterator[None]:
        var.set("set")
        yield

    context = context_with("ada")
    context.run(next, clew.wrap_generator(sets(), context=context))
    assert context[var] == "set"


# A generator that is used in two places at once raises the native error.


def test_two_threads_at_once_get_the_native_error() -> None:
    is_in, is_done = threading.Event(), threading.Event()

    def waits() -> Iterator[None]:
        is_in.set()
        is_done.wait(DEADLINE)
        yield

    generator = clew.wrap_generator(waits())
    thread = threading.Thread(target=next, args=(generator,))
    thread.start()
    try:
        assert is_in.wait(DEADLINE)
        with pytest.raises(ValueError, match="generator already executing"):
            next(generator)
    finally:
        is_done.set()
        thread.join(DEADLINE)


def unwrapped(generator: Any) -> Any:
    return generator


def test_two_operations_at_once_get_the_native_error() -> None:
    async def main(wrap: Any) -> List[str]:
        async def waits() -> AsyncIterator[int]:
            await asyncio.sleep(0)
            yield 1

        agen = wrap(waits())
        return [*map(repr, await asyncio.gather(agen.__anext__(), agen.__anext__(), agen.aclose(), **together))]

    together: Any = {"return_exceptions": True}
    native = asyncio.run(main(unwrapped))
    assert asyncio.run(main(clew.wrap_async_generator)) == native
    assert "already running" in str(native)


@pytest.mark.parametrize("is_made_before", [True, False])
def test_body_that_steps_itself_gets_the_native_error(is_made_before: bool) -> None:
    def found_by(wrap: Any) -> List[str]:
        found: List[str] = []
        operations: List[Any] = []

        async def steps_itself() -> AsyncIterator[None]:
            if not is_made_before:
                operations.append(agen.__anext__())
            try:
                await operations[-1]
            except RuntimeError as error:
                found.append(str(error))
            yield

        agen = wrap(steps_itself())
        first = agen.__anext__()
        if is_made_before:
            operations.append(agen.__anext__())
        step(first)
        return found

    native = found_by(unwrapped)
    assert found_by(clew.wrap_async_generator) == native
    assert "already running" in str(native)


# Generators that are not native have no frame.


class Countdown(Generator):  # type: ignore[type-arg]  # no class can be subscripted before 3.9
    def __init__(self) -> None:
        self.seen: List[object] = []

    def send(self, value: object) -> object:
        self.seen.append((value, var.get("")))
        if len(self.seen) > 3:
            raise StopIteration("end")
        return len(self.seen)

    def throw(self, *exception: Any) -> object:
        self.seen.append("KeyError" in repr(exception[0]))
        return "thrown"


class AsyncCountdown(AsyncGenerator):  # type: ignore[type-arg]
    def __init__(self) -> None:
        self.seen: List[object] = []

    async def asend(self, value: object) -> object:
        self.seen.append((value, var.get("")))
        if len(self.seen) > 3:
            raise StopAsyncIteration
        return len(self.seen)

    async def athrow(self, *exception: Any) -> object:
        self.seen.append("KeyError" in repr(exception[0]))
        return "thrown"


def test_generator_of_another_make_is_driven_too() -> None:
    countdown = Countdown()
    generator = context_with("ada").run(clew.wrap_generator, countdown)
    assert [next(generator), generator.send("x"), generator.throw(KeyError())] == [1, 2, "thrown"]
    with pytest.raises(StopIteration, match="end"):
        next(generator)
    assert countdown.seen == [(None, "ada"), ("x", "ada"), True, (None, "ada")]


def test_async_generator_of_another_make_is_driven_too() -> None:
    countdown = AsyncCountdown()
    agen: Any = context_with("ada").run(clew.wrap_async_generator, countdown)
    found = [step(agen.__anext__()), step(agen.asend("x")), step(agen.athrow(KeyError()))]
    assert found == [1, 2, "thrown"]
    with pytest.raises(StopAsyncIteration):
        agen.__anext__().send(None)
    assert countdown.seen == [(None, "ada"), ("x", "ada"), True, (None, "ada")]


def test_values_are_those_of_a_snapshot_or_a_context() -> None:
    def read() -> Iterator[object]:
        yield var.get()

    snapshot = context_with("ada").run(clew.capture)
    assert next(clew.wrap_generator(read(), context=snapshot)) == "ada"
    assert next(clew.wrap_generator(read(), context=context_with("bob"))) == "bob"


def test_snapshot_is_copied_and_a_context_shared() -> None:
    def sets() -> Iterator[None]:
        var.set("set")
        yield

    context = context_with("ada")
    snapshot = context.run(clew.capture)
    next(clew.wrap_generator(sets(), context=snapshot))
    assert snapshot.run(var.get) == context[var] == "ada"
    next(clew.wrap_generator(sets(), context=context))
    assert context[var] == "set"


class Broken:
    """An iterator for `yield from` and `await` whose attribute `throw` raises."""

    def __iter__(self) -> Any:
        return self

    __await__ = __iter__

    def __next__(self) -> int:
        return 1

    @property
    def throw(self) -> Any:
        raise ZeroDivisionError


def test_body_that_cannot_be_resumed_ends_in_its_context() -> None:
    seen: List[object] = []

    def delegates() -> Iterator[int]:
        token = var.set("body's")
        try:
            yield from Broken()
        finally:
            seen.append(var.get())
            var.reset(token)

    generator: Any = clew.wrap_generator(delegates())
    next(generator)
    with pytest.raises(ZeroDivisionError):
        generator.throw(KeyError())
    assert seen == ["body's"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_async_body_that_cannot_be_resumed_gives_its_error() -> None:
    async def awaits() -> AsyncIterator[None]:
        await Broken()
        yield

    for wrap in (unwrapped, clew.wrap_async_generator):
        operation = wrap(awaits()).__anext__()
        operation.send(None)
        with pytest.raises(ZeroDivisionError):
            operation.throw(KeyError())
