"""
`ContextThread` and `ContextTimer`: the stdlib's classes, running in the context of the caller of `start`.

Pools of threads are in `clew.executors`.
"""

from __future__ import annotations

from contextvars import Context
from threading import Timer
from typing import Any, Callable, Iterable, Mapping, Optional, Union

from clew.context._stepping.captured import checked_context
from clew.context.snapshot import Snapshot
from clew.executors._starting import ContextStart

__all__ = ("ContextThread", "ContextTimer")


class ContextThread(ContextStart):
    """
    A `threading.Thread` that runs in the context of the caller of `start`.

    A drop-in replacement: same arguments, attributes, errors and hooks. Subclasses that override `run` or
    `__init__` work as those of `threading.Thread` do.

    Context:
        *When*: at `start()`, not when the thread is made. *What the callee sees*: the values of the
        caller of `start`, in a copy of its own. *What comes back*: nothing. `threading.excepthook`
        runs outside of that copy, as it does for a thread of 3.14's stdlib that has a context.

    Args:
        group, target, name, args, kwargs, daemon: as in `threading.Thread`.
        context: a `contextvars.Context`, which is shared and not copied, as by 3.14's `threading.Thread`;
            or a `Snapshot`, for a copy of its values. None is for the context of the caller of `start`.

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
    A `threading.Timer` whose function runs in the context of the caller of `start`.

    A drop-in replacement, with the stdlib's `cancel`. A timer that has ended holds nothing of that context.

    Context:
        *When*: at `start()`; neither when the timer is made nor when it fires. *What the callee
        sees*: the values of the caller of `start`, in a copy of its own. *What comes back*: nothing.

    Args:
        interval: seconds.
        function, args, kwargs: the call to make after that time.
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
