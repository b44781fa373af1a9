"""
Where upper rooms plug in what the context needs of them: registries that are empty until one has.

What is registered here is registered on import of the room that has it, and called by this one.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple

__all__ = ("Tracer", "tracers", "unwrappers")


class Tracer(NamedTuple):
    """
    Hold what is needed of somebody who keeps the parent of what comes next in the context.
    """

    # Whether there is a parent in the context of the call.
    has_parent: Callable[[], bool]
    # `detach(link=...)` takes the parent away, and makes it a link of what comes next, or not. What it
    # returns puts it back, if it is called in the same context.
    detach: Callable[..., Callable[[], object]]


tracers: List[Tracer] = []

# For `unwrap`: from the type of a wrapper to what takes it off.
unwrappers: Dict[type, Callable[[Any], object]] = {}
