"""
What has to be put right in a `Context` before, and in a call while, somebody enters it.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Callable, Dict, Optional

from clew.errors import ContextInUseError

__all__ = ("bind_keywords", "leave_loop_behind", "loaded", "run_in_shared", "take_loop_from_here")

loaded = sys.modules

# PyPy's `Context.run` is written in Python and claims the keywords `self` and `callable` for itself;
# there, keywords are bound to the function first. None on CPython, where `run` takes them all.
bind_keywords: Optional[Callable[[Callable[..., Any], Dict[str, Any]], Callable[..., Any]]] = None
if sys.implementation.name == "pypy":
    bind_keywords = lambda fn, kwargs: partial(fn, **kwargs)  # noqa: E731  the annotation above is its type


def run_in_shared(context: Context, fn: Callable[[], object]) -> object:
    """
    Return `fn()`, called in a context that somebody else may be in, for the error that says so.
    """
    try:
        return context.run(fn)
    except RuntimeError as error:
        # No frame below this one: it is `Context.run` that has refused, not something that it called.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None and "enter" in str(error):
            raise ContextInUseError(
                "expected a context that is free, found the one of context= in use elsewhere; "
                "pass context.copy(), or a clew.Snapshot, which is copied each time"
            ) from None
        raise


# sniffio's note of which library drives the loop is about a thread, not about a trace: a copy that
# carried it to another thread would make `anyio.run` fail there with "already running". The two below
# see to it; they are called only where sniffio is loaded, as elsewhere nobody has made a note.


def leave_loop_behind(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit for a thread in which no event loop runs.
    """
    variable = _loop_variable()
    if variable is not None and context.get(variable) is not None:
        context.run(variable.set, None)


def take_loop_from_here(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit to be entered right here: the loop is the caller's.
    """
    variable = _loop_variable()
    if variable is not None:
        here = variable.get(None)
        if context.get(variable) is not here:
            context.run(variable.set, here)


def _loop_variable() -> Optional[ContextVar[Optional[str]]]:
    # getattr, as another thread may be half-way through importing it.
    return getattr(loaded["sniffio"], "current_async_library_cvar", None)
