"""
CPython's own tests of `ThreadPoolExecutor`, with clew's pool in its place, and bare to compare with.

Nothing of CPython is copied: the suite is this interpreter's, or that of another one on PATH. What
clew's pool does beyond the stdlib's is not here but in `tests/executors`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any, Dict, List, Set, Tuple

import pytest

from tests.suites._suites import go_without, untraced_environment

RUNNER = Path(__file__).with_name("_run_cpython_suite.py")
NATIVE = "concurrent.futures.thread.ThreadPoolExecutor"
CLEWS = "clew.executors.thread_pool.ContextThreadPoolExecutor"

CLASSES = {
    "ThreadPoolAsCompletedTest",
    "ThreadPoolExecutorTest",
    "ThreadPoolFailingInitializerTest",
    "ThreadPoolInitializerTest",
    "ThreadPoolShutdownTest",
    "ThreadPoolWaitTests",
}
# How many tests, and how many interpreters that they start. The last releases have a few more of
# both: 37 and 2 in 3.8, 43 and 4 in 3.9, 45 and 4 since; their first ones had fewer.
MINIMA = {(3, 8): (35, 2), (3, 9): (40, 3)}
MINIMUM = (42, 3)

# A serial run sleeps for nearly all of its 30 seconds.
PARTS = 6
DEADLINE = 100.0


class Run:
    """Be one run of the suite: what its parts have reported, put together."""

    def __init__(self) -> None:
        self.passed: Set[str] = set()
        self.failed: Dict[str, str] = {}
        self.skipped: Set[str] = set()
        self.pool_types: Set[Tuple[str, str]] = set()
        self.pools: List[List[str]] = []
        self.scripts = 0
        self.is_altered = False
        self.output = ""

    def add(self, report: Dict[str, Any]) -> None:
        self.passed.update(report["passed"])
        self.failed.update(report["failed"])
        self.skipped.update(report["skipped"])
        self.pool_types.update(map(tuple, report["pool_types"]))
        self.scripts += report["scripts"]
        self.is_altered |= report["altered"]

    def pools_of(self, role: str) -> List[str]:
        return [pool for where, pool in self.pools if where == role]

    def __str__(self) -> str:
        return (
            f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped, "
            f"with {len(self.pools)} pools and {self.scripts} interpreters started"
        )


def has_suite(tests: Path) -> bool:
    return any((tests / f"test_concurrent_futures{tail}.py").is_file() for tail in ("", "/__init__"))


def find_borrowed() -> List[str]:
    """Return where, besides this interpreter's own `test`, its modules have to be looked for."""
    if sys.implementation.name != "cpython":
        # Elsewhere some of the tests hang, bare as well: nothing is collected when it goes out of use.
        go_without("needs CPython, as its tests of the thread pool count on its reference counting")
    own = Path(sysconfig.get_path("stdlib"), "test")
    if has_suite(own):
        return []
    if not (own / "support").is_dir():
        go_without("needs CPython's test package, which this interpreter came without")

    # Often it is installed in part: test.support, which belongs to the interpreter, without the tests.
    # 3.11 and 3.12: those of 3.10 run on them; drop with 3.12.
    lender = "3.13" if sys.version_info >= (3, 13) else "3.10"
    python = shutil.which(f"python{lender}")
    if python is not None:
        code = "import sysconfig; print(sysconfig.get_path('stdlib'))"
        found = subprocess.run([python, "-I", "-c", code], stdout=subprocess.PIPE, timeout=DEADLINE, check=False)
        tests = Path(found.stdout.decode().strip(), "test")
        if found.returncode == 0 and has_suite(tests):
            return [str(tests)]
    return go_without(
        f"needs CPython {lender}'s test package, from a python{lender} on PATH, as this interpreter's is incomplete"
    )


def start_part(directory: Path, **config: Any) -> subprocess.Popen[bytes]:
    config.update(pools=str(directory / "pools"), report=str(directory / "report"), timeout=DEADLINE)
    with (directory / "output").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, str(RUNNER), json.dumps(config)],
            env=untraced_environment(),
            cwd=str(directory),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Run]:
    """Run all parts of the bare suite and of the one with clew at the same time."""
    borrowed = find_borrowed()
    start = time.monotonic()
    processes = {}
    for kind in ("bare", "clew"):
        for part in range(PARTS):
            directory = tmp_path_factory.mktemp(f"{kind}-{part}-")
            processes[directory] = (
                kind,
                start_part(directory, borrowed=borrowed, with_clew=kind == "clew", part=part, of=PARTS),
            )
    runs = {"bare": Run(), "clew": Run()}
    try:
        for directory, (kind, process) in processes.items():
            # A part that hangs ends itself, and says where; this is for one that cannot.
            process.wait(DEADLINE + 10)
            output = (directory / "output").read_text(encoding="utf-8", errors="replace")
            assert process.returncode == 0, f"a part of the {kind} run has died:\n{output}"
            run = runs[kind]
            run.add(json.loads((directory / "report").read_text(encoding="utf-8")))
            run.pools += [line.split() for line in (directory / "pools").read_text(encoding="utf-8").splitlines()]
            run.output += output
    finally:
        for _, process in processes.values():
            process.kill()
            process.wait(DEADLINE)
    print(f"CPython's own tests of the thread pool, in {time.monotonic() - start:.1f} s:")
    for kind, run in runs.items():
        print(f"{kind}: {run}")
    return runs


def test_pool_passes_every_test_of_cpython_that_the_stdlibs_passes(runs: Dict[str, Run]) -> None:
    bare, clew = runs["bare"], runs["clew"]
    lost = sorted(bare.passed - clew.passed)
    assert not lost, "\n".join(f"{test}: {clew.failed.get(test, 'has not run')}" for test in lost)
    minimum, _ = MINIMA.get(sys.version_info[:2], MINIMUM)
    assert len(clew.passed) >= minimum, clew
    assert {test.split(".")[-2] for test in clew.passed} == CLASSES


def test_pool_leaves_no_threads_behind_where_the_stdlibs_leaves_none(runs: Dict[str, Run]) -> None:
    assert runs["clew"].is_altered <= runs["bare"].is_altered, runs["clew"].output


@pytest.mark.parametrize(("kind", "pool_type"), [("bare", NATIVE), ("clew", CLEWS)])
def test_suite_ran_on_the_pool_that_it_was_to_run_on(runs: Dict[str, Run], kind: str, pool_type: str) -> None:
    run = runs[kind]
    assert run.pool_types == {(test_class, pool_type) for test_class in CLASSES}
    # Every test makes a pool, and some make more.
    assert len(run.pools_of("suite")) >= len(run.passed)
    assert set(run.pools_of("suite")) == {pool_type}
    # Each interpreter that a test starts makes one.
    _, minimum = MINIMA.get(sys.version_info[:2], MINIMUM)
    assert run.scripts >= minimum
    assert run.pools_of("child") == [pool_type] * run.scripts


def test_missing_suite_is_skipped_or_fails_where_it_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEW_REQUIRE_FOREIGN_SUITES", raising=False)
    with pytest.raises(pytest.skip.Exception, match="needs a suite"):
        go_without("needs a suite")
    monkeypatch.setenv("CLEW_REQUIRE_FOREIGN_SUITES", "1")
    with pytest.raises(pytest.fail.Exception, match="needs a suite"):
        go_without("needs a suite")
