"""
`detached`: a block that begins new traces.

The block that makes a snapshot's values current is `Snapshot.attached`.
"""

from __future__ import annotations

from clew.context._stepping import carrying
from clew.context._stepping.blocks import Scope, Undo, detach, swap
from clew.context._stepping.neighbours import loaded_tracers
from clew.context._stepping.seams import tracers

__all__ = ("detached",)


def detached(*, link: bool = True) -> Scope:
    """
    Return a ``with`` block in which started threads, spawned tasks and captures begin a new trace.

    The block takes the parent away: clew's current run, and the current span or run of OpenTelemetry,
    LangSmith and Sentry if they are loaded. Your own ContextVars and the baggage stay. To drop those
    as well, use a new `contextvars.Context()`.

    Context:
        *When*: at the entry of the block. *What the callee sees*: no current run. *What comes back*:
        the exit makes the previous run current again. An instance serves one block.

    Args:
        link: whether the next root run is linked to the run outside (`RunTree.links`). OpenTelemetry,
            LangSmith and Sentry take no link before their span exists.

    Raises:
        WrongContextError: at the exit, if it is in another context than the entry.
        AlreadyEnteredError: the instance was entered before.

    Example:
        >>> import clew
        >>> with clew.record() as runs, clew.trace("request"):
        ...     with clew.detached(), clew.trace("nightly job"):
        ...         pass
        >>> [root.name for root in runs.roots]
        ['request', 'nightly job']
    """

    def changes(undo: Undo) -> None:
        for tracer in (*tracers, *loaded_tracers()):
            detach(tracer, undo, link=link)
        for each in carrying.registered:
            if each.is_cleared_when_detached:
                swap(each, None, undo)

    return Scope("detached", changes)
