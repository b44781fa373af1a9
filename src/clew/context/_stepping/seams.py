"""
Registries of functions that the context room calls. Upper rooms register them on import.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple

__all__ = ("Tracer", "tracers", "unwrappers")


class Tracer(NamedTuple):
    """
    How to look for the parent of the next span or run that a tracer keeps in the context, and how to take it away.
    """

    # Returns whether the current context has a parent.
    has_parent: Callable[[], bool]
    # `detach(undo, link=...)` takes the parent away; with ``link=True`` it becomes a link of the next root. It adds to
    # the list `undo` what puts the parent back; see `clew.context._stepping.blocks`.
    detach: Callable[..., object]


tracers: List[Tracer] = []

# For `unwrap`: from the type of a wrapper to the function that returns the wrapped object.
unwrappers: Dict[type, Callable[[Any], object]] = {}
