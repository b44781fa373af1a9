"""
The pytest fixtures `clew_runs`, `clew_clock` and `clew_ids`. pytest finds them wherever clew is installed.

Until a test asks for one of them, no other module of clew is loaded and nothing changes.

PYTEST_DONT_REWRITE: pytest imports this module early; see the package's own docstring.
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

__all__ = ("clew_clock", "clew_ids", "clew_runs")

_MOST_LINES = 500

_recordings: WeakKeyDictionary[Any, Recording] = WeakKeyDictionary()


@pytest.fixture
def clew_runs(request: pytest.FixtureRequest) -> Iterator[Recording]:
    """
    Record the runs of the test, as `clew.record` does. If the test fails, the report shows their tree.
    """
    from clew.runs.recording import record

    with record() as runs:
        _recordings[request.node] = runs
        yield runs


@pytest.fixture
def clew_clock() -> Iterator[FakeClock]:
    """
    Give all runs a clock that stands still until the test calls its `advance` or `set`.
    """
    from clew.testing.fakes import FakeClock

    with FakeClock() as clock:
        yield clock


@pytest.fixture
def clew_ids() -> Iterator[CountedIds]:
    """
    Give runs the ids 1, 2, 3 and so on, as UUIDs, in the order in which the ids are first read.
    """
    from clew.testing.fakes import CountedIds

    with CountedIds() as ids:
        yield ids


# tryfirst makes this the outermost hook, which sees the report as other hooks leave it: an xfail is no failure.
@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """
    Add the tree of the recorded runs to the report of a failure.
    """
    outcome: Any = yield
    # pytest keeps the items until the session ends; a recording is released after its test's last report.
    runs = _recordings.pop(item, None) if call.when == "teardown" else _recordings.get(item)
    if runs is None or outcome.excinfo is not None:
        return
    report = outcome.get_result()
    if report.failed and len(runs):
        report.sections.append(("clew runs", _drawn(runs)))


def _drawn(runs: Recording) -> str:
    try:
        lines = runs.tree(details=True).splitlines()
    except Exception as error:  # noqa: BLE001  the report of the test's own failure must not be lost
        return f"(the runs could not be drawn: {error!r})"
    left_out = len(lines) - _MOST_LINES
    if left_out > 0:
        lines[_MOST_LINES:] = [f"... and {left_out} more"]
    return "\n".join(lines)
