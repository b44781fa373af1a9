"""
`ContextThread` and `ContextTimer`: the stdlib's, running in the context of whoever started them.

Pools of threads are in `clew.executors`.
"""

from __future__ import annotations

import sys
from contextvars import Context
from functools import partial
from threading import Thread, Timer
from typing import Any, Callable, Iterable, Mapping, Optional, Union

from clew.context._stepping.captured import checked_context, runner_of_captured
from clew.context._stepping.entering import capture_carried, run_in_shared, runner_for_thread
from clew.context.snapshot import Snapshot

__all__ = ("ContextThread", "ContextTimer")


class ContextStart(Thread):
    """
    Capture at `start`, and have `run`, whoever wrote it, run in what was captured.
    """

    # On the class, so that a subclass that forgets `Thread.__init__` gets the stdlib's own error.
    _given_context: Optional[Union[Context, Snapshot]] = None

    def start(self) -> None:
        """
        Start the thread; once.

        Context:
            *When*: at this call, which is when the values are captured. *What the callee sees*: the
            caller's values. *What comes back*: nothing. Thread-safe.

        Raises:
            RuntimeError: the thread was started before, or no thread can be started.
        """
        start_in_context(self, super().start, self._given_context)
        self._given_context = None


def start_in_context(thread: Any, start: Callable[[], None], given: Optional[Union[Context, Snapshot]] = None) -> None:
    """
    Call `start`, the thread's native one, and have its `run` run in the context given, or in a copy of the current one.
    """
    if isinstance(given, Context):
        run_in_context: Callable[..., Any] = partial(run_in_shared, given, *capture_carried())
    else:
        run_in_context = runner_for_thread() if given is None else runner_of_captured(given)
    # On the instance, for this one start. Not `run`, which others may look at before it runs.
    thread._bootstrap_inner = partial(_bootstrap_inner, thread, thread._bootstrap_inner, run_in_context)
    # 3.14+: where threads inherit, the stdlib would capture a second time, and keep that for good.
    if sys.version_info >= (3, 14):
        thread._context = Context()
    try:
        start()
    except BaseException:
        # Started before, or out of threads: the next try captures anew. Or interrupted, and running.
        is_running = vars(thread).pop("_bootstrap_inner", None) is None
        if sys.version_info >= (3, 14) and not is_running:
            thread._context = None
        raise


def _bootstrap_inner(thread: Any, native: Callable[[], None], run_in_context: Callable[..., Any]) -> None:
    # Outside of what the stdlib traces and profiles. What it calls is `thread.run`, with no frame of
    # ours between. The thread must not lead to itself once it has ended, nor to the context.
    del thread._bootstrap_inner
    own = vars(thread).get("run")  # somebody has put one of his own there
    thread.run = partial(run_in_context, thread.run)
    try:
        native()
    finally:
        if own is None:
            vars(thread).pop("run", None)
        else:
            thread.run = own


class ContextThread(ContextStart):
    """
    Be a `threading.Thread` that runs in the context of whoever starts it.

    A drop-in: same arguments, attributes, errors and hooks. Subclasses that override `run` or
    `__init__` work as those of `threading.Thread` do.

    Context:
        *When*: at `start()`, not when the thread is made. *What the callee sees*: the values of the
        caller of `start`, in a copy of its own. *What comes back*: nothing. `threading.excepthook`
        runs outside of that copy, as it does for a thread of the stdlib that has a context.

    Args:
        group, target, name, args, kwargs, daemon: as in `threading.Thread`.
        context: a `contextvars.Context`, to be shared and not copied, as 3.14's `threading.Thread`
            does, or a `Snapshot`, for a copy of what it holds. None is for the caller of `start`.

    Raises:
        ArgumentTypeError: `context` is neither.

    Example:
        >>> import contextvars
        >>> from clew import ContextThread
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> thread = ContextThread(target=lambda: print(user.get()))
        >>> token = user.set("ada")
        >>> thread.start(); thread.join()
        ada
    """

    def __init__(
        self,
        group: None = None,
        target: Optional[Callable[..., object]] = None,
        name: Optional[str] = None,
        args: Iterable[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
        *,
        daemon: Optional[bool] = None,
        context: Optional[Union[Context, Snapshot]] = None,
    ) -> None:
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        if context is not None:
            self._given_context = checked_context(context)


class ContextTimer(ContextStart, Timer):
    """
    Be a `threading.Timer` whose function runs in the context of whoever starts it.

    A drop-in, with `cancel` as the stdlib's. After it has ended, it holds nothing of that context.

    Context:
        *When*: at `start()`, not when the timer is made, and not when it fires. *What the callee
        sees*: the values of the caller of `start`, in a copy of its own. *What comes back*: nothing.

    Args:
        interval: seconds.
        function, args, kwargs: what to call then.
        context: as in `ContextThread`.

    Raises:
        ArgumentTypeError: `context` is neither a `contextvars.Context` nor a `Snapshot`.

    Example:
        >>> import contextvars
        >>> from clew import ContextTimer
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> timer = ContextTimer(0.01, lambda: print(user.get()))
        >>> timer.start(); timer.join()
        ada
    """

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Optional[Iterable[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        *,
        context: Optional[Union[Context, Snapshot]] = None,
    ) -> None:
        Timer.__init__(self, interval, function, args, kwargs)
        if context is not None:
            self._given_context = checked_context(context)
