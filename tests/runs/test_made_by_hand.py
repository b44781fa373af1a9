"""
Runs that are built by hand: when hooks get them, in which tree they stand, and how they end.
"""

from __future__ import annotations

import gc
import json
import threading
import weakref
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Callable, List

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.settings import settings
from clew.testing.fakes import FakeClock
from tests.edges._threads import DEADLINE, is_gone
from tests.exporters._exporters import Keeping, exporting_to

if TYPE_CHECKING:
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


# Their children


def test_posting_a_run_leaves_its_children_and_counts_langsmiths_option_for_them(runs: clew.Recording) -> None:
    root = clew.RunTree("root")
    below = root.create_child("below")
    before = clew.stats().get("options_ignored", 0)
    root.post(exclude_child_runs=False)
    assert clew.stats()["options_ignored"] == before + 1
    runs.assert_tree("root [pending]")
    below.post()
    runs.assert_tree("root [pending]\n  below [pending]")


def test_tree_deeper_than_the_stack_is_posted(runs: clew.Recording) -> None:
    root = run = clew.RunTree("0")
    root.post()
    for number in range(1, 5000):
        run = run.create_child(str(number))
        run.post()
    root.create_child("last").post()
    assert len(list(runs)) == 5001
    assert [len(run.children) for run in runs][:3] == [2, 1, 1]


def test_child_that_is_not_recorded_stays_so(runs: clew.Recording) -> None:
    with clew.tracing_context(enabled=False):
        root = clew.RunTree("root")
        root.post()
        root.create_child("below").post()
    assert len(runs) == 0


@pytest.mark.usefixtures("no_collector")
def test_root_keeps_nothing_of_its_children(watching: Watching) -> None:
    root = clew.RunTree("root")
    for _ in range(3):
        child = root.create_child("child", inputs={"big": "payload"})
        child.post()
        child.end()
    del child
    assert [is_gone(reference) for reference in watching.started] == [True] * 3
    never_posted = weakref.ref(root.create_child("never posted"))
    gc.collect()
    assert never_posted() is None


# Their parents


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


# Their end


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


# Their arguments


START = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc)
START_NS = 1_704_164_645_000_006_000
SECOND = timedelta(seconds=1)
SECOND_NS = 1_000_000_000
ZONE = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    "moment", [START, START.replace(tzinfo=None), START.astimezone(ZONE)], ids=["utc", "naive", "elsewhere"]
)
def test_times_are_in_utc_unless_they_say_otherwise(runs: clew.Recording, moment: datetime) -> None:
    root = clew.RunTree("root", start_time=moment)
    root.post()
    root.end(end_time=moment + SECOND)
    (found,) = runs
    assert (found.start_time_ns, found.end_time_ns) == (START_NS, START_NS + SECOND_NS)
    assert found.dotted_order == f"20240102T030405000006Z{found.id}"
    assert found.id.int >> 80 == START_NS // 1_000_000
    assert (root.start_time, root.end_time) == (START, START + SECOND)


def test_run_may_start_at_the_epoch() -> None:
    with clew.record() as runs:
        run = clew.RunTree("x", start_time=datetime(1970, 1, 1, tzinfo=timezone.utc))
        run.post()
        run.end()
    assert [found.start_time_ns for found in runs] == [0]


def test_run_that_is_over_ends_when_it_is_posted(runs: clew.Recording, watching: Watching) -> None:
    run = clew.RunTree(
        "x",
        "tool",
        inputs={"n": [1]},
        outputs={"n": [2]},
        tags=["a"],
        metadata={"a": 1},
        start_time=START,
        end_time=START + SECOND,
        events=[
            "first",
            {"name": "second", "time": (START + SECOND).isoformat()},
            {"name": "second", "time": (START + SECOND).isoformat().replace("+00:00", "Z")},
            {"name": "third", "time": "noon"},
        ],
    )
    assert (run.status, run.end_time, watching.ended) == ("pending", START + SECOND, [])
    run.add_tags("b")
    run.post()
    assert watching.ended == [("x", "success")]
    (found,) = runs
    assert (found.inputs, found.outputs, found.tags, found.metadata) == ({"n": [1]}, {"n": [2]}, ("a", "b"), {"a": 1})
    assert (found.start_time_ns, found.end_time_ns) == (START_NS, START_NS + SECOND_NS)
    first, second, also_second, third = found.events
    assert first["name"] == "first"
    assert second == also_second == {"name": "second", "time_ns": START_NS + SECOND_NS}
    assert (third["time"], type(third["time_ns"])) == ("noon", int)


