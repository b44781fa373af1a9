"""
Locks that are free in a forked child and after an interrupt, and what happens at most once without a lock.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Dict, Optional, Tuple, TypeVar

__all__ = ("RUNS_WITHOUT_GIL", "ForkSafeLock", "delete_once", "keep_first", "set_once")

T = TypeVar("T")

# 3.13+: Python may be built free-threaded. Then deleting a slot is no single step, and objects that all threads use at
# every call slow them down. A GIL that an extension switches on later does no harm.
RUNS_WITHOUT_GIL: bool = not getattr(sys, "_is_gil_enabled", lambda: True)()


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


_PLACES = 64

# Without a GIL there are several dicts, because threads would wait for each other at a single dict.
_offered: Tuple[Dict[Tuple[object, str], Any], ...] = tuple({} for _ in range(_PLACES if RUNS_WITHOUT_GIL else 1))


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
    offers = _offered[id(owner) >> 4 & _PLACES - 1 if RUNS_WITHOUT_GIL else 0]
    try:
        # Atomic. Who comes from here on gets this value; who came before has set the attribute by now, or will set it
        # to a value that was offered earlier.
        offered = offers.setdefault(key, value)
        known: Optional[T] = getattr(owner, attribute, unset)
        if known is not unset:
            return known  # type: ignore[return-value]  # None only if that is `unset`
        setattr(owner, attribute, offered)
        return offered  # type: ignore[no-any-return]  # it is a T
    finally:
        offers.pop(key, None)


def set_once(owner: object, attribute: str) -> bool:
    """
    Set an attribute that is False to True. Return whether this call has set it: of several threads, one does.
    """

    def act() -> bool:
        if getattr(owner, attribute):
            return False
        setattr(owner, attribute, True)
        return True

    with suppress(AttributeError):
        return _act_once(owner, attribute, act)
    return False


def delete_once(owner: object, attribute: str) -> None:
    """
    Delete an attribute: of several threads, one succeeds. With a GIL, the statement ``del`` does the same.

    Raises:
        AttributeError: there is no such attribute, or another thread is deleting it.
    """
    _act_once(owner, attribute, partial(delattr, owner, attribute))


def _act_once(owner: object, attribute: str, act: Callable[[], T]) -> T:
    key, token = (owner, attribute), object()
    claims = _claims[id(owner) >> 4 & _PLACES - 1]
    try:  # first, as an interrupt may follow the next line
        if claims.setdefault(key, token) is not token:  # atomic
            raise AttributeError(attribute)
        return act()
    finally:
        if claims.get(key) is token:
            claims.pop(key, None)


_claims: Tuple[Dict[Tuple[object, str], object], ...] = tuple({} for _ in range(_PLACES))  # as `_offered`
