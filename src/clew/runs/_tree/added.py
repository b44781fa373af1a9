"""
The values that are added to one run while it is open.

How a program adds them is in `clew.runs._tree.attributes`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Optional

from clew.runs._tree.bounds import MAX_OBJECTS
from clew.runs._tree.kept.sizes import size_of_object

__all__ = ("NON_RECORDING", "RunAttributes")


class RunAttributes:
    """
    The values that were added to one run while it was open. Most runs have none.
    """

    __slots__ = ("end_time_ns", "error", "events", "metadata", "on_end", "outputs", "replaced", "sizes", "tags")

    def __init__(self) -> None:
        self.end_time_ns: Optional[int] = None  # used instead of the time at which the run really ends
        self.error: Optional[str] = None
        self.on_end: Optional[Callable[[Any], object]] = None  # gets the RunTree
        self.outputs: Optional[Dict[str, Any]] = None
        self.tags: List[str] = []
        self.metadata: Dict[str, Any] = {}
        self.events: List[Mapping[str, Any]] = []
        # By the name of a part of the run: about how many bytes the added values of this part take.
        self.sizes: Dict[str, int] = {}
        # "outputs", "tags" or "metadata" where the value here hides the result, or what the run inherits.
        self.replaced: FrozenSet[str] = frozenset()

    def replace(self, name: str, value: object) -> None:
        """
        Set the outputs, tags or metadata. The run then shows them instead of its result, or of what it inherits.
        """
        self.set_part(name, value)
        self.replaced |= {name}

    def set_part(self, name: str, value: object) -> None:
        """
        Replace the outputs, tags or metadata that were added so far.
        """
        setattr(self, name, value)
        self.measure(name, value)

    def measure(self, name: str, value: object) -> None:
        """
        Keep the size of a part of the run.
        """
        self.sizes[name] = size_of_object(value, MAX_OBJECTS)


# The attributes of all runs that are not recorded. They stay empty.
NON_RECORDING = RunAttributes()
