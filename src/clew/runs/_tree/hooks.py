"""
Whether anything is recorded: the functions that are called when a run starts and when it ends.

Which traces are recorded is decided in `clew.runs.sampling`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Sequence, Tuple

from clew._shared.locks import ForkSafeLock

__all__ = (
    "add_end_hook",
    "add_start_hook",
    "add_watcher",
    "call_watchers",
    "exchange_hooks",
    "is_enabled",
    "notify_start",
    "remove_end_hook",
    "remove_start_hook",
    "remove_watcher",
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


def exchange_hooks(start_hook: Hook, end_hook: Hook, others: Sequence[Hook] = ()) -> None:
    """
    Add two hooks in place of others, so that each run that starts or ends meets either these or those.
    """

    def exchange() -> None:
        _added_start_hooks[start_hook] = _added_end_hooks[end_hook] = None
        for other in others:
            _added_start_hooks.pop(other, None)
            _added_end_hooks.pop(other, None)

    _guard.run(_publish, exchange)


def notify_start(run: Any) -> None:
    """
    Call all start hooks with a run that has started.
    """
    for hook in start_hooks:
        hook(run)


# Who keeps runs looks now and then whether there are too many. A call for each run would make a run 5 % slower, so
# `open_run` compares the start of a run with this time. If the clock is set back, nobody looks until it is reached.
quiet_until_ns = _NEVER = 1 << 63
_EVERY_NS = 5_000_000
_watchers: Dict[Callable[[], object], None] = {}


def add_watcher(watcher: Callable[[], object]) -> None:
    """
    Call `watcher` with a run that starts, 5 ms after its last call or later. It must not raise.
    """
    global quiet_until_ns
    _watchers[watcher] = None
    quiet_until_ns = 0


def remove_watcher(watcher: Callable[[], object]) -> None:
    """
    Undo `add_watcher`, if it was done.
    """
    _watchers.pop(watcher, None)


def call_watchers(now_ns: int) -> None:
    """
    Call the watchers, and have them called again some time after `now_ns`.
    """
    global quiet_until_ns
    quiet_until_ns = now_ns + _EVERY_NS
    watchers = list(_watchers)
    if not watchers:
        quiet_until_ns = _NEVER
        if _watchers:  # another thread has added one just now
            quiet_until_ns = 0
    for watcher in watchers:
        watcher()
