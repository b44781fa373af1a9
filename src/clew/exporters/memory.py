"""
An exporter that keeps finished runs in memory.

To record the runs of one block of code, use `clew.record`.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import Deque, List, Sequence, Tuple

from clew._shared.locks import ForkSafeLock
from clew.errors import ArgumentValueError
from clew.runs._tree.bounds import MAX_OBJECTS
from clew.runs._tree.kept.sizes import RUN_BYTES, size_of_object
from clew.runs._tree.options import check_bound
from clew.runs.finished import Run

__all__ = ("MemoryExporter",)


_guard = ForkSafeLock()


class MemoryExporter:
    """
    Keeps finished runs in memory: the newest ones.

    Args:
        max_runs: how many runs to keep.
        max_bytes: about how many bytes these may take.

    Raises:
        ArgumentTypeError: `max_bytes` is not a whole number.
        ArgumentValueError: a bound is not positive.

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

    def __init__(self, *, max_runs: int = 10_000, max_bytes: int = 1 << 28) -> None:
        if not max_runs > 0:
            raise ArgumentValueError(f"expected a positive number of runs to keep, got {max_runs!r}; pass 1 or more")
        self._max_bytes = check_bound(max_bytes, "max_bytes")
        self._runs: Deque[Tuple[Run, int]] = deque(maxlen=max_runs)

    @property
    def runs(self) -> Tuple[Run, ...]:
        """
        The kept runs, in the order in which they ended.
        """
        kept: List[Tuple[Run, int]] = _guard.run(list, self._runs)
        return tuple([run for run, _ in kept])

    def clear(self) -> None:
        """
        Forget all runs.
        """
        _guard.run(self._runs.clear)

    def export(self, runs: Sequence[Run]) -> None:
        """
        Keep the runs.
        """
        _guard.run(self._keep, runs)

    def _keep(self, runs: Sequence[Run]) -> None:
        for run in runs:
            parts = (run.inputs, run.outputs, run.metadata, run.events)
            self._runs.append((run, RUN_BYTES + size_of_object(parts, MAX_OBJECTS)))
        total = sum(size for _, size in list(self._runs))
        with suppress(IndexError):  # a signal handler has called `clear`
            while total > self._max_bytes and len(self._runs) > 1:
                total -= self._runs.popleft()[1]

    def shutdown(self, timeout: float) -> None:
        """
        Do nothing: the kept runs can still be read.
        """
