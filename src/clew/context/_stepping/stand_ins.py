"""
What stands for a function where a loop or an executor is given one, and calls it in a context.
"""

from __future__ import annotations

from typing import Any, Callable

__all__ = ("Job", "StandIn")


class StandIn:
    """
    Stand for a function: under its name, and pickled as the function itself, as a Context cannot be pickled.
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
    Stand for a function that `run` calls.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Callable[..., Any], fn: Callable[..., Any]) -> None:
        self._run = run
        self._fn = fn

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return self._run(self._fn, *args, **kwargs)
