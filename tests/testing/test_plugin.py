"""
The fixtures for pytest, each in a real pytest of its own, as their users have them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator

import pytest

import clew

if TYPE_CHECKING:
    from clew.testing.fakes import CountedIds, FakeClock

pytest_plugins = ["pytester"]

TIMEOUT = 100  # seconds; only a test that hangs gets near it
ARGUMENTS = ("-p", "no:cacheprovider", "-W", "error")
HEADLINE = "*- clew runs -*"


@pytest.fixture(autouse=True)
def without_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have pytest load only the plugins that it is told, as those of others take most of its time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, source: str, *arguments: str) -> Any:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess(*ARGUMENTS, "-p", "clew.testing.plugin", *arguments, timeout=TIMEOUT)


def test_the_fixtures_are_there_without_a_word(
    clew_runs: clew.Recording, clew_clock: FakeClock, clew_ids: CountedIds
) -> None:
    with clew.trace("outer") as outer, clew.trace("inner") as inner:
        clew_clock.advance(2)
    assert (outer.id, inner.id) == (clew_ids.nth(1), clew_ids.nth(2))
    assert clew_runs.tree(details=True) == "outer 2.00 s\n└── inner 2.00 s"


LOST = """
    import threading
    import clew

    @clew.traceable
    def fetch(page):
        raise KeyError(page)

    def test_lost(clew_runs, clew_clock):
        thread = threading.Thread(target=lambda: None)
        with clew.trace("crawl"):
            try:
                fetch("a")
            except KeyError:
                pass
            clew_clock.advance(1)
        clew_runs.assert_tree("crawl")
"""


def test_a_failing_test_reports_the_tree_of_its_runs(pytester: pytest.Pytester) -> None:
    result = run(pytester, LOST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [HEADLINE, "crawl 1.00 s", "└── fetch 0.0 ms [[]error] KeyError: 'a'", "=* short test summary *"]
    )


def test_the_report_has_the_tree_once_and_as_a_section(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LOST)
    result = pytester.inline_run(*ARGUMENTS, "-p", "clew.testing.plugin")
    failed = [report for report in result.getreports("pytest_runtest_logreport") if report.failed]
    assert [report.sections for report in failed] == [
        [("clew runs", "crawl 1.00 s\n└── fetch 0.0 ms [error] KeyError: 'a'")]
    ]


def test_tests_that_pass_or_record_nothing_or_ask_for_nothing_have_no_section(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew, pytest

        def test_passing(clew_runs):
            with clew.trace("step"):
                pass
            assert len(clew_runs) == 1

        def test_without_a_run(clew_runs):
            assert len(clew_runs) == 1

        def test_without_the_fixture():
            with clew.record(), clew.trace("step"):
                pass
            assert False

        @pytest.mark.xfail(strict=True)
        def test_expected_to_fail(clew_runs):
            with clew.trace("step"):
                assert False

        def test_skipping(clew_runs):
            with clew.trace("step"):
                pytest.skip("needs nothing")
        """,
        "-rA",
    )
    result.assert_outcomes(passed=1, failed=2, xfailed=1, skipped=1)
    result.stdout.no_fnmatch_line(HEADLINE)


def test_failures_of_fixtures_and_unexpected_passes_have_their_section(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew, pytest

        @pytest.fixture
        def broken(clew_runs):
            with clew.trace("before"):
                pass
            raise ValueError("in setup")

        @pytest.fixture
        def breaking(clew_runs):
            yield
            with clew.trace("after"):
                pass
            raise ValueError("in teardown")

        def test_setup(broken):
            pass

        def test_teardown(breaking):
            pass

        @pytest.mark.xfail(strict=True)
        def test_passing_after_all(clew_runs):
            with clew.trace("strict"):
                pass
        """,
    )
    result.assert_outcomes(passed=1, failed=1, errors=2)
    for name in ("before", "after", "strict"):
        result.stdout.fnmatch_lines([HEADLINE, f"{name} * ms"])


def test_recording_is_let_go_of_when_its_test_is_reported(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import gc, weakref, clew, pytest

        references = []

        @pytest.mark.parametrize("turn", range(3))
        def test_turn(turn, clew_runs):
            gc.collect()
            assert [reference() for reference in references] == [None] * turn
            with clew.trace("step") as step:
                references.append(weakref.ref(step))
        """,
    )
    result.assert_outcomes(passed=3)


