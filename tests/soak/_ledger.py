"""
The ledger of a soak: which runs must reach the exporter, below which run, and how they must end.
"""

from __future__ import annotations

import threading
from itertools import count
from random import Random
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import clew


class Expected(NamedTuple):
    """A run that must be exported once."""

    parent: Optional[int]  # the key of the parent
    parent_id: Optional[str]  # instead of a key, where the parent is a run of another process
    status: str


class Ledger:
    """
    An exporter that fails now and then, and compares what it gets with what it must get.

    A run is known by its input `key`. The program enters it before the run starts.
    """

    def __init__(self, seed: str) -> None:
        self.failures: List[str] = []
        self.runs = 0
        self._keys = count(1)
        self._random = Random(f"{seed}:exporter")
        self.renew()

    def renew(self) -> None:
        """Begin anew, also in a forked child, where the thread that may hold the lock does not exist."""
        self._lock = threading.Lock()
        self._expected: Dict[int, Expected] = {}
        self._seen: Dict[int, clew.Run] = {}

    def enter(self, parent: Optional[int], status: str, parent_id: Optional[str] = None) -> int:
        """Expect a run, and return its key."""
        with self._lock:
            key = next(self._keys)
            self._expected[key] = Expected(parent, parent_id, status)
            return key

    def fail(self, message: str) -> None:
        """Note a broken invariant."""
        with self._lock:
            if len(self.failures) < 20:
                self.failures.append(message)

    def export(self, runs: Sequence[clew.Run]) -> None:
        """Take finished runs, or fail before any of them is taken."""
        if self._random.random() < 0.05:
            raise OSError("the soak's exporter fails now and then")
        for run in runs:
            key: Any = (run.inputs or {}).get("key")
            with self._lock:
                is_known, is_second = key in self._expected, key in self._seen
                self._seen[key] = run
                self.runs += 1
            if is_second or not is_known:
                self.fail(f"{'exported twice' if is_second else 'not expected'}: {run!r} {run.inputs}")

    def shutdown(self, timeout: float) -> None:
        """Do nothing: the soak replaces the pipeline and keeps the exporter."""

    def check(self) -> None:
        """Compare what was exported since the last check, when every run has ended and was delivered."""
        with self._lock:
            expected, seen = self._expected, self._seen
            self._expected, self._seen = {}, {}
        for key, one in expected.items():
            run = seen.get(key)
            if run is None:
                self.fail(f"never exported: run {key}, {one}")
                continue
            above = seen.get(one.parent) if one.parent is not None else None
            parent_id = one.parent_id if above is None else str(above.id)
            found = None if run.parent_id is None else str(run.parent_id)
            if found != parent_id:
                self.fail(f"{run.name} {key} is below {found}, expected {one.parent} {parent_id}")
            if run.status != one.status:
                self.fail(f"{run.name} {key} ended as {run.status}, expected {one.status}: {run.error}")
