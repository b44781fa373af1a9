"""
Blocks that change what is current right here: to what a snapshot holds, or to the beginning of a new trace.

What a function or coroutine sees while it runs is in `clew.context.binding` and `clew.context.coroutines`.
"""

from __future__ import annotations

from clew.context._stepping import carrying
from clew.context._stepping.blocks import Scope, Undo, detach, swap
from clew.context._stepping.neighbours import loaded_tracers
from clew.context._stepping.seams import tracers

__all__ = ("detached",)


def detached(*, link: bool = True) -> Scope:
    """
    Return a ``with`` block in which what is started or spawned begins a new trace.

    It takes away what would be the parent: clew's current run, and, where they are loaded, the current
    span of OpenTelemetry and the current run of LangSmith. Your own ContextVars, baggage and the like
    stay as they are. For nothing at all, use a new `contextvars.Context()`.

    Context:
        *When*: at the entry of the block. *What the callee sees*: no current run; also what captures
        in the block. *What comes back*: at the exit, the run before it is current again. An instance
        is for one block.

    Args:
        link: whether the next root run has the run outside as a link (`RunTree.links`). OpenTelemetry
            and LangSmith have no place for one before their span is there.

    Raises:
        WrongContextError: at the exit, if that is in another context than the entry.
        AlreadyEnteredError: the block was entered before.

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