def test_each_test_has_its_own_runs_clock_and_ids(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import time, clew, pytest
        from clew.runs import run
        from clew.runs._tree import hooks
        from clew.runs._tree import ids

        @pytest.mark.parametrize("turn", range(3))
        def test_turn(turn, clew_runs, clew_clock, clew_ids):
            with clew.trace("step") as step:
                clew_clock.advance(turn)
            assert [run.id for run in clew_runs] == [clew_ids.nth(1)]
            assert clew_runs.roots[0].start_time_ns == 1577836800_000000000

        def test_afterwards():
            assert ids.now_ns is run.now_ns is time.time_ns
            assert not hooks.start_hooks
            assert clew.RunTree("one").id.int > 1 << 100
        """,
    )
    result.assert_outcomes(passed=4)


def test_tests_that_run_in_a_task_of_a_plugin_are_recorded(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew, pytest

        @pytest.fixture(params=["asyncio", "trio"])
        def anyio_backend(request):
            return request.param

        @pytest.fixture
        async def started(anyio_backend, clew_runs):
            with clew.trace("fixture"):
                yield

        @clew.traceable
        async def step():
            assert False

        @pytest.mark.anyio
        async def test_async(started, clew_runs, clew_clock, clew_ids):
            with clew.trace("test") as run:
                assert run.id == clew_ids.nth(1)
                await step()
        """,
        "-panyio",
    )
    result.assert_outcomes(failed=2)
    for _ in range(2):
        result.stdout.fnmatch_lines([HEADLINE, "*test 0.0 ms [[]error]*", "*└── step 0.0 ms [[]error] AssertionError*"])


def test_each_worker_of_xdist_has_its_own(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew, pytest

        @pytest.mark.parametrize("turn", range(8))
        def test_turn(turn, clew_runs, clew_ids, worker_id):
            with clew.trace(f"{worker_id} \\ud800"):
                pass
            assert clew_runs.roots[0].id == clew_ids.nth(1)
            assert turn % 4
        """,
        "-pxdist",
        "-n2",
    )
    result.assert_outcomes(passed=6, failed=2)
    for _ in range(2):
        result.stdout.fnmatch_lines([HEADLINE, r"'gw[01] \ud800' * ms"])


def test_unittest_has_the_fixtures_by_an_automatic_one(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import unittest, clew, pytest

        class TestOld(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def _runs(self, clew_runs):
                self.runs = clew_runs

            def test_step(self):
                with clew.trace("step"):
                    pass
                self.assertEqual(len(self.runs), 2)
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([HEADLINE, "step * ms"])


def test_a_tree_of_many_lines_is_cut(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew

        def test_many(clew_runs):
            for number in range(510):
                with clew.trace(f"run {number}"):
                    pass
            assert False
        """,
    )
    result.stdout.fnmatch_lines([HEADLINE, "run 0 * ms", "run 499 * ms", "... and 10 more"])
    result.stdout.no_fnmatch_line("run 500 *")


def test_a_tree_that_cannot_be_drawn_keeps_no_failure_from_being_reported(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import clew

        def test_undrawn(clew_runs, monkeypatch):
            with clew.trace("step"):
                pass
            monkeypatch.setattr(clew.Recording, "tree", None)
            monkeypatch.setattr(monkeypatch, "undo", lambda: None)
            assert False, "what is wrong"
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * what is wrong", HEADLINE, "(the runs could not be drawn: TypeError(*"])


def test_pytest_finds_the_fixtures_and_loads_nothing_before_one_is_used(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    pytester.makepyfile(
        """
        import sys

        def loaded():
            return {name for name in sys.modules if name.partition(".")[0] == "clew"}

        def test_before():
            assert loaded() == {"clew", "clew.testing", "clew.testing.plugin"}

        def test_used(clew_runs):
            assert "clew.runs" in loaded()
        """
    )
    # langsmith's own plugin loads what warns.
    result = pytester.runpytest_subprocess(*ARGUMENTS, "-p", "no:langsmith_plugin", timeout=TIMEOUT)
    result.assert_outcomes(passed=2)


def test_a_clew_that_was_imported_before_pytest_is_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a copy of the package that is installed file by file, as pytest rewrites the modules of no other."""
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    package = Path(clew.__file__).parent
    shutil.copytree(package, tmp_path / "clew", ignore=shutil.ignore_patterns("__pycache__"))
    files = [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.py")]
    about = tmp_path / "clew-0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: clew\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[pytest11]\nclew = clew.testing.plugin\n")
    (about / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    (tmp_path / "test_it.py").write_text(
        f"import clew\n\ndef test_it(clew_runs):\n    assert clew.__file__.startswith({str(tmp_path)!r})\n"
    )
    code = f"import clew, pytest, sys; sys.exit(pytest.main({['-q', '-p', 'no:langsmith_plugin', *ARGUMENTS]!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def programs_of_the_guide() -> Iterator[str]:
    guide = (Path(__file__).parents[2] / "docs/guides/testing.md").read_text(encoding="utf-8")
    for program in re.findall(r"^```python\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL):
        if re.search(r"^(?:async )?def test_\w+\(.*\bclew_", program, flags=re.MULTILINE):
            yield program


def test_the_tests_in_the_guide_pass(pytester: pytest.Pytester) -> None:
    programs = list(programs_of_the_guide())
    assert len(programs) >= 2
    for number, program in enumerate(programs):
        pytester.makepyfile(**{f"test_{number}": program})
    result = pytester.runpytest_subprocess(*ARGUMENTS, "-p", "clew.testing.plugin", timeout=TIMEOUT)
    result.assert_outcomes(passed=sum(program.count("def test_") for program in programs))
