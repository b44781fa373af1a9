"""
A watch on runs that keeps none of them; the fixture `watching` has one on.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, List, Tuple

if TYPE_CHECKING:
    import clew


class Watching:
    """Watch the runs that start and end, and keep none of them."""

    def __init__(self) -> None:
        self.started: List[weakref.ref[clew.RunTree]] = []
        self.ended: List[Tuple[str, str]] = []

    def on_start(self, run: clew.RunTree) -> None:
        self.started.append(weakref.ref(run))

    def on_end(self, run: clew.RunTree) -> None:
        self.ended.append((run.name, run.status))
