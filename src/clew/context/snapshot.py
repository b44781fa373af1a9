"""
`capture()` and the `Snapshot` it returns: the current values of all ContextVars, to be used later.

Binding a snapshot to a function is in `clew.context.binding`.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Callable, TypeVar

from clew.context._entering import bind_keywords, loaded, take_loop_from_here

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

__all__ = ("Snapshot", "capture")

T = TypeVar("T")


class Snapshot:
    """
    Hold the values that all ContextVars had when `capture()` was called.

    A snapshot never changes and is never entered itself: each use of it makes a copy (O(1), tens of
    nanoseconds), so one snapshot serves any number of calls, threads and nested calls at once.

    Context:
        *When*: captured by `capture()`, not by any method here. *What the callee sees*: the captured
        values. *What comes back*: nothing; what the callee sets stays in its copy. Thread-safe and
        re-entrant.
    """

    __slots__ = ("__weakref__", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context.copy()

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
        context = self._context.copy()
        if "sniffio" in loaded:
            take_loop_from_here(context)
        if kwargs and bind_keywords is not None:
            with_keywords: Callable[..., T] = bind_keywords(fn, kwargs)
            return context.run(with_keywords, *args)
        return context.run(fn, *args, **kwargs)

    def context(self) -> Context:
        """
        Return a fresh copy of the captured context, for an API that takes a `contextvars.Context`.

        Context:
            *When*: at `capture()`. *What the callee sees*: whatever enters the copy sees the
            captured values. *What comes back*: nothing. Thread-safe; two calls give two copies.
        """
        return self._context.copy()

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
    return Snapshot(copy_context())
