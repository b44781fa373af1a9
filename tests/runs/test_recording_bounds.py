"""
A recording keeps the newest whole traces, and says what it has dropped.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError, TreeMismatchError


@clew.traceable
def request(number: int, payload: Any = None) -> int:
    return step(number)


@clew.traceable
def step(number: int) -> int:
    return number


def kept(runs: clew.Recording) -> list[int]:
    return [run.inputs["number"] for run in runs.roots]


def test_newest_whole_traces_are_kept() -> None:
    with clew.record(max_runs=10) as runs:
        for number in range(50):
            request(number)
    assert 8 <= len(runs) <= 12
    assert len(runs) + runs.dropped_runs == 100
    assert kept(runs) == list(range(50))[-len(runs.roots) :]
    assert all([child.name for child in root.children] == ["step"] for root in runs.roots)


def test_recording_that_is_not_full_drops_nothing() -> None:
    with clew.record(max_runs=100) as runs:
        for number in range(50):
            request(number)
    assert (len(runs), runs.dropped_runs) == (100, 0)
    assert "<cut" not in runs.tree()


@pytest.mark.parametrize("payload", ["x" * 60_000, ["x" * 60_000], "x" * 10_000, {"a": "x" * 8_000}])
def test_recording_is_bounded_in_bytes(payload: Any) -> None:
    size = len(str(payload))
    with clew.record(max_bytes=1_000_000) as runs:
        for number in range(2_000):
            request(number, payload)
    assert sum(len(str(run.inputs)) for run in runs) < 2_000_000 or size < 10_000
    assert runs.dropped_runs > 0
    assert kept(runs)[-1] == 1_999
    assert kept(runs) == list(range(2_000))[-len(runs.roots) :]


def test_many_runs_are_dropped_in_little_time() -> None:
    with clew.record(max_runs=1_000) as runs:
        for number in range(20_000):
            step(number)
    assert 700 <= len(runs) <= 1_001
    assert [run.inputs["number"] for run in runs] == list(range(20_000))[-len(runs) :]


def test_trace_that_is_still_open_keeps_its_root_and_its_newest_calls() -> None:
    with clew.record(max_runs=20) as runs, clew.trace("main"):
        for number in range(200):
            request(number)
    (root,) = runs.roots
    assert root.name == "main"
    assert len(runs) <= 22
    assert [run.inputs["number"] for run in root.children] == list(range(200))[-len(root.children) :]
    assert all([child.name for child in run.children] == ["step"] for run in root.children)


def test_open_runs_are_not_dropped() -> None:
    with clew.record(max_runs=5) as runs:
        blocks = [clew.trace(f"block {number}") for number in range(50)]
        for block in blocks:
            block.__enter__()
        assert (len(runs), runs.dropped_runs) == (50, 0)
        for block in reversed(blocks):
            block.__exit__(None, None, None)
        step(1)
    assert len(runs) + runs.dropped_runs == 51


def test_what_was_dropped_is_counted_and_visible() -> None:
    before = clew.stats().get("recorded_runs_dropped", 0)
    with clew.record(max_runs=2) as runs:
        for number in range(5):
            step(number)
    assert runs.dropped_runs == 3
    assert runs.tree() == "step\nstep\n<cut: 3 older runs>"
    assert "<cut: 3 older runs>" in repr(runs)
    assert "&lt;cut: 3 older runs&gt;" in runs._repr_html_()
    assert clew.stats()["recorded_runs_dropped"] > before
    runs.assert_tree(runs.tree())
    with pytest.raises(TreeMismatchError, match="3 older runs"):
        runs.assert_tree("step\nstep")


def test_recordings_that_overlap_have_bounds_of_their_own() -> None:
    with clew.record() as all_runs, clew.record(max_runs=2) as few:
        for number in range(10):
            step(number)
    assert (len(all_runs), len(few)) == (10, 2)


def test_threads_fill_one_recording() -> None:
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait(10)
        for number in range(2_000):
            request(number)

    with clew.record(max_runs=500) as runs:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert len(runs) + runs.dropped_runs == 16_000
    assert len(runs) <= 600
    assert all(run.name == "request" for run in runs.roots)


@pytest.mark.parametrize("option", ["max_runs", "max_bytes"])
def test_bound_that_is_no_positive_number_is_refused(option: str) -> None:
    for value in (0, -1):
        with pytest.raises(ArgumentValueError, match=f"expected {option} to be positive, got {value}; pass 1 or more"):
            clew.record(**{option: value})
    for wrong in (None, "1", 1.5, True):
        with pytest.raises(ArgumentTypeError, match=f"expected {option} as a whole number, got "):
            clew.record(**{option: wrong})  # type: ignore[arg-type]
