"""
Fixtures for pytest, which finds them wherever clew is installed: `clew_runs`, `clew_clock` and `clew_ids`.

Nothing of clew's is loaded, and nothing changes, before a test asks for one of them.

PYTEST_DONT_REWRITE, as for clew itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator
from weakref import WeakKeyDictionary

import pytest

if TYPE_CHECKING:
    from clew.runs.recording import Recording
    from clew.testing.fakes import CountedIds, FakeClock
else:
    # For the hints of the fixtures: every session of pytest loads this module, most without any of these.
    CountedIds = FakeClock = Recording = Any

__all__ = ("clew_clock", "clew_ids", "clew_runs", "pytest_runtest_makereport")

_MOST_LINES = 500

_recordings: WeakKeyDictionary[Any, Recording] = WeakKeyDictionary()


@pytest.fixture
def clew_runs(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """
    Record the runs of the test, as `clew.record` does; if it fails, their tree is part of the report.
    """
    from clew.runs.recording import record

    with record() as runs:
        _recordings[request.node] = runs
        yield runs


@pytest.fixture
def clew_clock() -> Iterator[FakeClock]:
    """
    Give runs a clock that stands still until the test calls its `advance` or `set`.
    """
    from clew.testing.fakes import FakeClock

    with FakeClock() as clock:
        yield clock


@pytest.fixture
def clew_ids() -> Iterator[CountedIds]:
    """
    Count the ids of runs: 1, 2, 3 and so on, as UUIDs, in the order in which they are first asked for.
    """
    from clew.testing.fakes import CountedIds

    with CountedIds() as ids:
        yield ids


# First, so that it comes last and sees what others have made of the report: a test that was expected to fail.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """
    Add the tree of what was recorded to the report of a failure.
    """
    outcome: Any = yield
    # The items are there until the session ends; what a test has recorded, until all of it is reported.
    runs = _recordings.pop(item, None) if call.when == "teardown" else _recordings.get(item)
    if runs is None or outcome.excinfo is not None:
        return
    report = outcome.get_result()
    if report.failed and len(runs):
        report.sections.append(("clew runs", _drawn(runs)))


def _drawn(runs: Recording) -> str:
    try:
        lines = runs.tree(details=True).splitlines()
    except Exception as error:  # noqa: BLE001  the report is of the test's failure, and that is to be read
        return f"(they could not be drawn: {error!r})"
    left_out = len(lines) - _MOST_LINES
    if left_out > 0:
        lines[_MOST_LINES:] = [f"... and {left_out} more"]
    return "\n".join(lines)
