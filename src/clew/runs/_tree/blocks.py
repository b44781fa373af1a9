"""
The ContextVars of the run tree, and how a block makes a run current and puts back the one before it.

The blocks that people open are in `clew.runs.trace` and `clew.runs.current`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, Optional, Tuple

from clew._shared.incidents import report
from clew.runs._tree.identity import Identity, Inherited
from clew.runs._tree.kept.copier import set_untraced_caller

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage

__all__ = (
    "Ambient",
    "ambient",
    "current_baggage",
    "current_identity",
    "report_exit_out_of_order",
    "report_foreign_exit",
    "reset_current",
    "set_current",
)


class Ambient:
    """
    Hold what `tracing_context` and `detached` have said, for the runs that begin right under one, or as roots.

    Runs further down have it from the run above them.
    """

    __slots__ = (
        "before",
        "inherited",
        "is_carried",
        "is_enabled",
        "is_left",
        "is_recorded",
        "is_sampled",
        "linked",
        "under",
    )

    under: Optional[Identity]
    inherited: Optional[Inherited]
    linked: Tuple[Identity, ...]  # of the next root
    is_enabled: bool
    is_sampled: bool
    is_recorded: bool
    # Of a block of `tracing_context`: the run, this and the baggage that were current before it.
    before: Tuple[Optional[Identity], Ambient, Optional[Baggage]]
    is_left: bool  # before a block that was opened inside
    is_carried: bool  # once a traced generator was suspended in the block

    def __init__(
        self,
        under: Optional[Identity],
        inherited: Optional[Inherited] = None,
        linked: Tuple[Identity, ...] = (),
        *,
        is_enabled: bool = True,
        is_sampled: bool = True,
    ) -> None:
        self.under = under
        self.inherited = inherited
        self.linked = linked
        self.is_enabled = is_enabled
        self.is_sampled = is_sampled
        self.is_recorded = is_enabled and is_sampled
        self.is_left = self.is_carried = False


# Outside of all blocks.
_NOTHING_SAID = Ambient(None)


# None at the top of a program, and wherever the context was lost.
current_identity: ContextVar[Optional[Identity]] = ContextVar("clew_current_run", default=None)
# For traced functions: they are pickled by value, and find these in the module by name.
set_current = current_identity.set
reset_current = current_identity.reset


# The program's own, None where nobody has set any: that of the headers holds, if there were some.
current_baggage: ContextVar[Optional[Baggage]] = ContextVar("clew_baggage", default=None)


ambient: ContextVar[Ambient] = ContextVar("clew_ambient", default=_NOTHING_SAID)


# Inside of what runs for the sake of a copy alone.
_UNRECORDED = Ambient(None, is_enabled=False)


def _call_without_tracing(fn: Callable[..., Any], *args: Any) -> Any:
    before = ambient.get()
    token = None
    try:
        token = ambient.set(_UNRECORDED)
        return fn(*args)
    finally:
        if token is None:  # an interrupt came in between
            ambient.set(before)
        else:
            ambient.reset(token)


set_untraced_caller(_call_without_tracing)


def report_exit_out_of_order(block: str) -> None:
    """
    Count that a block was left before one that was opened inside it, or in another context.
    """
    report(
        "blocks_left_out_of_order",
        f"{block} was left while another run was current, or in another context; "
        f"close blocks in the reverse order of opening, in the function that opened them",
    )


def report_foreign_exit() -> None:
    """
    Count that a block was left in another context than it was entered in.
    """
    report(
        "blocks_left_in_another_context",
        "a run was left in another context than it was entered in; enter and leave it in one task or thread",
    )
