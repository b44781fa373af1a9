"""
A wrapped generator keeps the same objects alive as a plain one, and takes only a few hundred bytes more.
"""

from __future__ import annotations

import gc
import platform
import sys
import weakref
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List

import pytest

import clew
from tests.edges._threads import Value, is_gone

own: ContextVar[object] = ContextVar("own")

OPTIONS: Dict[str, Any] = {
    "creation": {},
    "live": {"inherit": "live"},
    "isolate": {"isolate": [own]},
}
each_way = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Caught(LookupError):
    """An error that the bodies below catch, and that a weak reference can watch."""


class Uncaught(Exception):
    """An error that the bodies below do not catch."""


def echo(made: List[weakref.ref[Any]]) -> Iterator[object]:
    """Yield a new value, then each sent value, and continue after a thrown error."""
    while True:
        try:
            yield
            yield noted(made, Value())
        except LookupError:
            pass


async def echo_async(made: List[weakref.ref[Any]]) -> AsyncIterator[object]:
    while True:
        try:
            yield
            yield noted(made, Value())
        except LookupError:
            pass


def noted(made: List[weakref.ref[Any]], value: Any) -> Any:
    made.append(weakref.ref(value))
    return value


class ByHand:
    """An async generator behind the methods of a generator. It awaits nothing, so it needs no event loop."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def send(self, value: object) -> object:
        return finished(self._generator.asend, [value].pop)

    def throw(self, error: BaseException) -> object:
        errors = [error]
        del error
        return finished(self._generator.athrow, errors.pop)

    def close(self) -> object:
        with suppress(StopAsyncIteration):
            return finished(lambda _: self._generator.aclose(), list)
        return None


def finished(operate: Callable[[Any], Any], argument: Callable[[], Any]) -> object:
    try:
        operate(argument()).send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("expected an item")


def made_of(kind: str, options: Dict[str, Any], made: List[weakref.ref[Any]]) -> Any:
    if kind == "sync":
        return clew.context_generator(**options)(echo)(made)
    return ByHand(clew.context_generator(**options)(echo_async)(made))


both_kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@both_kinds
@each_way
def test_suspended_generator_keeps_no_item(kind: str, options: Dict[str, Any]) -> None:
    made: List[weakref.ref[Any]] = []
    generator = made_of(kind, options, made)
    generator.send(None)
    item = generator.send(None)
    assert not is_gone(made[0])
    del item
    assert is_gone(made[0])


@both_kinds
@each_way
def test_suspended_generator_keeps_nothing_that_was_sent(kind: str, options: Dict[str, Any]) -> None:
    made: List[weakref.ref[Any]] = []
    generator = made_of(kind, options, made)
    generator.send(None)
    if kind == "sync":
        generator.send(noted(made, Value()))
    else:
        finished(generator._generator.asend, lambda: noted(made, Value()))
    assert is_gone(made[0])


@both_kinds
@each_way
def test_suspended_generator_keeps_nothing_that_was_thrown_in(kind: str, options: Dict[str, Any]) -> None:
    made: List[weakref.ref[Any]] = []
    generator = made_of(kind, options, made)
    generator.send(None)
    generator.throw(noted(made, Caught()))
    assert is_gone(made[0])


@both_kinds
@each_way
def test_exception_that_ends_it_is_in_no_cycle(kind: str, options: Dict[str, Any]) -> None:
    made: List[weakref.ref[Any]] = []
    generator = made_of(kind, options, made)
    generator.send(None)
    with suppress(Uncaught):
        generator.throw(noted(made, Uncaught()))
    assert is_gone(made[0])


@both_kinds
@each_way
@pytest.mark.parametrize("end", ["dropped", "closed", "never started"])
def test_nothing_is_left_of_it(kind: str, options: Dict[str, Any], end: str) -> None:
    made: List[weakref.ref[Any]] = []

    def make() -> Any:
        own.set(noted(made, Value()))
        return made_of(kind, options, made)

    generator = Context().run(make)
    if end != "never started":
        generator.send(None)
        generator.send(None)
    if end == "closed":
        generator.close()
        if kind == "sync":
            assert generator.gi_frame is None
    del generator
    assert all(map(is_gone, made))
    assert made


def one(number: int) -> Iterator[int]:
    yield number


async def one_async(number: int) -> AsyncIterator[int]:
    yield number


def bytes_of(make: Callable[[int], Any], start: Callable[[Any], object]) -> float:
    """Return the bytes of one started generator."""
    import tracemalloc  # PyPy has none

    start(make(0))
    tracer = sys.gettrace()
    sys.settrace(None)  # a tracer that measures coverage allocates memory, too
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        kept = [make(number) for number in range(1_000)]
        for each in kept:
            start(each)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        sys.settrace(tracer)
    return (after - before) / len(kept)


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="it is CPython's objects that are counted")
@pytest.mark.parametrize(
    ("make", "start"), [(one, next), (one_async, lambda each: ByHand(each).send(None))], ids=["sync", "async"]
)
def test_instance_takes_little_more_than_a_plain_one(make: Any, start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # If Sentry is loaded, each context gets scopes of its own, which are many times as large.
    monkeypatch.delitem(sys.modules, "sentry_sdk.scope", raising=False)
    above = bytes_of(clew.context_generator(make), start) - bytes_of(make, start)
    # 3.11+: a generator contains its frame instead of a frame object.
    assert 0 < above <= (650 if sys.version_info >= (3, 11) else 1024)
