"""
What generators of both kinds share when they drive another one's body: what they take, refuse and pass on.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from types import AsyncGeneratorType, CodeType, GeneratorType
from typing import Any, Callable, Optional, Set, TypeVar

from clew.context._kinds import kind_of
from clew.context.seams import unwrappers
from clew.errors import AlreadyEnteredError, ArgumentTypeError

__all__ = (
    "Exit",
    "Thrown",
    "check_body",
    "driver_codes",
    "is_driver",
    "is_unused",
    "named",
    "without_frames",
    "without_this_frame",
)

T = TypeVar("T")

driver_codes: Set[CodeType] = set()


def is_driver(generator: object) -> bool:
    """
    Return whether a generator is one of clew's, which drives another.
    """
    return getattr(generator, "gi_code", getattr(generator, "ag_code", None)) in driver_codes


def _driven(generator: Any) -> Any:
    """
    Return what a generator of clew's drives; any other, and one that has ended, as it is.
    """
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is None or not is_driver(generator):
        return generator
    values = frame.f_locals
    return values["body"] if "body" in values else values["box"][0]


unwrappers[GeneratorType] = unwrappers[AsyncGeneratorType] = _driven


def is_unused(generator: object) -> bool:
    """
    Return whether a native generator is one that can be wrapped.
    """
    return not is_driver(generator) and _state_of(generator) is None


def check_body(generator: object, kind: type, wrapper: str) -> None:
    """
    Raise the error that says what to do, unless `generator` is an unused one of its kind, of no context yet.
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
    # The function that was forgotten to be called is by far the most frequent one.
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
    Return why a native generator cannot be wrapped any more, None if it can or if that cannot be told.
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
    # 3.11 has neither that nor a position that is negative before the first step. Drop both with 3.11.
    frame = generator.ag_frame
    if sys.version_info < (3, 11) or sys.implementation.name != "cpython":
        return bool(frame.f_lasti >= 0)
    import opcode

    return bool(opcode.opname[frame.f_code.co_code[frame.f_lasti]] != "RETURN_GENERATOR")


def named(driver: T, body: object) -> T:
    """
    Return the driver, with the name of what it drives; a generator of another make may have none.
    """
    for name in ("__name__", "__qualname__"):
        value = getattr(body, name, None)
        if isinstance(value, str):
            setattr(driver, name, value)
    return driver


def without_this_frame(error: BaseException) -> BaseException:
    """
    Return an exception that the caller has caught with the traceback that it was thrown with.
    """
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


class Thrown:
    """
    Be an operation on an async generator that throws: from its start, or, after `into`, where the body awaits.
    """

    __slots__ = ("_operation", "error")

    def __init__(self, operation: Any) -> None:
        self._operation = operation
        self.error: Optional[BaseException] = None

    @classmethod
    def into(cls, operation: Any, error: BaseException) -> Thrown:
        """
        Return an operation under way as one that throws `error` at its next step.
        """
        thrown = operation if isinstance(operation, cls) else cls(operation)
        thrown.error = error
        return thrown

    def __iter__(self) -> Thrown:
        return self

    def __next__(self) -> Any:
        error, self.error = self.error, None
        try:
            return without_frames(next, self._operation) if error is None else self.throw(error)
        finally:
            del self, error  # whose traceback holds this frame

    def send(self, value: Any) -> Any:
        """
        Resume the body with what its event loop has for it.
        """
        try:
            return without_frames(self._operation.send, value)
        finally:
            del self

    def throw(self, error: BaseException) -> Any:
        """
        Raise an exception where the body awaits something.
        """
        try:
            return without_frames(self._operation.throw, error)
        finally:
            del self, error


class Exit:
    """
    Be what closes a generator, in place of the generator itself.
    """

    __slots__ = ("_body",)

    def __init__(self, body: Any) -> None:
        self._body = body

    def throw(self, error: BaseException) -> Any:
        """
        Raise a `GeneratorExit` in the body.
        """
        try:
            return without_frames(self._body.throw, error)
        finally:
            del self, error  # whose traceback holds this frame


def without_frames(step: Callable[..., Any], *arguments: Any) -> Any:
    """
    Return `step(*arguments)`, in which the body may end by a `GeneratorExit`: without its frames, then.

    What is left in the variables of a body that is closed goes here, in the body's context, and
    not with the traceback, in whichever context that goes.
    """
    end: Optional[BaseException] = None
    context: Optional[BaseException] = None
    try:
        try:
            return step(*arguments)
        except GeneratorExit as error:
            end, context = error, error.__context__
        # When the block is left, as until then the interpreter may keep the traceback for itself.
        raise end.with_traceback(None)
    finally:
        if end is not None:
            end.__context__ = context  # and not what the consumer is handling
        del step, arguments, end, context
