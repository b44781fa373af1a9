"""
The build at hand against another build, side by side: the same cases, each build in processes of its own.

Times: both builds measure a case in turn, so what slows the machine down falls on both. A process keeps the lucky or
unlucky layout of its memory, so there are several pairs of processes. Instructions: those of 2 n operations less those
of n, which leaves out the start of the process; they need valgrind, and repeat to a fraction of a percent.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from shutil import which
from statistics import median
from typing import Dict, Iterator, List, Sequence, Tuple

from benchmarks._cases import BATCH, sections_of
from benchmarks._table import aligned, in_unit, machine

__all__ = ("print_ratios",)

PROJECT = Path(__file__).resolve().parent.parent
# Short rounds: some of them are not interrupted on a machine that is busy.
PAIRS, ROUNDS, ROUND_S = 5, 20, 0.004

Title = Tuple[str, str]  # the operation, and the case
Titles = Dict[str, Title]  # by the title that no other case has


def print_ratios(groups: Sequence[str], against: str, *, part: str, counts: bool, smoke: bool) -> None:
    """
    Print for each case of `groups` what an operation takes in both builds, and the ratio.

    Args:
        against: a directory with the package or with `src`, or a revision of this repository.
        part: what the title of a case has in it.
        counts: whether to count instructions instead of taking the time.
        smoke: whether to take one short measurement only, to see that it runs.
    """
    if counts and which("valgrind") is None:
        raise SystemExit("expected valgrind on the PATH to count instructions, found none; install it")
    with source_of(against) as before:
        builds = (before, PROJECT / "src")
        print(f"{machine({})}: {against} against {builds[1]}\n", flush=True)
        for group in groups:
            rows = [("operation", "case", "before", "here", "ratio", "")]
            for title, measured in (counted if counts else timed)(group, titles_of(group, part), builds, smoke=smoke):
                rows.append((*title, *measured))
            print(f"## {group}\n\n{aligned(rows, left=2)}\n", flush=True)


@contextmanager
def source_of(against: str) -> Iterator[Path]:
    for directory in (Path(against), Path(against, "src")):
        if (directory / "clew").is_dir():
            yield directory.resolve()
            return
    command = ["git", "-C", str(PROJECT), "archive", "--format=tar", against, "src"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"expected a directory with the package, or a revision, got {against!r}; see the error of git")
    with tempfile.TemporaryDirectory() as directory, tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(directory, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        yield Path(directory, "src")


def timed(group: str, titles: Titles, builds: Sequence[Path], *, smoke: bool) -> Iterator[Tuple[Title, Sequence[str]]]:
    taken: Dict[str, List[Tuple[float, float]]] = {title: [] for title in titles}
    for pair in range(1 if smoke else PAIRS):
        print(f"{group}: pair of processes {pair + 1}", file=sys.stderr, flush=True)
        with ExitStack() as stack:
            workers = [stack.enter_context(Worker(group, build)) for build in builds]
            for title in titles:
                loops = 1 if smoke else max(1, round(ROUND_S / (workers[0].seconds(title, 1) * BATCH)))
                best = [float("inf")] * 2
                for number in range(1 if smoke else ROUNDS):
                    for which_build in (0, 1) if number % 2 else (1, 0):
                        best[which_build] = min(best[which_build], workers[which_build].seconds(title, loops))
                taken[title].append((best[0], best[1]))
    for title, pairs in taken.items():
        ratios = sorted(here / before for before, here in pairs)
        times = [in_unit(median(column)) for column in zip(*pairs)]
        yield titles[title], (*times, f"{median(ratios):.3f}", f"{ratios[0]:.3f} to {ratios[-1]:.3f}")


def counted(
    group: str, titles: Titles, builds: Sequence[Path], *, smoke: bool
) -> Iterator[Tuple[Title, Sequence[str]]]:
    for build in builds:
        with Worker(group, build):
            pass  # writes the byte code that the first process would otherwise compile
    for title in list(titles)[: 1 if smoke else None]:
        print(f"{group}: {title}", file=sys.stderr, flush=True)
        before, here = ((count(group, build, title, 2) - count(group, build, title, 1)) / BATCH for build in builds)
        yield titles[title], (f"{before:,.0f}", f"{here:,.0f}", f"{here / before:.3f}", "instructions")


def count(group: str, build: Path, title: str, loops: int) -> int:
    with Worker(group, build, "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null") as worker:
        worker.seconds(title, loops)
        _, report = worker.process.communicate()
    found = re.search(r"Collected : (\d+)", report)
    if found is None:
        raise SystemExit(f"expected a count of valgrind's, found {report!r}")
    return int(found[1])


def titles_of(group: str, part: str) -> Titles:
    # What needs a package of others, or is the start of a process, is not clew's to compare.
    sections = sections_of(group)
    cases = [(section, case) for section in sections for case in section.cases if case.measure and not case.package]
    titles = {section.title(case): (section.operation, case.name) for section, case in cases}
    return {title: each for title, each in titles.items() if part in title}


class Worker:
    """
    A process of one build. As a block it starts there, and ends at the exit.
    """

    def __init__(self, group: str, build: Path, *runner: str) -> None:
        path = os.pathsep.join((str(build), str(PROJECT)))
        self.process = subprocess.Popen(
            [*runner, sys.executable, "-m", "benchmarks._worker", group],
            cwd=str(PROJECT),
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if runner else None,
            universal_newlines=True,
        )

    def seconds(self, title: str, loops: int) -> float:
        self.process.stdin.write(f"{title}\t{loops}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{title}: the process ended with {self.process.wait()}; see its error")
        return float(answer)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.communicate()
