"""
Throwing an exception into a body that a generator drives, without frames of the driver's that keep things alive.
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

# Of what stands between a driver and a body: its frames are none of the consumer's business.
step_codes: Set[CodeType] = set()


def without_this_frame(error: BaseException) -> BaseException:
    """
    Return an exception that the caller has caught with the traceback that it was thrown with.
    """
    traceback = error.__traceback__
    return error.with_traceback(traceback and traceback.tb_next)


def without_next_frame(error: BaseException) -> BaseException:
    """
    Return an exception that the caller has caught without the frames of the caller and of what it called.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    return error.with_traceback(traceback and traceback.tb_next)


def without_steps(error: BaseException) -> BaseException:
    """
    Return an exception that the caller has caught without the frames between its own and the body's.
    """
    return error.with_traceback(from_body(error))


def from_body(error: BaseException) -> Optional[TracebackType]:
    """
    Return the traceback of an exception that the caller has caught from the body's frame on.
    """
    traceback = error.__traceback__ and error.__traceback__.tb_next
    while traceback is not None and traceback.tb_frame.f_code in step_codes:
        traceback = traceback.tb_next
    return traceback


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


step_codes.update(fn.__code__ for fn in (Exit.throw, Thrown.__next__, Thrown.send, Thrown.throw, without_frames))
