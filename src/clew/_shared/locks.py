"""
A lock that is free in a forked child.
"""

from __future__ import annotations

import os
import threading

__all__ = ("ForkSafeLock",)


class ForkSafeLock:
    """
    A lock that is replaced in a forked child, where the thread that held it does not exist.

    It is for module-level locks, which live as long as the process. Use it as ``with guard.lock:``. That reads the
    attribute once, so the lock that was acquired is also the one that is released, even if the block forks.

    The lock is re-entrant, as a finaliser or a signal handler may need it on the thread that holds it.
    """

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()
