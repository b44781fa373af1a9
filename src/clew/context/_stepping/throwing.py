"""
Throw exceptions into a wrapped generator, and remove the machinery's frames from tracebacks.

Guarantees: a traceback that reaches the consumer shows one frame of the driver and then those of the wrapped generator.
The exceptions that pass through keep no other frame alive.

Assumes: each function between a driver and its generator registers its code in `step_codes`.
"""

from __future__ import annotations

from types import CodeType, TracebackType
from typing import Any, Callable, Optional, Set

__all__ = ("Exit", "Thrown", "from_body", "step_codes", "without_frames", "without_steps", "without_this_frame")

# The code of the functions between a driver and its generator.
step_codes: Set[CodeType] = set()


def without_this_frame(error: BaseException) -> BaseException:
    """
    Remove the first frame, which is the caller's, from the traceback of a caught exception. Return the exception.
    """
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


def without_steps(error: BaseException) -> BaseException:
    """
    Remove the caller's frame and those of the machinery below it from the traceback. Return the exception.
    """
    return error.with_traceback(from_body(error))


def from_body(error: BaseException) -> Optional[TracebackType]:
    """
    Return the traceback of a caught exception, from the generator's frame on.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    while traceback is not None and traceback.tb_frame.f_code in step_codes:
        traceback = traceback.tb_next
    return traceback


class Thrown:
    """
    An operation that throws into an async generator: at its start, or, after `into`, at the pending ``await``.
    """

    __slots__ = ("_operation", "error")

    def __init__(self, operation: Any) -> None:
        self._operation = operation
        self.error: Optional[BaseException] = None

    @classmethod
    def into(cls, operation: Any, error: BaseException) -> Thrown:
        """
        Return an operation that throws `error` into a pending operation at the next step.
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
            del self, error  # its traceback holds this frame

    def send(self, value: Any) -> Any:
        """
        Resume the generator with a value from the event loop.
        """
        try:
            return without_frames(self._operation.send, value)
        finally:
            del self

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception at the generator's ``await``.
        """
        try:
            return without_frames(self._operation.throw, *exception)
        finally:
            del self, exception


class Exit:
    """
    An object whose `throw` closes a generator.
    """

    __slots__ = ("_generator",)

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def throw(self, error: BaseException) -> Any:
        """
        Raise a `GeneratorExit` in the generator.
        """
        try:
            return without_frames(self._generator.throw, error)
        finally:
            del self, error  # its traceback holds this frame


def without_frames(step: Callable[..., Any], *arguments: Any) -> Any:
    """
    Return `step(*arguments)`. If the generator ends by a `GeneratorExit`, remove its frames from the traceback.

    The traceback would release the generator's local variables later, in some other context. Without it they are
    released here, in the generator's context.
    """
    end: Optional[BaseException] = None
    context: Optional[BaseException] = None
    try:
        try:
            return step(*arguments)
        except GeneratorExit as error:
            end, context = error, error.__context__
        # After the block, because within it the interpreter may still refer to the traceback.
        raise end.with_traceback(None)
    finally:
        if end is not None:
            end.__context__ = context  # not the exception that the consumer is handling
        del step, arguments, end, context


step_codes.update(fn.__code__ for fn in (Exit.throw, Thrown.__next__, Thrown.send, Thrown.throw, without_frames))
