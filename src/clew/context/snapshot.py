"""
`capture()` and the `Snapshot` it returns: the current values of all ContextVars, to be used later.

Binding a snapshot to a function is in `clew.context.binding`.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Any, Callable, ContextManager, TypeVar, overload

from clew._shared.hints import ParamSpec
from clew.context._stepping.captured import Captured, pickling_error
from clew.context._stepping.entering import (
    capture_carried,
    prepare_for_here,
    prepare_to_keep,
    runner,
)

__all__ = ("Snapshot", "capture")

T = TypeVar("T")
P = ParamSpec("P")


class Snapshot(Captured):
    """
    Hold the values that all ContextVars had when `capture()` was called.

    A snapshot never changes and is never entered itself: each use of it makes a copy (O(1), tens of
    nanoseconds), so one snapshot serves any number of calls, threads and nested calls at once.

    Context:
        *When*: captured by `capture()`, not by any method here. *What the callee sees*: the captured
        values. *What comes back*: nothing; what the callee sets stays in its copy. Thread-safe and
        re-entrant.
    """

    __slots__ = ()

    def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Call `fn(*args, **kwargs)` with the captured values current, and return its result.

        Context:
            *When*: at `capture()`. *What the callee sees*: the captured values, in a fresh copy.
            *What comes back*: the result or the exception, and no ContextVar change. Thread-safe
            and re-entrant.

        Example:
            >>> import contextvars, clew
            >>> user = contextvars.ContextVar("user")
            >>> token = user.set("ada")
            >>> snapshot = clew.capture()
            >>> user.reset(token)
            >>> snapshot.run(user.get)
            'ada'
        """
        context = prepare_for_here(self._context.copy())
        run: Callable[..., T] = runner(context, self._carried, kwargs)
        return run(fn, *args, **kwargs)

    def attached(self, *, link: bool = False) -> ContextManager[None]:
        """
        Return a ``with`` block in which the captured values are current right here.

        For code that is no function of its own: the body of a loop that takes jobs from a queue, say.
        Where it is one, `run` is safer, as nothing has to be put back.

        A variable that is set here but was not at the capture keeps its value, as Python has no way
        to unset it; only what is known to be the parent of a trace (clew's run, OpenTelemetry's span,
        LangSmith's run) is taken away. Variables that the block sets stay set after it, unless the
        snapshot had set them, too.

        Context:
            *When*: at `capture()`. *What the callee sees*: the captured values, and accessors' values
            on this thread. *What comes back*: at the exit, what the block has made current is as it
            was before. The block must be left in the context in which it was entered: in the same
            thread, or the same task. An instance is for one block; any number may be open at once.

        Args:
            link: whether the captured run becomes a link of what comes next, instead of its parent.

        Raises:
            WrongContextError: at the exit, if that is in another context than the entry, and the block
                has raised nothing itself.
            AlreadyEnteredError: the block was entered before.

        Example:
            >>> import contextvars, clew
            >>> user = contextvars.ContextVar("user", default="nobody")
            >>> token = user.set("ada")
            >>> snapshot = clew.capture()
            >>> user.reset(token)
            >>> with snapshot.attached():
            ...     user.get()
            'ada'
            >>> user.get()
            'nobody'
        """
        # Here and below not at the top: those rooms need this one.
        from clew.context._stepping.blocks import attached

        return attached(prepare_to_keep(self._context.copy()), self._carried, link=link)

    @overload
    def bind(self, fn: classmethod[Any, P, T]) -> classmethod[Any, P, T]: ...

    @overload
    def bind(self, fn: staticmethod[P, T]) -> staticmethod[P, T]: ...

    @overload
    def bind(self, fn: Callable[P, T]) -> Callable[P, T]: ...

    def bind(self, fn: Any) -> Any:
        """
        Return a function like `fn` that always runs with the captured values; see `clew.bind`.

        A function that was bound before is bound anew: here it is this capture that counts.

        Context:
            *When*: at `capture()`. *What the callee sees*: the captured values, in a fresh copy for
            each call. *What comes back*: the result or the exception, and no ContextVar change.
            Thread-safe and re-entrant.

        Raises:
            ArgumentTypeError: as `clew.bind`.
        """
        from clew.context._stepping.bound import bind_to, check_callable
        from clew.context.binding import unwrap

        check_callable(fn)
        return bind_to(unwrap(fn), self._context, self._carried)

    # It never changes, so that a copy is of no use.

    def __copy__(self) -> Snapshot:
        return self

    def __deepcopy__(self, memo: object) -> Snapshot:
        return self

    def __reduce__(self) -> Any:
        raise pickling_error("a Snapshot")

    def __repr__(self) -> str:
        return f"<clew.Snapshot of {len(self._context)} variables at {id(self):#x}>"


def capture() -> Snapshot:
    """
    Return a `Snapshot` of the values that all ContextVars have now.

    Context:
        *When*: at this call. *What the callee sees*: see `Snapshot.run`. *What comes back*: nothing.
        Thread-safe and re-entrant.

    Example:
        >>> import clew
        >>> clew.capture().run(sum, [1, 2, 3])
        6
    """
    snapshot = Snapshot(prepare_to_keep(copy_context()))
    snapshot._carried = capture_carried()
    return snapshot
