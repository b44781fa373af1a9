"""
`capture()` and `Snapshot`: the current values of all ContextVars, for later use.

Functions that are bound to the current values are in `clew.context.binding`.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Any, Callable, ContextManager, TypeVar, overload

from clew._shared.hints import ParamSpec
from clew.context._stepping.captured import Captured, pickling_error
from clew.context._stepping.entering import capture_carried, prepare_for_here, prepare_to_keep, runner

__all__ = ("Snapshot", "capture")

T = TypeVar("T")
P = ParamSpec("P")


class Snapshot(Captured):
    """
    The values that all ContextVars and accessors had when `capture()` was called.

    A snapshot never changes, and nothing runs in it: each use makes a copy (O(1), tens of nanoseconds). So one
    snapshot serves any number of calls, threads and nested calls at once.

    Context:
        *When*: at `capture()`, not at a method of the snapshot. *What the callee sees*: the captured
        values. *What comes back*: nothing; ContextVar changes of the callee stay in its copy. Thread-safe and
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

        Use it for code that is not a function, such as the body of a loop that takes jobs from a queue.
        For a function, `run` is safer: it has nothing to undo.

        A variable that is set here and was not set at the capture keeps its value, because Python cannot
        unset it. Only known parents of a trace (clew's run, OpenTelemetry's span, LangSmith's run,
        Sentry's span) are taken away. A variable that code in the block sets keeps that value after the
        block, unless the snapshot had set it, too.

        Context:
            *When*: at `capture()`. *What the callee sees*: the captured values, and the captured values of
            accessors on this thread. *What comes back*: the exit restores the previous values. The block
            must exit in the context in which it was entered: in the same thread, or the same task. An
            instance serves one block; any number of blocks may be open at once.

        Args:
            link: whether the captured run becomes a link of the next root run, instead of its parent.

        Raises:
            WrongContextError: at the exit, if it is in another context than the entry, and the block
                itself has not raised.
            AlreadyEnteredError: the instance was entered before.

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
        # Imported here and in `bind`, because these modules import this one.
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

        A function that was bound before is bound to this snapshot instead.

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

    # A snapshot never changes, so its copy is the snapshot itself.

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
