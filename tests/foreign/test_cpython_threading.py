"""
CPython's own `test_threading`, with `ContextThread` and `ContextTimer` in place, and bare to compare with.

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

RUNNER = Path(__file__).with_name("_run_cpython_threading.py")
DEADLINE = 200.0

# 168 in 3.8, 208 in 3.13.
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
    """Run the bare suite and the one with clew at the same time."""
    if sys.implementation.name != "cpython":
        go_without("needs CPython, as its tests of threads count on its reference counting")
    if not Path(sysconfig.get_path("stdlib"), "test", "test_threading.py").is_file():
        go_without("needs CPython's test_threading, which this interpreter came without")
    directory = tmp_path_factory.mktemp("threading")
    processes = {}
    for kind in ("bare", "clew"):
        (directory / kind).mkdir()
        processes[kind] = subprocess.Popen(
            # Some tests fork with threads running, on purpose, which 3.12+ warns of.
            [sys.executable, "-W", "ignore", str(RUNNER), str(directory / f"{kind}.json"), kind],
            env=untraced_environment(),
            cwd=str(directory / kind),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        runs = {}
        for kind, process in processes.items():
            output, _ = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0, f"the {kind} run has died:\n{output}"
            runs[kind] = json.loads((directory / f"{kind}.json").read_text(encoding="utf-8"))
            print(f"{kind}: {len(runs[kind]['passed'])} passed, {len(runs[kind]['failed'])} failed")
        return runs
    finally:
        for process in processes.values():
            process.kill()
            process.wait(DEADLINE)


def test_threads_pass_every_test_of_cpython_that_the_stdlibs_pass(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"], runs["clew"]
    lost = sorted({*bare["passed"]} - {*whole["passed"]} - NOT_ABOUT_THREADS)
    assert not lost, "\n".join(f"{test}: {whole['failed'].get(test, 'has not run')}" for test in lost)
    assert len(whole["passed"]) >= MINIMUM


def test_suite_ran_on_the_classes_that_it_was_to_run_on(runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"]["started"], runs["clew"]["started"]
    assert {"threading.Thread", "threading.Timer"} == {*bare}
    assert whole["clew.ContextThread"] > 100
    assert whole["clew.ContextTimer"] == bare["threading.Timer"]
    # What other modules of the stdlib start is theirs.
    assert whole.get("threading.Thread", 0) < bare["threading.Thread"] / 10
