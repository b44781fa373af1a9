"""
Prepare a fresh copy of a context for its new place, and make the function that calls something in it.

Guarantees: a prepared copy shares no value with another copy that would disturb either of them.

Assumes: the context is a copy that no other code has; only `run_in_shared` takes one that other code may be in.
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context
from functools import partial
from typing import Any, Callable, Mapping

from clew.context._stepping import carrying
from clew.context._stepping.carrying import Carried, carrying_arguments
from clew.context._stepping.neighbours import fork_scopes, leave_loop_behind, loaded, take_loop_from_here
from clew.errors import ContextInUseError

__all__ = (
    "IN_USE",
    "capture_carried",
    "is_refusal",
    "prepare_for_here",
    "prepare_for_thread",
    "prepare_to_keep",
    "run_in_shared",
    "runner",
    "runner_for_thread",
)

# PyPy's `Context.run` is written in Python and claims the keywords `self` and `callable` for itself. There, keywords
# are bound to the function first.
_RUN_CLAIMS_KEYWORDS = sys.implementation.name == "pypy"
_NONE: Mapping[str, Any] = {}

IN_USE = (
    "expected a context that is free, found the one of context= in use elsewhere; "
    "pass context.copy(), or a clew.Snapshot, which is copied each time"
)


def capture_carried() -> Carried:
    """
    Return this thread's accessor values, ready to stand before a function and its arguments in a call.
    """
    return carrying_arguments() if carrying.registered else ()


def runner(context: Context, carried: Carried, keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return a function that calls `(fn, *args, **keywords)` in `context`, with the carried values.

    It is `context.run` itself where that is enough.
    """
    if keywords and _RUN_CLAIMS_KEYWORDS:
        return partial(_run_binding_keywords, context, carried)
    return partial(context.run, *carried) if carried else context.run


def _run_binding_keywords(context: Context, carried: Carried, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return context.run(*carried, partial(fn, **kwargs), *args)


def runner_for_thread(keywords: Mapping[str, Any] = _NONE) -> Callable[..., Any]:
    """
    Return a `runner` in a copy of the current context, for one call on another thread.
    """
    return runner(prepare_for_thread(copy_context()), capture_carried(), keywords)


def run_in_shared(context: Context, fn: Callable[..., object], *args: object) -> object:
    """
    Return `fn(*args)`, called in a context that other code may be in.

    Raises:
        ContextInUseError: other code is in it.
    """
    try:
        return context.run(fn, *args)
    except RuntimeError as error:
        if is_refusal(error):
            raise ContextInUseError(IN_USE) from None
        raise


def is_refusal(error: RuntimeError) -> bool:
    """
    Return whether the error is `Context.run` refusing to enter; the caller must be the frame that called `run`.
    """
    # No frame below the caller's: `run` itself has raised, and not the function that it called.
    return error.__traceback__ is not None and error.__traceback__.tb_next is None and "enter" in str(error)


# The three functions below differ in where the copy goes. Each checks that a library is loaded, to save the call.


def prepare_to_keep(context: Context) -> Context:
    """
    Prepare a fresh copy that will be copied again each time it is used.
    """
    if "sentry_sdk.scope" in loaded:
        fork_scopes(context)
    return context


def prepare_for_here(context: Context) -> Context:
    """
    Prepare a fresh copy that is entered at once on this thread.
    """
    if "sniffio" in loaded:
        take_loop_from_here(context)
    if "sentry_sdk.scope" in loaded:
        fork_scopes(context)
    return context


def prepare_for_thread(context: Context) -> Context:
    """
    Prepare a fresh copy that is entered on another thread.
    """
    if "sniffio" in loaded:
        leave_loop_behind(context)
    if "sentry_sdk.scope" in loaded:
        fork_scopes(context)
    return context
