"""
Exporters for the tests: one that keeps, one that fails, one that hangs; and pipelines that are closed in the end.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence

import clew
from clew.exporters.pipeline import Pipeline
from tests.edges._threads import DEADLINE


class Keeping:
    """Keep the batches, and tell of each."""

    def __init__(self) -> None:
        self.batches: List[List[clew.Run]] = []
        self.threads: List[threading.Thread] = []
        self.shutdowns: List[float] = []

    def export(self, runs: Sequence[clew.Run]) -> None:
        self.threads.append(threading.current_thread())
        self.batches.append(list(runs))

    def shutdown(self, timeout: float) -> None:
        self.shutdowns.append(timeout)

    @property
    def names(self) -> List[str]:
        return [run.name for batch in self.batches for run in batch]


class Failing(Keeping):
    """Raise the given errors, one at each call, and then keep."""

    def __init__(self, *errors: BaseException) -> None:
        super().__init__()
        self.errors = list(errors)

    def export(self, runs: Sequence[clew.Run]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().export(runs)


class Hanging(Keeping):
    """Hang in each call until somebody lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_in = threading.Event()
        self.may_go = threading.Event()

    def export(self, runs: Sequence[clew.Run]) -> None:
        self.is_in.set()
        assert self.may_go.wait(DEADLINE)
        super().export(runs)


@contextmanager
def exporting_to(*exporters: Any, **options: Any) -> Iterator[Pipeline]:
    """Have a pipeline open for a block. Batches wait for nobody, and neither do retries, unless a test says so."""
    pipeline = Pipeline(exporters, **{"delay": 0.0, "back_off": 0.0, **options})
    pipeline.open()
    try:
        yield pipeline
    finally:
        for exporter in exporters:
            getattr(exporter, "may_go", threading.Event()).set()
        pipeline.shutdown(DEADLINE)


def make_run(name: str) -> None:
    with clew.trace(name):
        pass


def counted(kind: str, call: Callable[[], object]) -> int:
    """Return how many incidents of a kind a call has brought."""
    before = clew.stats().get(kind, 0)
    call()
    return clew.stats().get(kind, 0) - before


def run_python(code: str, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        check=False,
        cwd=Path(__file__).parents[2],
        **options,
    )
