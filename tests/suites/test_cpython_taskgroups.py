"""
CPython's own tests of `asyncio.TaskGroup`, with clew's in its place, and bare to compare with.

Nothing of CPython is copied: the suite is this interpreter's, and before 3.11, which has none, that of a 3.11 on PATH.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict

import pytest

from tests.suites._suites import go_without, run_each

RUNNER = Path(__file__).with_name("_run_cpython_taskgroups.py")
# It sleeps for six of its seconds.
DEADLINE = 60.0

# 3.11+: asyncio has one; drop the condition with 3.10.
HAS_NATIVE = sys.version_info >= (3, 11)
KINDS = ("bare", "clew", "shared") if HAS_NATIVE else ("clew", "shared")
WITH_CLEW = pytest.mark.parametrize("kind", ["clew", "shared"])

# As many as the last releases of 3.11 have; later versions have more.
MINIMUM = 35


def find_suite() -> Path:
    """
    Return the folder of a suite that runs here.
    """
    if sys.implementation.name != "cpython":
        go_without("needs CPython, as its tests of task groups count on its reference counting")
    own = Path(sysconfig.get_path("stdlib"), "test", "test_asyncio")
    if HAS_NATIVE:
        if not (own / "test_taskgroups.py").is_file():
            go_without("needs CPython's test_taskgroups.py, which this interpreter came without")
        return own
    python = shutil.which("python3.11")
    if python is not None:
        code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
        found = subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
        folder = Path(found.stdout.decode().strip(), "test", "test_asyncio")
        if found.returncode == 0 and (folder / "test_taskgroups.py").is_file():
            return folder
    return go_without("needs CPython 3.11's test_taskgroups.py, from a python3.11 on PATH")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    folder = find_suite()
    directory = tmp_path_factory.mktemp("taskgroups")
    return run_each(KINDS, directory, RUNNER, deadline=DEADLINE, arguments=[str(folder)])


@pytest.mark.skipif(HAS_NATIVE, reason="needs Python 3.10 or older, whose asyncio has no TaskGroup")
def test_bare_asyncio_has_no_task_group() -> None:
    assert not hasattr(asyncio, "TaskGroup")


@WITH_CLEW
def test_task_group_passes_every_test_of_cpython(runs: Dict[str, Any], kind: str) -> None:
    run = runs[kind]
    expected = runs["bare"]["passed"] if HAS_NATIVE else [*run["passed"], *run["failed"]]
    lost = sorted({*expected} - {*run["passed"]})
    assert not lost, "\n".join(f"{test}: {run['failed'].get(test, 'has not run')}" for test in lost)
    assert len({*run["passed"]}) >= MINIMUM


@pytest.mark.parametrize("kind", KINDS)
def test_suite_ran_on_the_groups_that_it_was_to_run_on(runs: Dict[str, Any], kind: str) -> None:
    run = runs[kind]
    assert {*run["groups"]} == {"asyncio.taskgroups.TaskGroup" if kind == "bare" else "clew.tasks.asyncio.TaskGroup"}
    # Nearly every test makes a group, and some make more; there are more tasks than groups.
    assert len(run["groups"]) >= len(run["passed"])
    assert run["shared"] >= len(run["passed"]) if kind == "shared" else run["shared"] == 0
