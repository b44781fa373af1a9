"""
Values that other libraries keep in the context: sniffio's event loop, Sentry's scopes, and parents of traces.

Guarantees: no library is imported. A variable that a release, or a half imported module, lacks is skipped.

Assumes: the callers catch the exceptions of the tracers.
"""

from __future__ import annotations

import sys
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, List, Optional

from clew.context._stepping.seams import Tracer

__all__ = ("fork_scopes", "leave_loop_behind", "loaded", "loaded_tracers", "loop_variable", "take_loop_from_here")

loaded = sys.modules


# sniffio notes in a ContextVar which library drives the loop. That belongs to the thread, not to the trace: a copy that
# took it to another thread would make `anyio.run` fail there with "already running".


def loop_variable() -> Optional[ContextVar[Optional[str]]]:
    """
    Return sniffio's variable; None if sniffio is not loaded.
    """
    return getattr(loaded.get("sniffio"), "current_async_library_cvar", None)


def leave_loop_behind(context: Context) -> None:
    """
    Make `context`, which goes to another thread, name no event loop.
    """
    variable = loop_variable()
    if variable is not None and context.get(variable) is not None:
        context.run(variable.set, None)


def take_loop_from_here(context: Context) -> None:
    """
    Make `context` name the event loop that runs on this thread, or none.
    """
    variable = loop_variable() if "sniffio" in loaded else None
    if variable is None:
        return
    here = variable.get(None)
    if context.get(variable) is not here:
        context.run(variable.set, here)


# Sentry keeps its scopes in the context and changes them in place: each span puts itself into the current scope. Two
# concurrent jobs with the same scopes would become each other's parents. So each copy gets scopes of its own, as
# Sentry gives them to threads and jobs.


def fork_scopes(context: Context) -> None:
    """
    Give `context`, a fresh copy, its own Sentry scopes.
    """
    module = loaded.get("sentry_sdk.scope")
    for name in ("_isolation_scope", "_current_scope"):
        variable = getattr(module, name, None)  # releases before 2.0 have none
        # Where gevent has patched threads, Sentry may use a class of its own instead of ContextVar.
        if isinstance(variable, ContextVar) and variable in context:
            context.run(variable.set, context[variable].fork())


def loaded_tracers() -> List[Tracer]:
    """
    Return the imported tracers. `clew.detached` and `Snapshot.attached` take their parents away.
    """
    return [tracer for module, tracer in _TRACERS.items() if module in loaded]


def _opentelemetry_has_parent() -> bool:
    return bool(_opentelemetry_trace().get_current_span().get_span_context().is_valid)


def _opentelemetry_detach(undo: Any, *, link: bool) -> None:  # noqa: ARG001  no link before the span exists
    trace, context = _opentelemetry_trace(), loaded["opentelemetry.context"]
    undo.append(partial(context.attach, context.get_current()))
    # Baggage and the other entries of OpenTelemetry's context stay.
    context.attach(trace.set_span_in_context(trace.INVALID_SPAN))


def _opentelemetry_trace() -> Any:
    return loaded["opentelemetry.trace"]


def _langsmith_has_parent() -> bool:
    return loaded["langsmith.run_helpers"].get_current_run_tree() is not None


def _langsmith_detach(undo: Any, *, link: bool) -> None:  # noqa: ARG001  LangSmith has no links
    # LangSmith's `tracing_context` cannot take the parent away in old releases, and changes more in new ones.
    for variable in copy_context():
        if variable.name in _LANGSMITH_PARENTS:
            undo.extend(map(variable.set, (None,)))


def _sentry_has_parent() -> bool:
    return _sentry_scopes().get_current_scope().span is not None


def _sentry_detach(undo: Any, *, link: bool) -> None:  # noqa: ARG001  Sentry has no links
    scopes = _sentry_scopes()
    current, isolation = scopes.get_current_scope(), scopes.get_isolation_scope()
    # The forks keep tags, the user and other data. The propagation context has the id of the trace.
    new_current, new_isolation = current.fork(), isolation.fork()
    new_current.span = None
    new_isolation.set_new_propagation_context()
    undo += (partial(scopes.set_current_scope, current), partial(scopes.set_isolation_scope, isolation))
    scopes.set_current_scope(new_current)
    scopes.set_isolation_scope(new_isolation)


def _sentry_scopes() -> Any:
    return loaded["sentry_sdk.scope"].Scope


# The variables for the run, for a weak reference to it in later releases, and for the id from a header. They are found
# by name, as their modules differ between releases.
_LANGSMITH_PARENTS = ("_PARENT_RUN_TREE", "_PARENT_RUN_TREE_REF", "_DISTRIBUTED_PARENT_ID")

_TRACERS = {
    "opentelemetry.trace": Tracer(_opentelemetry_has_parent, _opentelemetry_detach),
    "langsmith.run_helpers": Tracer(_langsmith_has_parent, _langsmith_detach),
    "sentry_sdk.scope": Tracer(_sentry_has_parent, _sentry_detach),
}
