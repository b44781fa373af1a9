"""
Whether anything is recorded: the functions that are called when a run starts and when it ends.

Which traces are recorded is decided in `clew.runs.sampling`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

from clew._shared.locks import ForkSafeLock

__all__ = (
    "add_end_hook",
    "add_start_hook",
    "is_enabled",
    "notify_start",
    "remove_end_hook",
    "remove_start_hook",
    "set_enabled",
)

# A hook is called with the RunTree, and must not raise.
Hook = Callable[[Any], object]

_guard = ForkSafeLock()
_is_enabled = True

# Both tuples are replaced as a whole, so that readers need no lock. Without start hooks nothing is recorded, and
# `traceable` calls its function straight away.
start_hooks: Tuple[Hook, ...] = ()
end_hooks: Tuple[Hook, ...] = ()
# All hooks, in order. One operation adds or removes one, so a signal handler may do the same in between.
_added_start_hooks: Dict[Hook, None] = {}  # in force while recording is enabled
_added_end_hooks: Dict[Hook, None] = {}


def add_start_hook(hook: Hook) -> None:
    """
    Call `hook` with each run that starts from now on, which switches recording on.
    """
    _guard.run(_publish, _added_start_hooks.setdefault, hook)


def remove_start_hook(hook: Hook) -> None:
    """
    Undo `add_start_hook`, if it was done.
    """
    _guard.run(_publish, _added_start_hooks.pop, hook, None)


def is_enabled() -> bool:
    """
    Return what `set_enabled` was last called with; True before the first call.
    """
    return _is_enabled


def set_enabled(enabled: bool) -> None:  # noqa: FBT001  the only argument
    """
    Switch recording off, whatever start hooks there are, or let them decide again.
    """
    global _is_enabled
    _is_enabled = enabled
    _guard.run(_publish, bool)


def _publish(change: Callable[..., object], *args: object) -> None:
    """
    Call `change(*args)`, then renew the two tuples.
    """
    global start_hooks, end_hooks
    change(*args)
    while True:
        added = tuple(_added_start_hooks) if _is_enabled else (), tuple(_added_end_hooks)
        if added == (start_hooks, end_hooks):
            return
        start_hooks, end_hooks = added  # and look again: a signal handler may have changed the hooks in between


def add_end_hook(hook: Hook) -> None:
    """
    Call `hook` with each recorded run that ends from now on, on the thread that ends it.
    """
    _guard.run(_publish, _added_end_hooks.setdefault, hook)


def remove_end_hook(hook: Hook) -> None:
    """
    Undo `add_end_hook`, if it was done.
    """
    _guard.run(_publish, _added_end_hooks.pop, hook, None)


def notify_start(run: Any) -> None:
    """
    Call all start hooks with a run that has started.
    """
    for hook in start_hooks:
        hook(run)
