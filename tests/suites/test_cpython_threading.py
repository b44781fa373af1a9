"""
CPython's own `test_threading`, with `ContextThread` and `ContextTimer` in place, and bare to compare with.

Nothing of CPython is copied: the suite is this interpreter's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from tests.suites._suites import run_bare_and_clew

RUNNER = Path(__file__).with_name("_run_cpython_threading.py")
DEADLINE = 200.0

# 168 in 3.8, 207 in 3.13.
MINIMUM = 150

# What no other class can pass, however like the stdlib's it is.
NOT_ABOUT_THREADS = {
    # compares the names of the module with the classes that say they are from there
    "test.test_threading.MiscTestCase.test__all__",
    # needs an interpreter that has not imported `threading`, where clew's classes need it
    "test.test_threading.ThreadTests.test_import_from_another_thread",
    # prints the name of the class, and expects "Thread"
    "test.test_threading.ThreadTests.test_main_thread_after_fork_from_nonmain_thread",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    return run_bare_and_clew(tmp_path_factory.mktemp("threading"), RUNNER, "test_threading.py", deadline=DEADLINE)


def test_threads_pass_every_test_of_cpython_that_the_stdlibs_pass(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"], runs["clew"]
    lost = sorted({*bare["passed"]} - {*whole["passed"]} - NOT_ABOUT_THREADS)
    assert not lost, "\n".join(f"{test}: {whole['failed'].get(test, 'has not run')}" for test in lost)
    assert len(whole["passed"]) >= MINIMUM


def test_suite_ran_on_the_classes_that_it_was_to_run_on(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"]["started"], runs["clew"]["started"]
    assert {"threading.Thread", "threading.Timer"} == {*bare}
    assert whole["clew.executors.threads.ContextThread"] > 100
    assert whole["clew.executors.threads.ContextTimer"] == bare["threading.Timer"]
    # What other modules of the stdlib start is theirs.
    assert whole.get("threading.Thread", 0) < bare["threading.Thread"] / 10
