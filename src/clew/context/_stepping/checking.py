"""
Check whether a generator can be wrapped, and recognise clew's drivers.

The drivers are in `clew.context._stepping.drivers` and `clew.context._stepping.async_drivers`.
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

__all__ = ("check_unstarted", "driver_codes", "is_driver", "is_fresh", "named")

T = TypeVar("T")

# The code of the drivers. By it `is_driver` recognises their generators.
driver_codes: Set[CodeType] = set()


def is_driver(generator: object) -> bool:
    """
    Return whether `generator` is one of clew's drivers.
    """
    return getattr(generator, "gi_code", getattr(generator, "ag_code", None)) in driver_codes


def _driven(generator: Any) -> Any:
    """
    Return the generator that a driver steps. Return other generators, and drivers that have ended, unchanged.
    """
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is None or not is_driver(generator):
        return generator
    values = frame.f_locals  # by the names in the code of the drivers; before its first step it has the slot only
    return values["generator"] if "generator" in values else values["slot"][0]


unwrappers[GeneratorType] = unwrappers[AsyncGeneratorType] = _driven


def is_fresh(generator: object) -> bool:
    """
    Return whether a native generator (a driver, too) has made no step yet.
    """
    return _state_of(generator) is None


def check_unstarted(generator: object, kind: type, wrapper: str) -> None:
    """
    Raise an error with the remedy, unless `generator` is a `kind` that is neither started nor wrapped.
    """
    if not isinstance(generator, kind):
        word = "a generator" if kind is Generator else "an async generator"
        raise ArgumentTypeError(
            f"expected {word}, got {type(generator).__name__} {generator!r}; {_remedy(generator, wrapper)}"
        )
    if is_driver(generator):
        raise AlreadyEnteredError(
            f"expected a generator without a context of its own, found {generator!r}, which clew has wrapped "
            f"before; wrap each generator once, and pass the options there"
        )
    state = _state_of(generator)
    if state is not None:
        raise AlreadyEnteredError(
            f"expected a generator that was not started, found {generator!r}, which {state}; "
            f"wrap it before its first step, and use only the wrapped generator"
        )


def _remedy(given: object, wrapper: str) -> str:
    # By far the most frequent mistake is a function that was not called.
    if callable(given):
        fits = kind_of(given) == ("generator" if wrapper == "wrap_generator" else "async generator")
        call = f"call it: {wrapper}(f()), or decorate it: @context_generator"
        return call if fits else "call it, and pass the result"
    if isinstance(given, Generator):
        return "pass it to wrap_generator"
    if isinstance(given, AsyncGenerator):
        return "pass it to wrap_async_generator"
    if isinstance(given, (Iterable, AsyncIterable)):
        return "pass it to wrap_stream, which takes any iterable"
    return f"call a generator function and pass the result: {wrapper}(f())"


def _state_of(generator: object) -> Optional[str]:
    """
    Return why a generator can no longer be wrapped; None if it can, or if it is not native.
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
    # 3.12+: getasyncgenstate. Before 3.11, `f_lasti` is negative until the first step. Drop both with 3.11.
    frame = generator.ag_frame
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        return bool(frame.f_lasti >= 0)
    import opcode

    return bool(opcode.opname[frame.f_code.co_code[frame.f_lasti]] != "RETURN_GENERATOR")


def named(driver: T, generator: object) -> T:
    """
    Give the driver the name of the wrapped generator, if that has a name. Return the driver.
    """
    for name in ("__name__", "__qualname__"):
        value = getattr(generator, name, None)
        if isinstance(value, str):
            setattr(driver, name, value)
    return driver
