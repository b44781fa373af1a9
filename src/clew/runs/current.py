"""
Which run is the current one, and how a run becomes it and stops being it.
"""

from __future__ import annotations

from contextvars import Token
from typing import Callable, Optional

from clew.context.seams import Tracer, tracers
from clew.incidents import report
from clew.runs.identity import Identity, current_identity, linked_identities
from clew.runs.run import RunTree

__all__ = ("get_current_run_tree",)


def get_current_run_tree() -> Optional[RunTree]:
    """
    Return the run that the caller is in, or None.

    Where that run has ended already (its caller did not wait for this job, say) the result is a
    detached `RunTree`: ids, name and `create_child` work, and changes do nothing but are counted.

    Context:
        *When*: it reads the context of this call. In a job of `ContextThreadPoolExecutor`, or in a
        bound function, that is the context of the submitter. Thread-safe.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("lookup"):
        ...     clew.get_current_run_tree().name
        'lookup'
        >>> clew.get_current_run_tree() is None
        True
    """
    identity = current_identity.get()
    if identity is None:
        return None
    # Read once: another thread may end the run between a check and a use.
    live = getattr(identity, "live", None)
    return RunTree.detached(identity) if live is None else live


def _has_parent() -> bool:
    return current_identity.get() is not None or bool(linked_identities.get())


def _detach(*, link: bool) -> Callable[[], None]:
    identity = current_identity.get()
    linked = linked_identities.get() if identity is None else (identity,)
    links_token = linked_identities.set(linked if link else ())
    token = current_identity.set(None)

    def undo() -> None:
        current_identity.reset(token)
        linked_identities.reset(links_token)

    return undo


tracers.append(Tracer(_has_parent, _detach))


def leave_call(identity: Identity, token: Optional[Token[Optional[Identity]]]) -> None:
    """
    Make the run current again that was so before `identity`'s, whose entry or exit may have been interrupted.
    """
    if token is None:
        if current_identity.get() is identity:
            current_identity.set(identity.parent)
        return
    try:
        current_identity.reset(token)
    except RuntimeError:
        pass  # the exit got as far as resetting it
    except ValueError:
        # The coroutine was stepped in another context than at its start; that one has no run of ours.
        report_foreign_exit()


def leave_block(identity: Identity, token: Token[Optional[Identity]]) -> None:
    """
    Make the run current again that was so before a `trace` block's, if the block's still is current.
    """
    before = None if token.old_value is Token.MISSING else token.old_value
    if current_identity.get() is not identity:
        # A bare reset would take the current run from whoever is in it. But when that block is left
        # in its turn, it must not bring this one back.
        identity.exited_to = before
        report(
            "blocks_left_out_of_order",
            f"the trace block {identity.name!r} was left while another run was current, or in another context; "
            f"close blocks in the reverse order of opening, in the function that opened them",
        )
        return
    try:
        current_identity.reset(token)
    except ValueError:
        report_foreign_exit()
        return
    while before is not None and hasattr(before, "exited_to"):
        before = before.exited_to
        current_identity.set(before)


def report_foreign_exit() -> None:
    report(
        "blocks_left_in_another_context",
        "a run was left in another context than it was entered in; enter and leave it in one task or thread",
    )
