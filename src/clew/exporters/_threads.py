"""
The threads of pipelines: how one is started wherever it is needed, and when it must end for the process to end.

What such a thread does is in `clew.exporters.pipeline`.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from contextvars import Context
from typing import Any, Callable

__all__ = ("is_ending", "is_starting_impossible_here", "new_thread", "sleep")

_LOOK_EVERY = 0.5  # seconds, see `sleep`

# A child that was forked in another thread than the main one ends when the last of its threads does, and calls no exit
# functions. The thread of a pipeline, daemon or not, must not be that last one.
_main_ident = threading.main_thread().ident
_is_forked_in_thread = False

# A subinterpreter may have no daemon threads, and waits at its end for all others.
_is_waited_for = _is_ending = False

# 3.9+: this lock is re-entrant, so a thread can be started anywhere; drop this with 3.8.
_threads_lock: Any = threading._active_limbo_lock  # type: ignore[attr-defined]  # in no stub


def is_starting_impossible_here() -> bool:
    """
    Return whether `Thread.start` would wait for a lock that the code holds that a signal handler has interrupted.
    """
    return sys.version_info < (3, 9) and _threads_lock.locked()


def new_thread(work: Callable[[Any], None], argument: object, wake_all: Callable[[], None]) -> threading.Thread:
    """
    Return a thread that calls `work(argument)` in an empty context, whatever this Python makes threads inherit.

    Args:
        work: the function. It ends when `sleep` returns False.
        argument: its argument.
        wake_all: called when all such threads must end, to wake those that sleep.
    """
    options: Any = {"target": Context().run, "args": (work, argument), "name": "clew-exporter"}
    try:
        return threading.Thread(**options, daemon=True)
    except RuntimeError:  # in a subinterpreter
        _end_with_interpreter(wake_all)
        return threading.Thread(**options, daemon=False)


def _end_with_interpreter(wake_all: Callable[[], None]) -> None:
    global _is_waited_for, _is_ending
    if _is_waited_for:
        return

    def end() -> None:
        global _is_ending
        _is_ending = True
        wake_all()

    # `atexit` would be too late: it comes when all threads have ended. The stdlib's pools use this, too.
    try:
        threading._register_atexit(end)  # type: ignore[attr-defined]  # in no stub
    except RuntimeError:  # it has ended them already
        _is_ending = True
        raise
    _is_waited_for = True


def is_ending() -> bool:
    """
    Return whether this is a subinterpreter that is about to end. No thread may be started then.
    """
    return _is_ending


def sleep(wake: Any) -> bool:
    """
    Wait until a lock is released, and acquire it. Return False if the thread must end for the process to end.
    """
    if _is_ending:
        return False
    if not _is_forked_in_thread:
        wake.acquire()
        return not _is_ending
    return wake.acquire(timeout=_LOOK_EVERY) or threading.main_thread().is_alive()


def _in_child() -> None:
    global _is_forked_in_thread
    _is_forked_in_thread = _thread.get_ident() != _main_ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
