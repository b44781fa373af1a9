"""
The captured context below `clew.Snapshot`, and the check of the options ``context=``.

The methods of snapshots are in `clew.context.snapshot`.
"""

from __future__ import annotations

from contextvars import Context
from typing import Any, Callable, TypeVar

from clew.context._stepping.carrying import Carried
from clew.context._stepping.entering import prepare_for_thread, runner
from clew.errors import ArgumentTypeError

__all__ = ("Captured", "checked_context", "pickling_error", "runner_of_captured")


T = TypeVar("T")


class Captured:
    """
    The values of all ContextVars and accessors at one moment. It is copied, and never entered itself.
    """

    __slots__ = ("__weakref__", "_carried", "_context")

    def __init__(self, context: Context) -> None:
        self._context = context.copy()
        self._carried: Carried = ()  # `capture` fills it in; a bare Context has no thread-locals

    def context(self) -> Context:
        """
        Return a fresh copy of the captured context, for an API that takes a `contextvars.Context`.

        Context:
            *When*: at `capture()`. *What the callee sees*: the captured values. *What comes back*: nothing.
            Thread-safe; two calls return two copies.
        """
        return self._context.copy()


def runner_of_captured(captured: Captured) -> Callable[..., Any]:
    """
    Return a function that calls `(fn, *args, **kwargs)` in a fresh copy of a captured context, once, on another thread.
    """
    return runner(prepare_for_thread(captured.context()), captured._carried)


def pickling_error(found: str) -> ArgumentTypeError:
    """
    Return the error for pickling an object that has captured a Context.
    """
    return ArgumentTypeError(
        f"expected an object that can be pickled, found {found}, which holds the Context of this process; "
        f"send the function itself, clew.unwrap(f), and bind or capture in the other process"
    )


def checked_context(context: T) -> T:
    """
    Return the value of a ``context=`` option.

    Raises:
        ArgumentTypeError: it is neither a Context nor a Snapshot.
    """
    if isinstance(context, (Context, Captured)):
        return context
    raise ArgumentTypeError(
        f"expected a contextvars.Context or a clew.Snapshot, got {type(context).__name__} {context!r}; "
        f"pass contextvars.copy_context() or clew.capture()"
    )
