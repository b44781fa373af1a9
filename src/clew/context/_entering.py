"""
What has to be put right in a `Context` before, and in a call while, somebody enters it.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Callable, Dict, Optional

__all__ = ("bind_keywords", "leave_loop_behind", "take_loop_from_here")

_modules = sys.modules

# PyPy's `Context.run` is written in Python and claims the keywords `self` and `callable` for itself;
# there, keywords are bound to the function first. None on CPython, where `run` takes them all.
bind_keywords: Optional[Callable[[Callable[..., Any], Dict[str, Any]], Callable[..., Any]]] = None
if sys.implementation.name == "pypy":
    bind_keywords = lambda fn, kwargs: partial(fn, **kwargs)  # noqa: E731  the annotation above is its type


def _loop_variable() -> Optional[ContextVar[Optional[str]]]:
    # sniffio's note of which library drives the loop is about a thread, not about a trace: a copy
    # that carried it to another thread would make `anyio.run` there fail with "already running".
    # Read from sys.modules, as nothing needs clearing where nobody has loaded sniffio; getattr, as
    # another thread may be half-way through importing it.
    return getattr(_modules["sniffio"], "current_async_library_cvar", None)


def leave_loop_behind(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit for a thread in which no event loop runs.
    """
    if "sniffio" in _modules:
        variable = _loop_variable()
        if variable is not None and context.get(variable) is not None:
            context.run(variable.set, None)


def take_loop_from_here(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit to be entered right here: the loop is the caller's.
    """
    if "sniffio" in _modules:
        variable = _loop_variable()
        if variable is not None:
            here = variable.get(None)
            if context.get(variable) != here:
                context.run(variable.set, here)
