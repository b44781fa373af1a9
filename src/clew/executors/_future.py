"""
The future of the context-carrying executors: its callbacks run in the context that registered them.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Callable, Optional

from clew.context._entering import runner_elsewhere

__all__ = ("ContextFuture",)


class ContextFuture(Future):  # type: ignore[type-arg]  # 3.9+: Future[T] exists at run time; drop with 3.8
    """
    Be a `concurrent.futures.Future` whose callbacks run in a copy of the context of their registration.

    The stdlib's runs them in whatever context the finishing thread has: the worker's empty one while
    the future is pending, the registering caller's own once it is done.
    """

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """
        Have `fn(future)` called when the future is done, cancelled, or already either.

        Context:
            *When*: at this call. *What the callee sees*: the values of the registering caller, in a
            copy of its own. *What comes back*: nothing. Thread-safe.
        """
        super().add_done_callback(_ContextCallback(runner_elsewhere(), fn))


class _ContextCallback:
    __slots__ = ("_fn", "_run")

    def __init__(self, run: Callable[..., Any], fn: Callable[[Future[Any]], object]) -> None:
        self._run: Optional[Callable[..., Any]] = run
        self._fn = fn

    def __call__(self, future: Future[Any]) -> None:
        # A future keeps its callbacks after it has called them; the context must not stay with them.
        run, self._run = self._run, None
        if run is not None:
            run(self._fn, future)
