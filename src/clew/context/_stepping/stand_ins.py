"""
Objects that loops and executors take for a function, and that call it in a context.
"""

from __future__ import annotations

from typing import Any, Callable

__all__ = ("Job", "StandIn")


class StandIn:
    """
    The base: it has the function's attributes and repr, and is pickled as the function, as a Context cannot be pickled.
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
    Calls a function by `run`, which enters a context.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any], fn: Callable[..., Any]) -> None:
        self._run = run
        self._fn = fn

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._fn, *args, **kwargs)
