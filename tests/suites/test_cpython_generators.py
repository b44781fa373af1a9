"""
CPython's own suites about generators, with all of their generator functions decorated, and bare to compare with.

Nothing of CPython is copied: the suites are this interpreter's own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Dict, NamedTuple, Set

import pytest

from tests.suites._suites import run_bare_and_clew

RUNNER = Path(__file__).with_name("_run_cpython_generators.py")
DEADLINE = 60.0


class Minimum(NamedTuple):
    """
    Say what a suite comes to at least: hardly less than in 3.8, to which later versions add.
    """

    passed: int
    decorated: int
    generators: int
    async_generators: int


SUITES = {
    "test_generators.py": Minimum(passed=285, decorated=130, generators=5000, async_generators=0),
    "test_yield_from.py": Minimum(passed=33, decorated=55, generators=75, async_generators=0),
    "test_asyncgen.py": Minimum(passed=49, decorated=55, generators=20, async_generators=45),
    "test_coroutines.py": Minimum(passed=90, decorated=25, generators=50, async_generators=20),
    "test_contextlib.py": Minimum(passed=78, decorated=15, generators=25, async_generators=0),
    "test_contextlib_async.py": Minimum(passed=41, decorated=15, generators=0, async_generators=15),
}

# What no generator can pass that drives another one, and no function that is more than a function.
NOT_FOR_DRIVERS: Dict[str, Set[str]] = {
    "test_generators.py": {
        # asks what the body delegates to, and is told what the driver does
        "test.test_generators.YieldFromTests.test_generator_gi_yieldfrom",
        # ask for the code of the generator, which is the driver's
        "test.test_generators.__test__.syntax: g.gi_code is f.__code__",
        "test.test_generators.__test__.syntax: g.gi_code is f.__code__ (2)",
        # asks for the type of the function: no function of Python's own captures at its call, and has a `yield`
        "test.test_generators.__test__.email: type(g)",
    },
    "test_coroutines.py": {
        # knows what a coroutine awaits by the code of it, which is the driver's
        "test.test_coroutines.CoroutineTest.test_cr_await",
    },
}
# 3.9+ has these; drop the condition with 3.8.
if sys.version_info >= (3, 9):
    NOT_FOR_DRIVERS["test_generators.py"] |= {
        # walk the frames of the stack, of which one is the driver's
        "test.test_generators.GeneratorStackTraceTest.test_send_with_yield_from",
        "test.test_generators.GeneratorStackTraceTest.test_throw_with_yield_from",
    }


@pytest.fixture(scope="module", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def runs(suite: str, tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    return run_bare_and_clew(tmp_path_factory.mktemp(suite), RUNNER, suite, deadline=DEADLINE, arguments=[suite])


def test_generators_pass_every_test_of_cpython_that_bare_ones_pass(suite: str, runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"], runs["clew"]
    lost = {*bare["passed"]} - {*whole["passed"]}
    unexpected = sorted(lost - NOT_FOR_DRIVERS.get(suite, set()))
    assert not unexpected, "\n".join(f"{test}: {whole['failed'].get(test, 'has not run')}" for test in unexpected)
    assert len(whole["passed"]) >= SUITES[suite].passed


def test_generators_fail_each_test_that_they_are_said_to_fail(suite: str, runs: Dict[str, Any]) -> None:
    listed = NOT_FOR_DRIVERS.get(suite, set())
    assert sorted(listed - {*runs["bare"]["passed"]}) == []
    assert sorted(listed - {*runs["clew"]["failed"]}) == []


def test_suite_ran_on_the_generators_that_it_was_to_run_on(suite: str, runs: Dict[str, Any]) -> None:
    bare, whole = runs["bare"], runs["clew"]
    assert (bare["decorated"], bare["made"]) == (0, {})
    assert whole["decorated"] >= SUITES[suite].decorated
    assert whole["made"].get("generator", 0) >= SUITES[suite].generators
    assert whole["made"].get("async_generator", 0) >= SUITES[suite].async_generators
