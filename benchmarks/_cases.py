"""
What a benchmark is: cases in sections in groups, and the loop that most of them share.

How they are run is in `benchmarks._pyperf_script`, how they are shown in `benchmarks._table`.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from importlib import import_module, metadata
from itertools import repeat
from time import perf_counter
from typing import Callable, ContextManager, Optional, Tuple

__all__ = ("BATCH", "HOT_PATHS", "TIMED_GROUPS", "Case", "Section", "calls", "echo", "sections_of")

TIMED_GROUPS = {
    "executors": "benchmarks.executors",
    "threads": "benchmarks.threads",
    "sharing": "benchmarks.sharing",
    "stepping": "benchmarks.stepping",
    "generators": "benchmarks.generators",
    "tasks": "benchmarks.tasks",
    "traceable": "benchmarks.traceable",
    "propagation": "benchmarks.propagation",
    "export": "benchmarks.export",
    "import": "benchmarks.start_up",
}

# What `python -m benchmarks --against` measures if no group is named. Its cases are in other groups, too.
HOT_PATHS = {"hot_paths": "benchmarks.hot_paths"}

# One loop of pyperf's is this many operations. It is also the size of one `map` and of one recording,
# so that no figure depends on how many loops pyperf finds right for the machine.
BATCH = 1_000

# Given a number of loops, do that many times BATCH operations and return the seconds they took.
Measure = Callable[[int], float]


@dataclass(frozen=True)
class Case:
    """
    Hold one row: what is measured, and the bar it is to clear.

    Args:
        measure: the operation, set up inside and timed without the set-up.
        command: instead of `measure`, arguments to the interpreter whose whole run is the operation.
        package: the distribution that the case needs, None if clew and the stdlib will do.
        most_us: the bar for the time of one operation.
        most_above_us: the bar for its difference from the section's baseline.
        most_ratio: the bar for its ratio to the section's baseline.
        less_than: the name of a case in the same section that has to take longer.
    """

    name: str
    measure: Optional[Measure] = None
    command: Tuple[str, ...] = ()
    package: Optional[str] = None
    most_us: Optional[float] = None
    most_above_us: Optional[float] = None
    most_ratio: Optional[float] = None
    less_than: Optional[str] = None

    @property
    def version(self) -> Optional[str]:
        """
        The version of `package`, an empty string if the case needs none, None if it is not installed.
        """
        if self.package is None:
            return ""
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return None


@dataclass(frozen=True)
class Section:
    """
    Hold the cases that do the same operation; the first one is the baseline of the others.
    """

    operation: str
    cases: Tuple[Case, ...]

    def title(self, case: Case) -> str:
        """
        Return the name of a case of this section that no other section has.
        """
        return f"{self.operation}: {case.name}"


def sections_of(group: str) -> Tuple[Section, ...]:
    return import_module({**TIMED_GROUPS, **HOT_PATHS}[group]).SECTIONS


def echo(value):
    """
    Be the job: as little as a function can do with an argument.
    """
    return value


def calls(function: Callable[[int], object], scope: Callable[[], ContextManager[object]] = nullcontext) -> Measure:
    """
    Return a measure whose operation is `function(1)`, with a new `scope()` around each batch.

    The for loop around the call counts, as it does in every case alike, and so does leaving the scope:
    a recording is paid for when it is dropped, too.
    """

    def measure(loops: int) -> float:
        with scope():
            function(1)  # whatever is compiled, cached or imported at a first call
        start = perf_counter()
        for _ in repeat(None, loops):
            with scope():
                for _ in repeat(None, BATCH):
                    function(1)
        return perf_counter() - start

    return measure
