"""
What other people's tracers keep in the context as the parent of what comes next. They are looked at, never imported.
"""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import Any, Callable, List

from clew.context._stepping.entering import loaded
from clew.context._stepping.seams import Tracer

__all__ = ("loaded_tracers",)


def loaded_tracers() -> List[Tracer]:
    """
    Return those of the tracers known here that the program has imported.
    """
    return [tracer for module, tracer in _TRACERS.items() if module in loaded]


def _opentelemetry_has_parent() -> bool:
    return bool(_opentelemetry_trace().get_current_span().get_span_context().is_valid)


def _opentelemetry_detach(*, link: bool) -> Callable[[], object]:  # noqa: ARG001  a span has links from its start or not at all
    trace, context = _opentelemetry_trace(), loaded["opentelemetry.context"]
    # Baggage and whatever else is in its context stay.
    token = context.attach(trace.set_span_in_context(trace.INVALID_SPAN))
    return partial(context.detach, token)


def _opentelemetry_trace() -> Any:
    return loaded["opentelemetry.trace"]


def _langsmith_has_parent() -> bool:
    return _langsmith().get_current_run_tree() is not None


def _langsmith_detach(*, link: bool) -> Callable[[], object]:  # noqa: ARG001  it has none
    # Its own tracing_context cannot take the parent away in old releases, and changes more than that in new ones.
    taken = [(variable, variable.set(None)) for variable in copy_context() if variable.name in _LANGSMITH_PARENTS]

    def undo() -> None:
        for variable, token in taken:
            variable.reset(token)

    return undo


def _langsmith() -> Any:
    return loaded["langsmith.run_helpers"]


def _sentry_has_parent() -> bool:
    return _sentry_scopes().get_current_scope().span is not None


def _sentry_detach(*, link: bool) -> Callable[[], object]:  # noqa: ARG001  it has none
    scopes = _sentry_scopes()
    current, isolation = scopes.get_current_scope(), scopes.get_isolation_scope()
    # Tags, the user and whatever else is in its scopes stay.
    without_span, of_new_trace = current.fork(), isolation.fork()
    without_span.span = None
    of_new_trace.set_new_propagation_context()
    scopes.set_current_scope(without_span)
    scopes.set_isolation_scope(of_new_trace)

    def undo() -> None:
        scopes.set_current_scope(current)
        scopes.set_isolation_scope(isolation)

    return undo


def _sentry_scopes() -> Any:
    return loaded["sentry_sdk.scope"].Scope


# By their names, as the modules they are in have changed: the run, in later releases a weak reference to it, and the
# id of one that has come with a header.
_LANGSMITH_PARENTS = ("_PARENT_RUN_TREE", "_PARENT_RUN_TREE_REF", "_DISTRIBUTED_PARENT_ID")

_TRACERS = {
    "opentelemetry.trace": Tracer(_opentelemetry_has_parent, _opentelemetry_detach),
    "langsmith.run_helpers": Tracer(_langsmith_has_parent, _langsmith_detach),
    "sentry_sdk.scope": Tracer(_sentry_has_parent, _sentry_detach),
}