def test_child_is_made_with_all_that_a_root_is(runs: clew.Recording) -> None:
    above = clew.RunTree("above", start_time=START)
    by_parent = above.create_child(
        "x", outputs={"n": 1}, error=ValueError("no"), start_time=START + SECOND, end_time=START + 2 * SECOND
    )
    by_name = clew.RunTree(
        "y", parent_run=above, outputs={"n": 1}, error="no", start_time=START + SECOND, end_time=START + 2 * SECOND
    )
    for run in (above, by_parent, by_name):
        run.post()
    above.end()
    runs.assert_tree("above\n  x [error]\n  y [error]")
    for run in runs.roots[0].children:
        assert (run.outputs, run.error in ("no", "ValueError: no\n")) == ({"n": 1}, True)
        assert (run.start_time_ns, run.end_time_ns) == (START_NS + SECOND_NS, START_NS + 2 * SECOND_NS)


def test_error_that_a_run_is_made_with_is_that_of_its_end(runs: clew.Recording) -> None:
    run = clew.RunTree("x", error="made with it")
    run.post()
    run.end()
    assert (runs.roots[0].status, runs.roots[0].error) == ("error", "made with it")


def test_times_that_cannot_be_are_moved(runs: clew.Recording) -> None:
    above = clew.RunTree("above", start_time=START)
    above.post()
    below = above.create_child("below", start_time=START - SECOND, end_time=START - 2 * SECOND)
    later = clew.RunTree("later", parent_run=above, start_time=START.replace(year=2200))
    for run in (below, later):
        run.post()
        run.end(end_time=START - SECOND)
    above.end()
    found, found_later = runs.roots[0].children
    assert (found.start_time_ns, found.end_time_ns) == (START_NS, START_NS)
    assert found_later.end_time_ns == found_later.start_time_ns > START_NS


def test_last_end_time_that_is_said_counts() -> None:
    with FakeClock(start_ns=START_NS) as clock, clew.record() as runs:
        with clew.trace("told") as run:
            run.end(end_time=START + SECOND)
            assert run.end_time == START + SECOND
            clock.advance(9)
        with clew.trace("taken back") as run:
            run.end(end_time=START + SECOND)
            run.end()
            clock.advance(1)
        again = clew.RunTree("again", start_time=START, end_time=START + SECOND)
        again.post()
    told, taken_back, found = runs
    assert told.end_time_ns == found.end_time_ns == START_NS + SECOND_NS
    assert taken_back.end_time_ns == START_NS + 10 * SECOND_NS


def test_root_that_is_sampled_has_the_id_of_its_start(runs: clew.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "sampler", lambda root: 1 if root.name == "kept" else 0)
    for name in ("kept", "not kept"):
        run = clew.RunTree(name, start_time=START, end_time=START + SECOND, outputs={"n": 1}, error="no")
        run.post()
    (found,) = runs
    assert (found.name, found.id.int >> 80) == ("kept", START_NS // 1_000_000)


def test_times_of_runs_that_nobody_records_are_taken() -> None:
    run = clew.RunTree("x", start_time=START, end_time=START + SECOND)
    run.post()
    run.end(end_time=START + SECOND, events=["a"])
    assert run.status == "success"


@pytest.mark.parametrize("field", ["start_time", "end_time"])
@pytest.mark.parametrize(
    ("moment", "error"),
    [
        ("2024-01-02", ArgumentTypeError),
        (1_704_164_645, ArgumentTypeError),
        (START.date(), ArgumentTypeError),
        (START.replace(year=1969), ArgumentValueError),
    ],
)
def test_time_that_is_none_is_refused(runs: clew.Recording, field: str, moment: Any, error: Any) -> None:
    with pytest.raises(error, match=f"expected the {field} "):
        clew.RunTree("x", **{field: moment})
    with clew.trace("around") as run:
        with pytest.raises(error, match=f"expected the {field} "):
            run.create_child("x", **{field: moment})
        with pytest.raises(error, match="expected the end_time "):
            run.end(end_time=moment)
    assert [(run.name, run.status) for run in runs] == [("around", "success")]
