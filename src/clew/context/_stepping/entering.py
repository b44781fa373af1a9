"""
What has to be put right in a `Context` before, and in a call while, somebody enters it.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, Callable, Mapping, Optional

from clew.context._stepping import carrying
from clew.context._stepping.carrying import Carried, carried_values
from clew.errors import ContextInUseError

__all__ = (
    "IN_USE",
    "capture_carried",
    "is_refusal",
    "loaded",
    "loop_variable",
    "prepare_for_here",
    "prepare_for_thread",
    "prepare_to_keep",
    "run_in_shared",
    "runner",
    "runner_for_thread",
    "take_loop_from_here",
)

loaded = sys.modules

# PyPy's `Context.run` is written in Python and claims the keywords `self` and `callable` for itself;
# there, keywords are bound to the function first.
_RUN_CLAIMS_KEYWORDS = sys.implementation.name == "pypy"
_NONE: Mapping[str, Any] = {}


def capture_carried() -> Carried:
    """
    Return what stands before a call that is to have the values that accessors find on this thread.
    """
    return carried_values() if carrying.registered else ()


def runner(context: Context, carried: Carried, keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return what calls `(fn, *args, **keywords)` in `context`, with the carried values: `context.run` if it can be.
    """
    if keywords and _RUN_CLAIMS_KEYWORDS:
        return partial(_run_binding_keywords, context, carried)
    return partial(context.run, *carried) if carried else context.run


def _run_binding_keywords(context: Context, carried: Carried, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return context.run(*carried, partial(fn, **kwargs), *args)


def runner_for_thread(keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return a `runner` in a copy of the context of this moment, for another thread.
    """
    return runner(prepare_for_thread(copy_context()), capture_carried(), keywords)


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


# Two things in a context are not about a piece of work, or cannot be shared by two. A fresh copy is made
# fit by one of the three below; what they call is called only where the package is loaded.


def prepare_to_keep(context: Context) -> Context:
    """
    Return `context`, a fresh copy, fit to be copied later for whoever enters it.
    """
    if "sentry_sdk.scope" in loaded:
        _fork_scopes(context)
    return context


def prepare_for_here(context: Context) -> Context:
    """
    Return `context`, a fresh copy, fit to be entered right here.
    """
    take_loop_from_here(context)
    if "sentry_sdk.scope" in loaded:
        _fork_scopes(context)
    return context


def prepare_for_thread(context: Context) -> Context:
    """
    Return `context`, a fresh copy, fit to be entered on another thread.
    """
    if "sniffio" in loaded:
        _leave_loop_behind(context)
    if "sentry_sdk.scope" in loaded:
        _fork_scopes(context)
    return context


# sniffio's note of which library drives the loop is about a thread, not about a trace: a copy that
# carried it to another thread would make `anyio.run` fail there with "already running".


def _leave_loop_behind(context: Context) -> None:
    variable = loop_variable()
    if variable is not None and context.get(variable) is not None:
        context.run(variable.set, None)


def take_loop_from_here(context: Context) -> None:
    """
    Have sniffio find the caller's event loop in `context`, which is entered right here.
    """
    variable = loop_variable() if "sniffio" in loaded else None
    if variable is None:
        return
    here = variable.get(None)
    if context.get(variable) is not here:
        context.run(variable.set, here)


# Sentry keeps its scopes in the context, but changes them in place: each span puts itself into the
# current one. Two jobs at once that shared theirs would have each other's spans as parents. So each
# copy gets scopes of its own, as Sentry itself gives them to threads and jobs.


def _fork_scopes(context: Context) -> None:
    module = loaded.get("sentry_sdk.scope")
    for name in ("_isolation_scope", "_current_scope"):
        # getattr, as another thread may be half-way through importing it, and releases before 2.0 have none.
        variable = getattr(module, name, None)
        # Where gevent has patched threads, Sentry may have put something of its own in the place of ContextVars.
        if isinstance(variable, ContextVar) and variable in context:
            context.run(variable.set, context[variable].fork())


def loop_variable() -> Optional[ContextVar[Optional[str]]]:
    """
    Return sniffio's variable, None where there is no sniffio.
    """
    # getattr, as another thread may be half-way through importing it.
    return getattr(loaded.get("sniffio"), "current_async_library_cvar", None)
