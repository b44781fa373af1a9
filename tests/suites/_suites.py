"""
What the tests that run somebody else's suite share: what to do without one, its surroundings, and two runs to compare.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, NoReturn, Sequence

import pytest


def go_without(what: str) -> NoReturn:
    if os.environ.get("CLEW_REQUIRE_FOREIGN_SUITES") == "1":
        pytest.fail(f"{what}; CLEW_REQUIRE_FOREIGN_SUITES=1 allows nothing to be missing")
    pytest.skip(what)


def untraced_environment() -> Dict[str, str]:
    """Return the environment without coverage: a tracer in the suite's interpreters would write to their output."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def run_bare_and_clew(
    directory: Path, runner: Path, suite: str, *, deadline: float, arguments: Sequence[str] = ()
) -> Dict[str, Any]:
    """
    Run a suite of this interpreter's own bare and with clew, at the same time, and return both reports.

    Args:
        directory: for the two runs to work in.
        runner: a script that takes the file for its report, "bare" or "clew", and the deadline.
        suite: the file of it in the stdlib's folder of tests.
        deadline: seconds that the runner gives itself before it says where it hangs.
        arguments: what else the runner takes.
    """
    if sys.implementation.name != "cpython":
        go_without("needs CPython, as its tests count on its reference counting")
    if not Path(sysconfig.get_path("stdlib"), "test", suite).is_file():
        go_without(f"needs CPython's {suite}, which this interpreter came without")
    return run_each(("bare", "clew"), directory, runner, deadline=deadline, arguments=arguments)


def run_each(
    kinds: Sequence[str], directory: Path, runner: Path, *, deadline: float, arguments: Sequence[str] = ()
) -> Dict[str, Any]:
    """
    Do what `run_bare_and_clew` does, with any suite, of which the runner knows more kinds of run, or others.
    """
    processes = {}
    for kind in kinds:
        (directory / kind).mkdir()
        # To a file: nobody reads a pipe until the run is over.
        with (directory / kind / "output").open("wb") as output:
            report = str(directory / f"{kind}.json")
            processes[kind] = subprocess.Popen(
                # Some tests fork with threads running, on purpose, which 3.12+ warns of.
                [sys.executable, "-W", "ignore", str(runner), report, kind, str(deadline), *arguments],
                env=untraced_environment(),
                cwd=str(directory / kind),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
    try:
        runs = {}
        for kind, process in processes.items():
            process.wait(deadline + 10)
            text = (directory / kind / "output").read_text(encoding="utf-8", errors="replace")
            assert process.returncode == 0, f"the {kind} run has died:\n{text}"
            run = runs[kind] = json.loads((directory / f"{kind}.json").read_text(encoding="utf-8"))
            counted = [outcome for outcome in ("passed", "failed", "skipped") if outcome in run]
            print(f"{kind}: {', '.join(f'{len(run[outcome])} {outcome}' for outcome in counted)}")
        return runs
    finally:
        for process in processes.values():
            process.kill()
            process.wait(deadline)
