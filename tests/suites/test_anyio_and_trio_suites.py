"""
anyio's own tests of task groups and threads, and trio's of nurseries, with clew's in their place, and bare to compare.

Nothing of either is copied: trio's tests are in the package that is installed, anyio's in its source distribution.
In "shared", clew's are used as nobody else's can be: every task is given a context to share.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Set

import anyio.abc
import pytest
import trio

from tests.suites._sdists import fetch_sdist
from tests.suites._suites import run_each

RUNNER = Path(__file__).with_name("_run_pytest_suite.py")
# anyio's sleep for twenty of their seconds.
DEADLINE = 240.0
KINDS = ("bare", "clew", "shared")


class Minimum(NamedTuple):
    """
    Say what a suite comes to at least: hardly less than in the oldest release, which has a third of anyio's on uvloop.
    """

    passed: int
    opened: int
    shared: int


MINIMA = {"anyio": Minimum(passed=250, opened=250, shared=250), "trio": Minimum(passed=400, opened=1800, shared=1000)}
OF_ANYIO = ["tests/test_taskgroups.py", "tests/test_to_thread.py", "tests/test_from_thread.py"]
NOT_OF_TRIO = {
    # need packages that make certificates, or a network
    "test_dtls.py",
    "test_highlevel_ssl_helpers.py",
    "test_socket.py",
    "test_ssl.py",
    # start programs
    "test_repl.py",
    "test_subprocess.py",
}

# What no coroutine can pass that steps another one.
NOT_FOR_DRIVERS: Dict[str, Set[str]] = {
    "anyio": set(),
    # asks for the frames between its own and trio's, of which some are the driver's
    "trio": {"trio/_core/_tests/test_run.py::test_traceback_frame_removal"},
}
# 4.14+ has handles of tasks; drop the condition when older releases are.
if hasattr(anyio.abc.TaskGroup, "create_task"):
    # asks a handle for the very coroutine that a task was made of
    NOT_FOR_DRIVERS["anyio"].add("tests/test_taskgroups.py::TestCreateTask::test_coro_attr")


def find(library: str, cache: Path, directory: Path) -> List[str]:
    """
    Return the folder to which the tests of a library are relative, and their files.
    """
    if library == "anyio":
        return [str(fetch_sdist("anyio", cache, directory)), *OF_ANYIO]
    package = Path(trio.__file__).parent
    files = [
        str(path.relative_to(package.parent))
        for folder in ("_core/_tests", "_tests")
        for path in sorted((package / folder).glob("test_*.py"))
        if "open_nursery(" in path.read_text(encoding="utf-8") and path.name not in NOT_OF_TRIO
    ]
    return [str(package.parent), *files]


@pytest.fixture(scope="module", params=MINIMA)
def library(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def runs(library: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    directory = tmp_path_factory.mktemp(library)
    # It is pytest's, so that others than the first run need no network.
    cache = getattr(request.config, "cache", None)
    arguments = find(library, Path(cache.mkdir("sdists")) if cache is not None else directory, directory)
    return run_each(KINDS, directory, RUNNER, deadline=DEADLINE, arguments=[library, *arguments])


def lost(runs: Dict[str, Any], kind: str) -> Set[str]:
    """
    Return what has passed bare and does not in this kind of run.
    """
    return {*runs["bare"]["passed"]} - {*runs[kind]["passed"]}


def without_parameters(tests: Iterable[str]) -> Set[str]:
    return {test.split("[")[0] for test in tests}


@pytest.mark.parametrize("kind", ["clew", "shared"])
def test_clews_pass_every_test_that_bare_ones_pass(library: str, runs: Dict[str, Any], kind: str) -> None:
    listed = NOT_FOR_DRIVERS[library] if kind == "shared" else set()
    unexpected = sorted(test for test in lost(runs, kind) if without_parameters([test]).isdisjoint(listed))
    assert not unexpected, "\n".join(f"{test}: {runs[kind]['failed'].get(test, 'has not run')}" for test in unexpected)
    assert len(runs[kind]["passed"]) >= MINIMA[library].passed
    assert runs[kind]["unfinished"] == runs["bare"]["unfinished"] == []


def test_clews_fail_each_test_that_they_are_said_to_fail(library: str, runs: Dict[str, Any]) -> None:
    listed = NOT_FOR_DRIVERS[library]
    assert sorted(listed - without_parameters(lost(runs, "shared"))) == []
    assert sorted(listed & without_parameters(runs["shared"]["passed"])) == []


def test_suite_ran_on_the_groups_that_it_was_to_run_on(library: str, runs: Dict[str, Any]) -> None:
    minimum = MINIMA[library]
    assert runs["bare"]["counts"] == {}
    assert {*runs["clew"]["counts"]} == {"opened"}
    assert runs["clew"]["counts"]["opened"] >= minimum.opened
    assert runs["shared"]["counts"]["opened"] >= minimum.opened
    assert runs["shared"]["counts"]["shared"] >= minimum.shared
