"""
CPython's own `test_multiprocessing`, its part on threads, with `ContextThreadPool` in place, and bare to compare with.

Nothing of CPython is copied: the suite is this interpreter's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.foreign._suites import go_without, untraced_environment

RUNNER = Path(__file__).with_name("_run_cpython_multiprocessing.py")
DEADLINE = 100.0

# 75 in 3.8, 78 in 3.13; of them 24 are about pools, and make 9 of them, 11 from 3.11 on.
MINIMUM = 70
MINIMUM_OF_POOLS = (20, 9)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """Run the bare suite and the one with clew at the same time."""
    if sys.implementation.name != "cpython":
        go_without("needs CPython, as its tests of pools count on its reference counting")
    if not Path(sysconfig.get_path("stdlib"), "test", "_test_multiprocessing.py").is_file():
        go_without("needs CPython's tests of multiprocessing, which this interpreter came without")
    directory = tmp_path_factory.mktemp("multiprocessing")
    processes = {}
    for kind in ("bare", "clew"):
        (directory / kind).mkdir()
        with (directory / kind / "output").open("wb") as output:
            processes[kind] = subprocess.Popen(
                # One test forks with threads running, which 3.12+ warns of.
                [sys.executable, "-W", "ignore", str(RUNNER), str(directory / f"{kind}.json"), kind, str(DEADLINE)],
                env=untraced_environment(),
                cwd=str(directory / kind),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    try:
        runs = {}
        for kind, process in processes.items():
            # A run that hangs ends itself, and says where; this is for one that cannot.
            process.wait(DEADLINE + 10)
            text = (directory / kind / "output").read_text(encoding="utf-8", errors="replace")
            assert process.returncode == 0, f"the {kind} run has died:\n{text}"
            run = runs[kind] = json.loads((directory / f"{kind}.json").read_text(encoding="utf-8"))
            counts = ", ".join(f"{len(run[outcome])} {outcome}" for outcome in ("passed", "failed", "skipped"))
            print(f"{kind}: {counts}, pools made: {run['made']}")
        return runs
    finally:
        for process in processes.values():
            process.kill()
            process.wait(DEADLINE)


def test_pool_passes_every_test_of_cpython_that_the_stdlibs_passes(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"], runs["clew"]
    lost = sorted({*bare["passed"]} - {*whole["passed"]})
    assert not lost, "\n".join(f"{test}: {whole['failed'].get(test, 'has not run')}" for test in lost)
    assert {*whole["failed"]} <= {*bare["failed"]}
    assert len(whole["passed"]) >= MINIMUM


def test_pool_leaves_no_threads_behind_where_the_stdlibs_leaves_none(runs: Dict[str, Any]) -> None:
    assert runs["clew"]["altered"] <= runs["bare"]["altered"]


def test_suite_ran_on_the_pool_that_it_was_to_run_on(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"]["made"], runs["clew"]["made"]
    tests, pools = MINIMUM_OF_POOLS
    assert sum(".WithThreadsTestPool." in test for test in runs["clew"]["passed"]) >= tests
    assert {*bare} == {"ThreadPool"}
    assert {*whole} == {"ContextThreadPool"}
    assert whole["ContextThreadPool"] == bare["ThreadPool"] >= pools
