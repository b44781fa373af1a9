"""
Whether anything is recorded: the functions that are called when a run starts and when it ends.

Which traces are recorded is decided in `clew.runs.sampling`.
"""

from __future__ import annotations

from typing import Any, Callable, Tuple

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
_added_start_hooks: Tuple[Hook, ...] = ()  # in force while recording is enabled


def add_start_hook(hook: Hook) -> None:
    """
    Call `hook` with each run that starts from now on, which switches recording on.
    """
    _change_start_hooks(lambda hooks: (*hooks, hook))


def remove_start_hook(hook: Hook) -> None:
    """
    Undo `add_start_hook`.
    """
    _change_start_hooks(lambda hooks: tuple(other for other in hooks if other != hook))


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
    _change_start_hooks(lambda hooks: hooks)


def _change_start_hooks(change: Callable[[Tuple[Hook, ...]], Tuple[Hook, ...]]) -> None:
    global start_hooks, _added_start_hooks
    with _guard.lock:
        _added_start_hooks = change(_added_start_hooks)
        start_hooks = _added_start_hooks if _is_enabled else ()


def add_end_hook(hook: Hook) -> None:
    """
    Call `hook` with each recorded run that ends from now on, on the thread that ends it.
    """
    global end_hooks
    with _guard.lock:
        end_hooks = (*end_hooks, hook)


def remove_end_hook(hook: Hook) -> None:
    """
    Undo `add_end_hook`.
    """
    global end_hooks
    with _guard.lock:
        end_hooks = tuple(other for other in end_hooks if other != hook)


def notify_start(run: Any) -> None:
    """
    Call all start hooks with a run that has started.
    """
    for hook in start_hooks:
        hook(run)
