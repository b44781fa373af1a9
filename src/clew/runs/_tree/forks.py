"""
What happens to open runs when the process forks: the parent alone ends and exports them.
"""

from __future__ import annotations

import os
from contextlib import suppress

from clew.runs._tree.blocks import current_identity, current_options

__all__ = ("register_fork_hooks",)


def register_fork_hooks() -> None:
    """
    Have each later fork leave the runs that are open to the parent process.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_create_ids, after_in_child=_forget_open_runs)


def _create_ids() -> None:
    # Ids are created lazily. Create them before the fork; otherwise parent and child each create a different id for
    # the same run, and the child's runs have an unknown parent. Only the current runs matter: the child goes on with
    # nothing else. An error, of a time that has no date for example, must not prevent the fork.
    with suppress(Exception):
        for tip in (current_identity.get(), *current_options.get().linked):
            _ = None if tip is None else tip.dotted_order  # creates the ids of all runs above
            root = tip
            while root is not None:
                for linked in getattr(root, "linked", ()):
                    _ = linked.dotted_order
                root = root.parent


def _forget_open_runs() -> None:
    # The process that began a run is the only one that ends and exports it. In the child the run counts as ended.
    identity = current_identity.get()
    while identity is not None:
        with suppress(AttributeError):
            del identity.live
        identity = identity.parent
