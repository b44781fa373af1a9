"""
Runs made by hand: when they are told of, once they were posted and ended in any order, and whose children they are.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Callable, List

import pytest

import clew
from clew.errors import ArgumentTypeError
from clew.runs.sampling import settings
from tests.edges._threads import DEADLINE
from tests.exporters._exporters import Keeping, exporting_to
from tests.runs._watching import Watching

Step = Callable[[clew.RunTree], object]


def post(run: clew.RunTree) -> None:
    run.post()


def end(run: clew.RunTree) -> None:
    run.end(outputs={"text": "42"})


def patch(run: clew.RunTree) -> None:
    run.patch()


@pytest.mark.parametrize(
    "steps",
    [
        (post, end),
        (end, post),
        (post, end, patch),
        (end, post, patch),
        (end, post, post, patch, patch),
        (end, patch, post),
        (post, patch),
    ],
    ids=lambda steps: "-".join(step.__name__ for step in steps),
)
def test_run_that_is_posted_and_ended_is_exported_once(steps: List[Step]) -> None:
    keeping = Keeping()
    with clew.record() as runs, exporting_to(keeping):
        run = clew.RunTree("pipeline", inputs={"text": "6 * 7"})
        for step in steps:
            step(run)
    assert keeping.names == ["pipeline"]
    (found,) = keeping.batches[0]
    assert (found.status, found.inputs) == ("success", {"text": "6 * 7"})
    assert found.outputs == (None if end not in steps else {"text": "42"})
    assert [run.status for run in runs.roots] == ["success"]


def test_run_that_is_never_posted_is_not_exported(watching: Watching) -> None:
    run = clew.RunTree("pipeline")
    run.end()
    run.patch()
    assert (watching.started, watching.ended) == ([], [])


def test_child_that_is_ended_before_it_is_posted_is_under_its_parent(runs: clew.Recording, watching: Watching) -> None:
    above = clew.RunTree("above")
    below = above.create_child("below")
    below.end(error="no")
    above.post()
    below.post()
    above.end()
    runs.assert_tree("above\n  below [error]")
    assert watching.ended == [("below", "error"), ("above", "success")]


def test_run_that_one_thread_posts_and_another_one_ends_is_told_of_once(watching: Watching) -> None:
    for _ in range(200):
        run = clew.RunTree("contended")
        meeting = threading.Barrier(3, timeout=DEADLINE)

        def take(step: Any, run: clew.RunTree = run, meeting: threading.Barrier = meeting) -> None:
            meeting.wait()
            step(run)

        threads = [threading.Thread(target=take, args=(step,)) for step in (post, end, patch)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert len(watching.started) == 200
    assert watching.ended == [("contended", "success")] * 200


# Whose children they are


def test_finished_run_is_a_parent(runs: clew.Recording) -> None:
    with clew.trace("above", tags=["handed down"]):
        pass
    above = runs.find(name="above")
    below = clew.RunTree("below", "llm", inputs={"n": 1}, parent_run=above)
    assert (below.parent_run_id, below.trace_id) == (above.id, above.trace_id)
    below.post()
    below.end()
    runs.assert_tree("above\n  below")
    found = runs.find(name="below")
    assert (found.run_type, found.inputs, found.tags) == ("llm", {"n": 1}, ("handed down",))


@pytest.mark.parametrize("parent", ["abc", 5, {"traceparent": "00-1"}, b"", False, []])
def test_parent_that_is_no_run_is_refused(parent: Any) -> None:
    with pytest.raises(
        ArgumentTypeError, match=r"expected parent_run= as a RunTree or a Run, got .*; pass the run, or"
    ):
        clew.RunTree("x", parent_run=parent)


# How they end


def caught() -> ValueError:
    try:
        raise ValueError("no tea")
    except ValueError as error:
        return error


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("way", ["by hand", "block"])
@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("no tea", "no tea"),
        (ValueError("no tea"), "ValueError: no tea\n"),
        (404, "404"),
        ({"code": 404}, "{'code': 404}"),
        ("", ""),
        (Unspeakable(), "<Unspeakable that cannot be formatted: RuntimeError>"),
        ("x" * 70_000, "x" * 65_536 + "... <cut: 70000 characters>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_error_of_any_kind_is_told_as_text(runs: clew.Recording, way: str, error: Any, told: str) -> None:
    if way == "block":
        with clew.trace("x") as run:
            run.end(error=error)
    else:
        run = clew.RunTree("x")
        run.post()
        run.end(error=error)
    assert (runs.roots[0].status, runs.roots[0].error) == ("error", told)
    json.loads(runs.to_json())


def test_error_that_was_caught_is_told_with_its_traceback(runs: clew.Recording) -> None:
    run = clew.RunTree("x")
    run.post()
    run.end(error=caught())
    error = runs.roots[0].error
    assert error is not None
    assert error.startswith("Traceback (most recent call last):\n")
    assert ", in caught\n" in error
    assert error.endswith("ValueError: no tea\n")


def test_end_of_a_run_that_is_not_sampled_is_no_late_change(
    runs: clew.Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "sampler", 0.0)
    before = clew.stats().get("runs_changed_after_end", 0)
    run = clew.RunTree("x")
    below = run.create_child("below")
    for each in (run, below):
        each.post()
        each.end(outputs={"a": 1}, error="no")
        each.patch()
    assert clew.stats().get("runs_changed_after_end", 0) == before
    assert len(runs) == 0


def test_second_end_is_counted(runs: clew.Recording) -> None:
    run = clew.RunTree("x")
    run.post()
    run.end()
    before = clew.stats().get("runs_changed_after_end", 0)
    run.end()
    run.end(error="late")
    assert clew.stats()["runs_changed_after_end"] == before + 2
    assert [run.status for run in runs] == ["success"]
