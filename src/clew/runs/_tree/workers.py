"""
What a forked child takes over of its parent's context: the current run, unless the child is a worker for many callers.

Which process a run belongs to is in `clew.runs._tree.forks`.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from types import FrameType
from typing import Optional

from clew.runs._tree.blocks import OUTSIDE, current_baggage, current_identity, current_options
from clew.runs._tree.identity import UnsampledRoot

__all__ = ("register_fork_hooks",)

# The module of a server that forks its workers.
_SERVER = "gunicorn.arbiter"
# `multiprocessing` forks all its processes in one module. The workers of pools run a function of these modules.
_MULTIPROCESSING = "multiprocessing.popen_fork"
_POOLS = ("concurrent.futures.process", "multiprocessing.pool")
# Functions between this module's and the one that has called `os.fork`, if somebody has wrapped that.
_MOST_WRAPPERS = 2


def register_fork_hooks() -> None:
    """
    Have each later fork decide what is current in the child.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_read_clock, after_in_child=_leave_run_if_worker)


def _read_clock() -> None:
    # The id of an unsampled root contains its start time, which is read when first needed: here, so that both processes
    # have the same. An error, of a time that has no date for example, must not prevent the fork.
    with suppress(Exception):
        for tip in (current_identity.get(), *current_options.get().linked):
            if isinstance(tip, UnsampledRoot):
                _ = tip.start_time_ns


def _leave_run_if_worker() -> None:
    # A worker serves many callers, and would keep the context of the one that it was started for. A failure must not
    # prevent the fork.
    with suppress(Exception):
        forking: Optional[FrameType] = sys._getframe(1)
        for _ in range(_MOST_WRAPPERS + 1):
            if forking is None:
                return
            module = forking.f_globals.get("__name__")
            if module == _SERVER:
                # Options and baggage are not those of a request: only the run is left.
                current_identity.set(None)
                return
            if module == _MULTIPROCESSING:
                if _is_of_pool(forking.f_locals.get("process_obj")):
                    current_identity.set(None)
                    current_options.set(OUTSIDE)
                    current_baggage.set(None)
                return
            forking = forking.f_back


def _is_of_pool(process: object) -> bool:
    return getattr(getattr(process, "_target", None), "__module__", None) in _POOLS
