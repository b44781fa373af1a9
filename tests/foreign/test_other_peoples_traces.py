"""
Other people's traces, bound log lines and requests, over every edge: lost by the bare stdlib, whole with clew.
"""

from __future__ import annotations

from typing import Any, Iterator, List

import pytest

import clew
from tests.edges._threads import in_empty_context
from tests.foreign._at_once import WAYS_AT_ONCE, two_jobs
from tests.foreign._carriers import CARRIERS
from tests.foreign._edges import EDGES, THREADS_INHERIT, Edge
from tests.foreign._ways import Way, take


@pytest.fixture(params=CARRIERS)
def carrier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    carrier = request.param(monkeypatch)
    yield carrier
    monkeypatch.undo()
    carrier.close()


def steps_taken(carrier: Any, way: Way) -> List[bool]:
    """Return of each step that was taken the given way whether it belongs to the request."""

    def scenario() -> None:
        with carrier.request():
            take(carrier.step)
            way(carrier.step)
            take(carrier.step)

    in_empty_context(scenario)
    before, *steps, after = carrier.steps()
    assert before
    assert after  # nothing that was done elsewhere has changed what is current here
    assert steps
    return steps


@pytest.mark.parametrize("edge", EDGES)
def test_bare_edge_splits_it(carrier: Any, edge: Edge) -> None:
    is_whole = edge.inherits and THREADS_INHERIT
    assert set(steps_taken(carrier, edge.bare)) == {is_whole}


@pytest.mark.parametrize("edge", EDGES)
def test_edge_keeps_it_whole(carrier: Any, edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    before = clew.stats()
    assert set(steps_taken(carrier, edge.whole)) == {True}
    assert not caplog.records  # of a token that was reset in another context, for one
    assert clew.stats() == before


@pytest.mark.parametrize("way", list(WAYS_AT_ONCE))
def test_jobs_at_once_are_nothing_to_each_other(carrier: Any, way: str, caplog: pytest.LogCaptureFixture) -> None:
    found = steps_taken(carrier, lambda step: WAYS_AT_ONCE[way](two_jobs(step)))
    assert found == [True] * 4
    assert not caplog.records
