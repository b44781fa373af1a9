"""
Check whether a generator can be wrapped, and recognise the drivers of clew.

How a generator is driven is in `clew.context._stepping.drivers`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Optional, Set, TypeVar

from clew.context._stepping.kinds import kind_of
from clew.context._stepping.seams import unwrappers
from clew.errors import AlreadyEnteredError, ArgumentTypeError

__all__ = ("check_body", "driver_codes", "is_driver", "is_fresh", "is_unused", "named")

T = TypeVar("T")

driver_codes: Set[CodeType] = set()


def is_driver(generator: object) -> bool:
    """
    Return whether a generator is a driver of clew's.
    """
    return getattr(generator, "gi_code", getattr(generator, "ag_code", None)) in driver_codes


def _driven(generator: Any) -> Any:
    """
    Return the generator that a driver drives. Other generators, and drivers that have ended, are returned unchanged.
    """
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is None or not is_driver(generator):
        return generator
    values = frame.f_locals
    return values["body"] if "body" in values else values["box"][0]


unwrappers[GeneratorType] = unwrappers[AsyncGeneratorType] = _driven


def is_unused(generator: object) -> bool:
    """
    Return whether a native generator can be wrapped.
    """
    return not is_driver(generator) and is_fresh(generator)


def is_fresh(generator: object) -> bool:
    """
    Return whether a native generator, which may be a driver, has made no step yet.
    """
    return _state_of(generator) is None


def check_body(generator: object, kind: type, wrapper: str) -> None:
    """
    Raise an error with the remedy, unless `generator` is of the kind, not started and not wrapped.
    """
    if not isinstance(generator, kind):
        word = "a generator" if kind is Generator else "an async generator"
        raise ArgumentTypeError(
            f"expected {word}, got {type(generator).__name__} {generator!r}; {_remedy(generator, wrapper)}"
        )
    if is_driver(generator):
        raise AlreadyEnteredError(
            f"expected a generator without a context of its own, found {generator!r}, which clew has wrapped "
            f"before; wrap each once, and give the options there"
        )
    state = _state_of(generator)
    if state is not None:
        raise AlreadyEnteredError(
            f"expected a generator that was not started, found {generator!r}, which {state}; "
            f"wrap it before its first step, and use only what comes back"
        )


def _remedy(given: object, wrapper: str) -> str:
    # By far the most frequent mistake is a function that was not called.
    if callable(given):
        fits = kind_of(given) == ("generator" if wrapper == "wrap_generator" else "async generator")
        return f"call it: {wrapper}(f()), or decorate it: @context_generator" if fits else "pass what its call returns"
    if isinstance(given, Generator):
        return "pass it to wrap_generator"
    if isinstance(given, AsyncGenerator):
        return "pass it to wrap_async_generator"
    if isinstance(given, (Iterable, AsyncIterable)):
        return "pass it to wrap_stream, which takes anything to iterate over"
    return f"pass what a generator function returns: {wrapper}(f())"


def _state_of(generator: object) -> Optional[str]:
    """
    Return why a native generator can no longer be wrapped; None if it can, or if the state is unknown.
    """
    if isinstance(generator, GeneratorType):
        frame, is_running = generator.gi_frame, generator.gi_running
        is_started = inspect.getgeneratorstate(generator) != inspect.GEN_CREATED
    elif isinstance(generator, AsyncGeneratorType):
        frame, is_running = generator.ag_frame, generator.ag_running
        is_started = frame is None or _was_resumed(generator)
    else:
        return None
    if is_running:
        return "is running"
    if frame is None:
        return "has ended"
    return "was started" if is_started else None


def _was_resumed(generator: Any) -> bool:
    if sys.version_info >= (3, 12):
        return inspect.getasyncgenstate(generator) != inspect.AGEN_CREATED
    # 3.12+: getasyncgenstate. Before 3.11, the position is negative until the first step. Drop both with 3.11.
    frame = generator.ag_frame
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        return bool(frame.f_lasti >= 0)
    import opcode

    return bool(opcode.opname[frame.f_code.co_code[frame.f_lasti]] != "RETURN_GENERATOR")


def named(driver: T, body: object) -> T:
    """
    Give the driver the name of the wrapped generator, which may have none. Return the driver.
    """
    for name in ("__name__", "__qualname__"):
        value = getattr(body, name, None)
        if isinstance(value, str):
            setattr(driver, name, value)
    return driver
