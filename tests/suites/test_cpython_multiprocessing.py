"""
CPython's own `test_multiprocessing`, its part on threads, with `ContextThreadPool` in place, and bare to compare with.

Nothing of CPython is copied: the suite is this interpreter's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from tests.suites._suites import run_bare_and_clew

RUNNER = Path(__file__).with_name("_run_cpython_multiprocessing.py")
DEADLINE = 100.0

# 75 in 3.8, 78 in 3.13; of them 24 are about pools, and make 9 of them, 11 from 3.11 on.
MINIMUM = 70
MINIMUM_OF_POOLS = (20, 9)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    return run_bare_and_clew(
        tmp_path_factory.mktemp("multiprocessing"), RUNNER, "_test_multiprocessing.py", deadline=DEADLINE
    )


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
