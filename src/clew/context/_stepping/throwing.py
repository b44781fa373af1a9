"""
Throw exceptions into a driven body, and remove the driver's frames from tracebacks.

Guarantees: a traceback that reaches the consumer has the frames of the bare generator, and keeps nothing else alive.
"""

from __future__ import annotations

from types import CodeType, TracebackType
from typing import Any, Callable, Optional, Set

__all__ = (
    "Exit",
    "Thrown",
    "from_body",
    "step_codes",
    "without_frames",
    "without_next_frame",
    "without_steps",
    "without_this_frame",
)

# The code between a driver and its body. Its frames are removed from tracebacks.
step_codes: Set[CodeType] = set()


def without_this_frame(error: BaseException) -> BaseException:
    """
    Remove the caller's frame from the traceback of an exception that the caller has caught. Return the exception.
    """
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


def without_next_frame(error: BaseException) -> BaseException:
    """
    Remove the frames of the caller and of the function that it called from the traceback. Return the exception.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    return error.with_traceback(traceback and traceback.tb_next)


def without_steps(error: BaseException) -> BaseException:
    """
    Remove the frames from the caller's up to the body's from the traceback. Return the exception.
    """
    return error.with_traceback(from_body(error))


def from_body(error: BaseException) -> Optional[TracebackType]:
    """
    Return the traceback of a caught exception from the body's frame on.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    while traceback is not None and traceback.tb_frame.f_code in step_codes:
        traceback = traceback.tb_next
    return traceback


class Thrown:
    """
    An operation on an async generator that throws: at its start, or, after `into`, where the body awaits.
    """

    __slots__ = ("_operation", "error")

    def __init__(self, operation: Any) -> None:
        self._operation = operation
        self.error: Optional[BaseException] = None

    @classmethod
    def into(cls, operation: Any, error: BaseException) -> Thrown:
        """
        Return a pending operation as one that throws `error` at its next step.
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
        Resume the body with a value from the event loop.
        """
        try:
            return without_frames(self._operation.send, value)
        finally:
            del self

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception where the body awaits something.
        """
        try:
            return without_frames(self._operation.throw, *exception)
        finally:
            del self, exception


class Exit:
    """
    Closes a generator, by its `throw`.
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
            del self, error  # its traceback holds this frame


def without_frames(step: Callable[..., Any], *arguments: Any) -> Any:
    """
    Return `step(*arguments)`. If the body ends by a `GeneratorExit`, drop its frames from the traceback.

    The local variables of a closed body are then released here, in the body's context, and not with the traceback in
    a later context.
    """
    end: Optional[BaseException] = None
    context: Optional[BaseException] = None
    try:
        try:
            return step(*arguments)
        except GeneratorExit as error:
            end, context = error, error.__context__
        # After the block, because until then the interpreter may refer to the traceback.
        raise end.with_traceback(None)
    finally:
        if end is not None:
            end.__context__ = context  # not the exception that the consumer is handling
        del step, arguments, end, context


step_codes.update(fn.__code__ for fn in (Exit.throw, Thrown.__next__, Thrown.send, Thrown.throw, without_frames))
