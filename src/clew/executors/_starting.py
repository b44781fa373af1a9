"""
How a thread is started so that its `run` runs in a context.

The classes that people use are in `clew.executors.threads`; `clew.install` uses this for the stdlib's threads.

Guarantees:
    - The context is captured at `start`, on the thread that calls it.
    - A thread that has ended keeps no context alive, and is in no reference cycle with clew's objects.

Assumes:
    - `Thread._bootstrap_inner` is the method that a new thread calls first, and it calls `run`.
    - `threading._limbo` has each thread from the first lines of its `start` until it calls `run`.
    - 3.14+: `Thread._context` is the context that the stdlib runs the thread in.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context
from functools import partial
from threading import Thread
from typing import Any, Callable, Optional, Union

from clew.context._stepping.captured import runner_of_captured
from clew.context._stepping.entering import capture_carried, run_in_shared, runner_for_thread
from clew.context.snapshot import Snapshot

__all__ = ("ContextStart", "start_in_context")


class ContextStart(Thread):
    """
    The base of threads that capture the context at `start`, and call `run` in it, also an overridden `run`.
    """

    # A default on the class: a subclass that forgets to call `Thread.__init__` gets the stdlib's own error.
    _given_context: Optional[Union[Context, Snapshot]] = None

    def start(self) -> None:
        """
        Start the thread; once.

        Context:
            *When*: at this call. *What the callee sees*: the caller's values, in a copy of its own.
            *What comes back*: nothing. Thread-safe.

        Raises:
            RuntimeError: the thread was started before, or no thread can be started.
        """
        start_in_context(self, super().start, self._given_context)
        self._given_context = None


def start_in_context(thread: Any, start: Callable[[], None], given: Optional[Union[Context, Snapshot]] = None) -> None:
    """
    Start a thread by `start`, the stdlib's method. Its `run` runs in `given`, or in a copy of the current context.
    """
    if isinstance(given, Context):
        run_in_context: Callable[..., Any] = partial(run_in_shared, given, *capture_carried())
    else:
        run_in_context = runner_for_thread() if given is None else runner_of_captured(given)
    # Replaced on the instance, for this one start. `run` stays until the thread runs: the program may still read it.
    thread._bootstrap_inner = partial(_bootstrap_inner, thread, thread._bootstrap_inner, run_in_context)
    # 3.14+: where threads inherit a context, the stdlib would capture a second copy and keep it with the thread.
    has_context = sys.version_info >= (3, 14)
    if has_context:
        thread._context = Context()
    try:
        start()
    except BaseException:
        # Undo this if the thread has not started: the next `start` captures anew. If a signal handler has raised after
        # the start, the thread is on its way, in `_limbo`, or has removed the method itself.
        limbo: Any = threading._limbo  # type: ignore[attr-defined]  # it is private
        if thread not in limbo and vars(thread).pop("_bootstrap_inner", None) and has_context:
            thread._context = None
        raise


def _bootstrap_inner(thread: Any, native: Callable[[], None], run_in_context: Callable[..., Any]) -> None:
    # This runs in the new thread, before the stdlib sets its trace and profile functions. The stdlib then calls
    # `thread.run`, a partial of `Context.run`, so no frame of clew's is in tracebacks. When the thread has ended, it
    # must refer neither to itself nor to the context.
    vars(thread).pop("_bootstrap_inner", None)  # a `start` that an interrupt ended just now has removed it already
    own = vars(thread).get("run")  # the program may have set `run` on the instance
    thread.run = partial(run_in_context, thread.run)
    try:
        native()
    finally:
        if own is None:
            vars(thread).pop("run", None)
        else:
            thread.run = own
