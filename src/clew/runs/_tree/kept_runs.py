"""
The newest runs that have started, up to a bound in runs and in bytes: what `record()` keeps.

Guarantees: the start of a run appends it to a list and does no more. Runs that are open are kept.

Assumes: `append` and the assignment of a slice of a list are atomic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional, Set, Tuple

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.runs._tree.kept.copier import MAX_STRING_CHARS
from clew.runs._tree.kept.sizes import RUN_BYTES, size_of_run, totals

if TYPE_CHECKING:
    from clew.runs._tree.identity import Identity
    from clew.runs.run import RunTree

__all__ = ("MAX_BYTES", "MAX_RUNS", "KeptRuns")

MAX_RUNS = 100_000
MAX_BYTES = 1 << 28
_LOOK_AT = 1_024  # runs at first, or fewer if a text for each may be too much
_SAMPLED = 16  # of so many runs, the texts of one are measured
_MANY = 100  # if so many are kept, more than one is dropped at a time

_guard = ForkSafeLock()


class KeptRuns:
    """
    The runs that were appended to `runs`, without the oldest ones if there were too many at the last `look()`.
    """

    __slots__ = (
        "_counted_from",
        "_is_looking",
        "_look_at",
        "_look_at_total",
        "_max_bytes",
        "_max_runs",
        "dropped",
        "runs",
    )

    def __init__(self, max_runs: int, max_bytes: int) -> None:
        self.runs: List[RunTree] = []
        self.dropped = 0
        self._max_runs = max_runs
        self._max_bytes = max_bytes
        self._is_looking = False
        self._counted_from = totals.taken  # what was taken since is the most that large values of kept runs can take
        self._plan_look(0, 0)

    def look(self) -> None:
        """
        Drop the oldest runs if there may be too many.
        """
        if len(self.runs) > self._look_at or totals.taken > self._look_at_total:
            _guard.run(self._look)

    def _look(self) -> None:
        if self._is_looking:  # on this thread: a run has started in a finaliser or a signal handler
            return
        try:
            self._is_looking = True
            runs = list(self.runs)
            sampled = runs[::_SAMPLED] if len(runs) > _MANY else runs
            texts = sum(size_of_run(run) - run._size for run in sampled) * len(runs) // len(sampled)
            total = RUN_BYTES * len(runs) + texts + totals.taken - self._counted_from
            if len(runs) > self._max_runs or total > self._max_bytes:
                runs, total = self._drop_oldest(runs)
            self._plan_look(len(runs), total)
        finally:
            self._is_looking = False

    def _plan_look(self, count: int, total: int) -> None:
        # When the bound may be reached, if further runs are as large as those so far. A fourth later if too many are
        # open, which are not dropped.
        room = max(self._max_bytes - total, self._max_bytes // 4)
        first = min(_LOOK_AT, max(8, self._max_bytes // MAX_STRING_CHARS))
        fitting = first if not count else count * room // max(total, 1)
        planned = min(self._max_runs, count + min(fitting, count + first))
        self._look_at = planned if count <= self._max_runs else count + count // 4
        self._look_at_total = totals.taken + room

    def _drop_oldest(self, runs: List[RunTree]) -> Tuple[List[RunTree], int]:
        sizes = [RUN_BYTES + size_of_run(run) for run in runs]
        kept = self._newest(runs, sizes, sum(sizes))
        self.runs[: len(runs)] = kept
        if len(kept) < len(runs):
            self.dropped += len(runs) - len(kept)
            report("recorded_runs_dropped", "a recording was full and has dropped its oldest runs; see clew.record")
        self._counted_from = totals.taken - sum(run._size for run in kept)
        return kept, sum(RUN_BYTES + size_of_run(run) for run in kept)

    def _newest(self, runs: List[RunTree], sizes: List[int], total: int) -> List[RunTree]:
        """
        Return the runs without the oldest ones. A run below a dropped one is dropped, too, unless it is open.
        """
        # More than need be, if there are many: else each further run would have to drop another.
        share = 0.75 if len(runs) > _MANY else 1
        too_many = len(runs) - self._max_runs * share
        too_large = total - self._max_bytes * share
        if too_many <= 0 and total <= self._max_bytes:
            return runs
        ended: Set[int] = set()  # the identities of kept runs that have ended: what is below them stays with them
        dropped: Set[int] = set()
        # The newest run stays with all above it, as if they were open: the last trace may alone be too large.
        newest: Set[int] = set()
        above: Optional[Identity] = runs[-1]._identity
        while above is not None:
            newest.add(id(above))
            above = above.parent
        kept: List[RunTree] = []
        for run, size in zip(runs, sizes):
            identity, parent = id(run._identity), id(run._identity.parent)
            is_top = parent not in ended
            is_open = run._status == "pending" or identity in newest
            if not is_open and (parent in dropped or (is_top and (too_many > 0 or too_large > 0))):
                dropped.add(identity)
                too_many -= 1
                too_large -= size
                continue
            if not is_open:
                ended.add(identity)
            kept.append(run)
        return kept
