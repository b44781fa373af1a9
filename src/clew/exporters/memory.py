"""
An exporter that keeps finished runs in memory.

To record the runs of one block of code, use `clew.record`.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Sequence, Tuple

from clew.errors import ArgumentValueError
from clew.runs.finished import Run

__all__ = ("MemoryExporter",)


class MemoryExporter:
    """
    Keeps finished runs in memory: the newest `max_runs` of them.

    Args:
        max_runs: how many runs to keep.

    Raises:
        ArgumentValueError: `max_runs` is not a positive number.

    Example:
        >>> import clew
        >>> from clew.exporters.memory import MemoryExporter
        >>> exporter = MemoryExporter()
        >>> clew.configure(exporter=exporter)
        >>> with clew.trace("fetch"):
        ...     pass
        >>> clew.flush()
        True
        >>> [run.name for run in exporter.runs]
        ['fetch']
        >>> clew.shutdown()
        True
    """

    def __init__(self, *, max_runs: int = 10_000) -> None:
        if not max_runs > 0:
            raise ArgumentValueError(f"expected a positive number of runs to keep, got {max_runs!r}; pass 1 or more")
        self._runs: Deque[Run] = deque(maxlen=max_runs)

    @property
    def runs(self) -> Tuple[Run, ...]:
        """
        The kept runs, in the order in which they ended.
        """
        return tuple(self._runs.copy())

    def clear(self) -> None:
        """
        Forget all runs.
        """
        self._runs.clear()

    def export(self, runs: Sequence[Run]) -> None:
        """
        Keep the runs.
        """
        self._runs.extend(runs)

    def shutdown(self, timeout: float) -> None:
        """
        Do nothing: the kept runs can still be read.
        """
