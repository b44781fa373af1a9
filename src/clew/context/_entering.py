"""
What has to be put right in a `Context` before, and in a call while, somebody enters it.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Callable, Mapping, Optional

from clew.context import accessors
from clew.context.accessors import Carried, carried_values
from clew.errors import ContextInUseError

__all__ = (
    "RUN_CLAIMS_KEYWORDS",
    "capture_carried",
    "copy_for_elsewhere",
    "is_refusal",
    "leave_loop_behind",
    "loaded",
    "loop_variable",
    "run_in_shared",
    "runner",
    "runner_elsewhere",
    "take_loop_from_here",
)

loaded = sys.modules

# PyPy's `Context.run` is written in Python and claims the keywords `self` and `callable` for itself;
# there, keywords are bound to the function first.
RUN_CLAIMS_KEYWORDS = sys.implementation.name == "pypy"
_NONE: Mapping[str, Any] = {}


def capture_carried() -> Carried:
    """
    Return what stands before a call that is to have the values that accessors find on this thread.
    """
    return carried_values() if accessors.registered else ()


def runner(context: Context, carried: Carried, keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return what calls `(fn, *args, **keywords)` in `context`, with the carried values: `context.run` if it can be.
    """
    if keywords and RUN_CLAIMS_KEYWORDS:
        return partial(_run_binding_keywords, context, carried)
    return partial(context.run, *carried) if carried else context.run


def _run_binding_keywords(context: Context, carried: Carried, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return context.run(*carried, partial(fn, **kwargs), *args)


def runner_elsewhere(keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return a `runner` in a copy of the context of this moment, for another thread.
    """
    return runner(copy_for_elsewhere(), capture_carried(), keywords)


def copy_for_elsewhere() -> Context:
    """
    Return a copy of the context of this moment that is fit for another thread.
    """
    context = copy_context()
    if "sniffio" in loaded:
        leave_loop_behind(context)
    return context


def run_in_shared(context: Context, fn: Callable[..., object], *args: object) -> object:
    """
    Return `fn(*args)`, called in a context that somebody else may be in, for the error that says so.
    """
    try:
        return context.run(fn, *args)
    except RuntimeError as error:
        if is_refusal(error):
            raise ContextInUseError(IN_USE) from None
        raise


IN_USE = (
    "expected a context that is free, found the one of context= in use elsewhere; "
    "pass context.copy(), or a clew.Snapshot, which is copied each time"
)


def is_refusal(error: RuntimeError) -> bool:
    """
    Return whether an error, caught by the frame that called `Context.run`, is that `run` refusing to enter.
    """
    # No frame below the caller's: it is `run` that has raised, not something that it called.
    return error.__traceback__ is not None and error.__traceback__.tb_next is None and "enter" in str(error)


# sniffio's note of which library drives the loop is about a thread, not about a trace: a copy that
# carried it to another thread would make `anyio.run` fail there with "already running". The two below
# see to it; they are called only where sniffio is loaded, as elsewhere nobody has made a note.


def leave_loop_behind(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit for a thread in which no event loop runs.
    """
    variable = loop_variable()
    if variable is not None and context.get(variable) is not None:
        context.run(variable.set, None)


def take_loop_from_here(context: Context) -> None:
    """
    Make `context`, a fresh copy, fit to be entered right here: the loop is the caller's.
    """
    variable = loop_variable()
    if variable is not None:
        here = variable.get(None)
        if context.get(variable) is not here:
            context.run(variable.set, here)


def loop_variable() -> Optional[ContextVar[Optional[str]]]:
    """
    Return sniffio's variable, None where there is no sniffio.
    """
    # getattr, as another thread may be half-way through importing it.
    return getattr(loaded.get("sniffio"), "current_async_library_cvar", None)
