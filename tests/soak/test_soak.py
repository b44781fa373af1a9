"""
The soak itself: one round of it runs, and finds what is wrong.
"""

from __future__ import annotations

import subprocess
import sys
from random import Random
from typing import Any, List

import pytest

import clew
from tests.soak.__main__ import growth
from tests.soak._ledger import Ledger
from tests.soak._plan import Here, Late, Work, draw, value


def test_one_round_passes() -> None:
    command = [sys.executable, "-m", "tests.soak", "--seed", "1", "--round", "0", "--without", "fork"]
    found = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    assert found.stdout.endswith("passed\n"), found.stdout
    assert found.returncode == 0


def test_program_of_a_round_depends_on_its_seed_alone() -> None:
    programs: List[Work] = [draw(Random(seed), 3) for seed in ("1:0", "1:0", "1:1")]
    assert programs[0] == programs[1] != programs[2]


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger("1")
    ledger._random = Random(0)  # whose first numbers are high, so that no export fails
    return ledger


def exported(ledger: Ledger, key: Any, times: int = 1) -> None:
    with clew.record() as runs, clew.trace("run", inputs={"key": key}):
        pass
    for _ in range(times):
        ledger.export(list(runs))


def test_ledger_passes_what_is_exported_once(ledger: Ledger) -> None:
    exported(ledger, ledger.enter(None, "success"))
    ledger.check()
    assert ledger.failures == []


def test_ledger_finds_runs_that_are_missing_unknown_or_there_twice(ledger: Ledger) -> None:
    ledger.enter(None, "success")
    exported(ledger, ledger.enter(None, "success"), times=2)
    exported(ledger, "unknown")
    ledger.check()
    assert [failure.split(":")[0] for failure in ledger.failures] == [
        "exported twice",
        "not expected",
        "never exported",
    ]


def test_ledger_finds_a_wrong_parent_and_a_wrong_status(ledger: Ledger) -> None:
    parent = ledger.enter(None, "error")
    child = ledger.enter(parent, "success")
    exported(ledger, parent)
    exported(ledger, child)
    ledger.check()
    assert len(ledger.failures) == 2
    assert "ended as success, expected error" in ledger.failures[0]
    assert "is below None, expected" in ledger.failures[1]


def test_check_finds_a_lost_variable_and_a_lost_run(ledger: Ledger) -> None:
    here = Here(ledger, Late())
    here.check("here")
    assert ledger.failures == []
    here.inside(value="ada", key=1).check("there")
    assert [failure.split(" is ")[0] for failure in ledger.failures] == [
        "there: the variable",
        "there: the current run",
    ]
    assert value.get(None) is None


def test_growth_compares_the_last_tenth_with_the_second() -> None:
    assert growth([float(number // 10) for number in range(100)]) == 9.0
