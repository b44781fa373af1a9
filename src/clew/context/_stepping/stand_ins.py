"""
Callable objects that event loops and executors get in the place of a function, and that call it in a context.
"""

from __future__ import annotations

from typing import Any, Callable

__all__ = ("Job", "StandIn")


class StandIn:
    """
    An object with the attributes and the repr of a function. It is pickled as the function, without the context.
    """

    __slots__ = ("_fn",)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fn, name)

    def __repr__(self) -> str:
        return repr(self._fn)

    def __reduce__(self) -> Any:
        return _itself, (self._fn,)


def _itself(fn: Any) -> Any:
    return fn


class Job(StandIn):
    """
    A callable that calls a function by `run`, which enters a context.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any], fn: Callable[..., Any]) -> None:
        self._run = run
        self._fn = fn

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._fn, *args, **kwargs)
