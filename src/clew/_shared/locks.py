"""
A lock that is free in a forked child and after an interrupt, and values that are created at most once without a lock.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

__all__ = ("ForkSafeLock", "keep_first")

T = TypeVar("T")


class ForkSafeLock:
    """
    A lock that is replaced in a forked child, where the thread that held it does not exist.

    It is for module-level locks, which live as long as the process. `run` reads the attribute once, so the lock that
    was acquired is also the one that is released, even if the function forks.

    The lock is re-entrant, as a finaliser or a signal handler may need it on the thread that holds it. So a function
    that runs under it may be interrupted by one that does the same: change state by single atomic operations.
    """

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock: Any = threading.RLock()  # its `_is_owned` is in no stub

    def run(self, fn: Callable[..., T], *args: Any) -> T:
        """
        Return `fn(*args)`, called while this thread holds the lock.

        An interrupt may come between the end of a ``with`` block and the release of its lock. This releases it then.
        """
        lock = self.lock
        is_held_already = lock._is_owned()
        try:
            with lock:
                return fn(*args)
        finally:
            while not is_held_already and lock._is_owned():
                lock.release()


_offered: Dict[Tuple[object, str], Any] = {}


def keep_first(owner: object, attribute: str, value: T, unset: Optional[T] = None) -> T:
    """
    Set an attribute that is `unset` or missing so far, and return it. The first value that anybody has seen stays.

    Other threads may do the same meanwhile, and so may a signal handler or a finaliser between any two instructions.

    Args:
        owner: an object that compares by identity.
        attribute: its name.
        value: the value, unless another one is first.
        unset: what the attribute is before that.
    """
    key = owner, attribute
    try:
        # Atomic. Who comes from here on gets this value; who came before has set the attribute by now, or will set it
        # to a value that was offered earlier.
        offered = _offered.setdefault(key, value)
        known: Optional[T] = getattr(owner, attribute, unset)
        if known is not unset:
            return known  # type: ignore[return-value]  # None only if that is `unset`
        setattr(owner, attribute, offered)
        return offered  # type: ignore[no-any-return]  # it is a T
    finally:
        _offered.pop(key, None)
