"""
A lock that a forked child finds free.
"""

from __future__ import annotations

import os
import threading

__all__ = ("ForkSafeLock",)


class ForkSafeLock:
    """
    Hold a lock that is replaced in a forked child, where the thread that held it does not exist.

    For locks of a module, which live as long as the process. Use it as ``with guard.lock:``: the
    attribute is read once, so that what was acquired is what is released, also across a fork.

    The lock is re-entrant: a finaliser or a signal handler may come by on the thread that holds it.
    """

    __slots__ = ("lock",)

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()
