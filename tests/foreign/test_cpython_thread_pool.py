"""
CPython's own tests of `ThreadPoolExecutor`, with clew's pool in its place.

Nothing of CPython is copied: the suite is the one of the interpreter, or of another one on PATH.
What clew's pool does beyond the stdlib's is not here but in `tests/executors`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Dict, List, NoReturn, Set

import pytest

RUNNER = Path(__file__).with_name("_run_cpython_suite.py")
NATIVE_POOL = "concurrent.futures.thread.ThreadPoolExecutor"
CLEW_POOL = "clew.ContextThreadPoolExecutor"

CLASSES = (
    "ThreadPoolAsCompletedTest",
    "ThreadPoolExecutorTest",
    "ThreadPoolFailingInitializerTest",
    "ThreadPoolInitializerTest",
    "ThreadPoolShutdownTest",
    "ThreadPoolWaitTests",
)
# A little under what the last releases have, as earlier ones of the same version have fewer. Of the
# tests, that is; and of the interpreters that the tests start.
MINIMUM = {(3, 8): (35, 2), (3, 9): (40, 2)}
MINIMUM_SINCE_310 = (42, 3)

# Nearly all the time is sleep, so it is slept in parallel: 30 s become 10.
PARTS = 4
TIMEOUT = 100


class Run:
    """
    Be what the parts of one run of the suite have reported, put together.
    """

    def __init__(self, reports: List[Dict[str, Any]], pools: List[str], output: str, duration: float) -> None:
        self.passed: Set[str] = {test for report in reports for test in report["passed"]}
        self.failed: Set[str] = {test for report in reports for test in report["failed"]}
        self.skipped: Set[str] = {test for report in reports for test in report["skipped"]}
        self.pool_types: Set[str] = {name for report in reports for name in report["pool_types"]}
        self.scripts: int = sum(report["scripts"] for report in reports)
        self.altered: bool = any(report["altered"] for report in reports)
        self.pools = pools
        self.output = output
        self.duration = duration

    def __str__(self) -> str:
        counts = f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        return f"{counts}, {len(self.pools)} pools, {self.scripts} interpreters, {self.duration:.1f} s"


class Runs:
    """
    Be the two runs to compare: with the stdlib's pool, and with clew's.
    """

    def __init__(self, bare: Run, clew: Run) -> None:
        self.bare = bare
        self.clew = clew


def go_without(what: str) -> NoReturn:
    """
    Skip for want of `what`, or fail where the environment says that nothing may be missing.
    """
    if os.environ.get("CLEW_REQUIRE_FOREIGN_SUITES") == "1":
        pytest.fail(f"{what} (CLEW_REQUIRE_FOREIGN_SUITES is 1)")
    pytest.skip(what)


def has_suite(tests: Path) -> bool:
    return any((tests / name).is_file() for name in ("test_concurrent_futures.py", "test_concurrent_futures/__init__.py"))


def find_borrowed() -> List[str]:
    """
    Return the directories, besides this interpreter's own, in which to look for the suite.
    """
    own = Path(sysconfig.get_path("stdlib")) / "test"
    if has_suite(own):
        return []
    if not (own / "support").is_dir() or sys.version_info >= (3, 13):
        go_without("needs CPython's test package, which is not installed with this interpreter")

    # 3.11 and 3.12: installers often leave the suite out there, where it was becoming a package; that
    # of 3.10 runs with their test.support. Drop with 3.12.
    python = shutil.which("python3.10")
    if python is not None:
        code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
        found = subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, timeout=60, check=False)
        tests = Path(found.stdout.decode().strip()) / "test"
        if found.returncode == 0 and has_suite(tests):
            return [str(tests)]
    return go_without("needs CPython 3.10's test package, of a python3.10 on PATH, as this interpreter has no such suite")


def run_both(directory: Path) -> Runs:
    """
    Run the suite bare and with clew at the same time, each in parts.
    """
    # A tracer in the interpreters that tests start would write to the output that they check.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    borrowed = find_borrowed()
    start = time.monotonic()
    processes = {}
    for kind in ("bare", "clew"):
        for part in range(PARTS):
            name = f"{kind}-{part}"
            config = {
                "borrowed": borrowed,
                "with_clew": kind == "clew",
                "part": part,
                "of": PARTS,
                "pools": str(directory / f"{name}.pools"),
                "report": str(directory / f"{name}.json"),
                "timeout": TIMEOUT,
            }
            command = [sys.executable, str(RUNNER), json.dumps(config)]
            with (directory / f"{name}.out").open("wb") as output:
                processes[name] = subprocess.Popen(
                    command, env=env, cwd=str(directory), stdin=subprocess.DEVNULL, stdout=output, stderr=output
                )
