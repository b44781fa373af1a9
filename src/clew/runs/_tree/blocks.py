"""
The ContextVars of the run tree, and how a call or a block makes a run current and restores the run before it.

Guarantees: an exit restores what was current at the entry, or changes nothing and is counted. It never makes an ended
run current again. An interrupt between any two instructions leaves the previous run current.

Assumes: entry and exit happen in one Context, unless the block was open at a ``yield`` of a traced generator.

The blocks that people open are in `clew.runs.trace` and `clew.runs.current`.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, Token
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple

from clew._shared.incidents import report
from clew.context._stepping.blocks import reset
from clew.context._stepping.collecting import is_collecting
from clew.runs._tree.identity import Identity
from clew.runs._tree.inherited import Inherited
from clew.runs._tree.kept.copier import set_untraced_caller

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage

__all__ = (
    "OUTSIDE",
    "ScopeOptions",
    "current_baggage",
    "current_identity",
    "current_options",
    "is_left_to_parent",
    "leave_block",
    "leave_call",
    "leave_interrupted_block",
    "report_exit_out_of_order",
    "report_foreign_exit",
    "reset_all",
    "reset_current",
    "set_current",
    "skip_exited_runs",
)


class ScopeOptions:
    """
    The options of the `tracing_context` and `detached` blocks around the current code.

    `is_enabled` and `is_sampled` apply to every run in the block. `inherited` applies to the runs whose parent is
    `under` (None: to roots), which pass it on to the runs below them. `linked` applies to roots.
    """

    __slots__ = (
        "before",
        "has_exited_early",
        "inherited",
        "is_enabled",
        "is_recorded",
        "is_sampled",
        "is_suspended",
        "linked",
        "under",
    )

    under: Optional[Identity]
    inherited: Optional[Inherited]
    linked: Tuple[Identity, ...]  # the links of the next root run
    is_enabled: bool
    is_sampled: bool
    is_recorded: bool
    # Only in a `tracing_context`: the run, the options and the baggage that were current before the block.
    before: Tuple[Optional[Identity], ScopeOptions, Optional[Baggage]]
    has_exited_early: bool  # the block exited before a block inside it did
    is_suspended: bool  # the block was open at a ``yield`` of a traced generator: it may exit in another context

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
        self.has_exited_early = self.is_suspended = False


OUTSIDE = ScopeOptions(None)

# None at the top of a program, and wherever the context was lost.
current_identity: ContextVar[Optional[Identity]] = ContextVar("clew_current_run", default=None)
# `Token.MISSING`, which a subinterpreter of 3.13 lacks.
_MISSING: object = Context().run(current_identity.set, None).old_value
# For traced functions: they are pickled by value, and find these two in the module by name.
set_current = current_identity.set
reset_current = current_identity.reset
# While it is None, the baggage of the received headers applies, if there is any.
current_baggage: ContextVar[Optional[Baggage]] = ContextVar("clew_baggage", default=None)
current_options: ContextVar[ScopeOptions] = ContextVar("clew_scope_options", default=OUTSIDE)

_UNRECORDED = ScopeOptions(None, is_enabled=False)


def _call_without_tracing(fn: Callable[..., Any], *args: Any) -> Any:
    before = current_options.get()
    token = None
    try:
        token = current_options.set(_UNRECORDED)
        return fn(*args)
    finally:
        if token is None:  # an interrupt arrived between `set` and the assignment
            current_options.set(before)
        else:
            current_options.reset(token)


set_untraced_caller(_call_without_tracing)


def leave_call(identity: Identity, token: Optional[Token[Optional[Identity]]]) -> None:
    """
    Restore the run that was current before `identity`, even if entering or leaving it was interrupted.
    """
    if token is None:
        if current_identity.get() is identity:
            current_identity.set(identity.parent)
        return
    try:
        current_identity.reset(token)
    except RuntimeError:
        pass  # the token was used: the interrupt arrived after the reset
    except ValueError:
        # The coroutine was started in another context, where the token belongs. What is current in this one stays.
        report_foreign_exit()


def leave_block(identity: Identity, token: Token[Optional[Identity]]) -> None:
    """
    Restore the run that was current before a `trace` block, if the block's run is still the current one.
    """
    before = None if token.old_value is _MISSING else token.old_value
    if current_identity.get() is not identity:
        if is_left_to_parent(identity):
            return
        # A block inside this one is still open, or this is another context: what is current stays. The exit of an
        # inner block goes to `run_before`, and not to this block's ended run.
        identity.run_before = before
        report_exit_out_of_order(f"the trace block {identity.name!r}")
        return
    try:
        current_identity.reset(token)
    except ValueError:
        if not hasattr(identity, "is_suspended"):
            report_foreign_exit()
            return
        # The block is open in the body of a generator, which was continued in another context.
        current_identity.set(before)
    skip_exited_runs(before)


def leave_interrupted_block(
    identity: Identity, token: Optional[Token[Optional[Identity]]], before: Optional[Identity]
) -> None:
    """
    Do what `leave_block` does after an interrupt of the entry or exit, which may have done any part of it.

    Args:
        identity: the run of the block.
        token: None if the interrupt has come before it was kept, or after the run was left.
        before: the run that was current before the block, if there is no token.
    """
    if current_identity.get() is not identity:
        # The run has been left, or a block inside this one is open, whose exit must not go to this block's ended run.
        if token is not None:
            identity.run_before = None if token.old_value is _MISSING else token.old_value
        skip_exited_runs(current_identity.get())
    elif token is None:
        current_identity.set(before)
    else:
        leave_block(identity, token)


def reset_all(tokens: List[Token[Any]]) -> bool:
    """
    Reset variables by their tokens, the last one first, and empty the list. An interrupted call can be repeated.

    Returns:
        False if the last token belongs to another context.
    """
    while tokens:
        if not reset(tokens[-1]):
            return False
        tokens.pop()
    return True


def is_left_to_parent(identity: Optional[Identity]) -> bool:
    """
    Return whether a run was opened before a fork. A worker that was forked in the run has left it.
    """
    live = getattr(identity, "live", None)
    return live is not None and live._is_of_other_process()


def skip_exited_runs(identity: Optional[Identity]) -> None:
    """
    If the block of the run `identity` has exited out of order, make the run before that block current.

    If the block of that run has exited so, too, take the run before it, and so on.
    """
    while identity is not None and hasattr(identity, "run_before"):
        identity = identity.run_before
        current_identity.set(identity)


def report_exit_out_of_order(description: str) -> None:
    """
    Count a block at whose exit the run or the options of another block were current.

    A block that the garbage collector closes, with the body that has opened it, is nobody's mistake.
    """
    if is_collecting():
        return
    report(
        "blocks_left_out_of_order",
        f"{description} was left while another run was current, or in another context; "
        f"close blocks in the reverse order of opening, in the function that opened them",
    )


def report_foreign_exit() -> None:
    """
    Count a call or block whose entry cannot be undone, because its token belongs to another context.
    """
    report(
        "blocks_left_in_another_context",
        "a run was left in another context than it was entered in; enter and leave it in one task or thread",
    )
