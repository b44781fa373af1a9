"""
Runs become records, records become stored runs, and stored runs form trees.
"""

from __future__ import annotations

import json
import random
import sys
from typing import TYPE_CHECKING, Any, Dict, List

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.drawing import draw_tree
from clew.runs._tree.serialising import line_of
from clew.runs.stored import StoredRun, record_of, trees_of

if TYPE_CHECKING:
    from clew.runs.finished import Run

NAMES = (
    *("id", "trace_id", "span_id", "parent_id", "parent_span_id", "dotted_order", "name", "run_type", "project_name"),
    *("service", "start_time_ns", "end_time_ns", "status", "error", "inputs", "outputs", "tags", "metadata", "events"),
    "links",
)
W3C = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
LANGSMITH = {"langsmith-trace": "20260102T030405000006Z018f0000-0000-7000-8000-000000000001"}


def make_everything() -> None:
    with clew.trace("plain", inputs={"a": 1}) as plain:
        plain.add_outputs({"b": [1, {"c": None}]})
        with clew.trace('child "quoted" \u00e9\ud800\n', run_type="tool", tags=["x"], metadata={"m": 1.5}) as child:
            child.add_event("token")
        with clew.detached(), clew.trace("linked"):
            pass
    with pytest.raises(ValueError, match="no"), clew.trace("failing", project_name="p"):
        raise ValueError("no")
    for headers in (W3C, LANGSMITH, {**W3C, **LANGSMITH}):
        with clew.tracing_context(parent=headers), clew.trace("serving"), clew.trace("below"):
            pass
    clew.RunTree("open").post()


@pytest.fixture
def runs() -> List[clew.Run]:
    with clew.record() as recording:
        make_everything()
    return list(recording)


def test_record_has_every_attribute_by_its_name(runs: List[clew.Run]) -> None:
    for run in runs:
        record = record_of(run)
        assert sorted(record) == sorted(NAMES)
        for name in NAMES:
            value = getattr(run, name)
            if name == "links":
                value = [{"trace_id": str(link.trace_id), "span_id": link.span_id} for link in value]
            elif name in ("id", "trace_id", "parent_id"):
                value = None if value is None else str(value)
            assert record[name] == (list(value) if isinstance(value, tuple) else value), name


def test_line_is_the_record(runs: List[clew.Run]) -> None:
    for run in runs:
        line = line_of(run)
        assert line.endswith("}\n")
        assert line.isascii()
        assert json.loads(line) == record_of(run)
        assert list(json.loads(line)) == list(record_of(run))


def test_stored_run_has_what_the_run_had(runs: List[clew.Run]) -> None:
    for run in runs:
        stored = StoredRun(json.loads(line_of(run)))
        for name in NAMES:
            assert getattr(stored, name) == getattr(run, name), name
        assert stored.children == ()
        assert [link.span_id for link in stored.links] == [link.span_id for link in run.links]


def test_stored_run_is_read_only(runs: List[clew.Run]) -> None:
    stored = StoredRun(record_of(runs[0]))
    with pytest.raises(AttributeError, match="read only, found 'name' set"):
        stored.name = "other"
    with pytest.raises(AttributeError, match="read only, found 'name' deleted"):
        del stored.name
    assert repr(stored) == "<StoredRun 'plain' success, 0 children>"


def test_stored_run_needs_little_and_ignores_what_it_does_not_know(runs: List[clew.Run]) -> None:
    record = {name: record_of(runs[0])[name] for name in ("id", "trace_id", "span_id", "name", "start_time_ns")}
    stored = StoredRun({**record, "of a later version": 1})
    assert (stored.status, stored.inputs, stored.outputs, stored.tags) == ("pending", {}, None, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": 1},
        {"id": "x"},
        {"id": None},
        {"trace_id": 3},
        {"parent_id": ""},
        {"start_time_ns": "now"},
        {"start_time_ns": 1.5},
        {"inputs": []},
        {"tags": 1},
        {"events": [1]},
        {"events": None},
        {"links": [{}]},
        {"links": [1]},
        {"links": [{"trace_id": "x", "span_id": "y"}]},
    ],
    ids=str,
)
def test_what_is_no_record_is_refused(runs: List[clew.Run], wrong: Dict[str, Any]) -> None:
    with pytest.raises(ArgumentValueError, match="expected the record of a run, found "):
        StoredRun({**record_of(runs[0]), **wrong})


def test_trees_are_whole_in_any_order_of_the_records(runs: List[clew.Run]) -> None:
    with clew.record() as recording:
        make_everything()
    expected = "\n".join(draw_tree(recording.roots))
    records = [record_of(run) for run in recording]
    for _ in range(5):
        random.shuffle(records)
        assert "\n".join(draw_tree(trees_of(records))) == expected


def test_run_whose_parent_is_not_there_is_a_root(runs: List[clew.Run]) -> None:
    (root,) = trees_of([record_of(run) for run in runs if run.name.startswith("child")])
    assert root.parent_id == runs[0].id


def test_of_two_records_of_one_run_the_last_one_holds(runs: List[clew.Run]) -> None:
    record = record_of(runs[0])
    (root,) = trees_of([{**record, "status": "pending"}, record])
    assert root.status == "success"


def test_parent_that_came_by_headers_of_this_program_is_found() -> None:
    with clew.record() as recording:
        for only in ("traceparent", "langsmith-trace"):
            with clew.trace("call") as call:
                headers = {only: call.to_headers()[only]}
            with clew.tracing_context(parent=headers), clew.trace("serve"):
                pass
    roots = trees_of([record_of(run) for run in recording])
    assert [[child.name for child in root.children] for root in roots] == [["serve"], ["serve"]]


def test_runs_that_are_each_others_parents_are_all_there(runs: List[clew.Run]) -> None:
    first, second, third = (dict(record_of(run)) for run in runs[:3])
    first["parent_id"], second["parent_id"], third["parent_id"] = second["id"], first["id"], first["id"]
    roots = trees_of([first, second, third])
    waiting, seen = list(roots), []
    while waiting:
        run = waiting.pop()
        seen.append(run.name)
        waiting.extend(run.children)
    assert sorted(seen) == sorted([first["name"], second["name"], third["name"]])


def test_tree_deeper_than_the_stack_is_stored_and_planted() -> None:
    depth = sys.getrecursionlimit() + 50  # more would be slow: the dotted orders grow with the square of it
    with clew.record() as recording:
        run = clew.RunTree("0")
        for number in range(1, depth):
            run.post()
            run.end()
            run = run.create_child(str(number))
    records = [json.loads(line_of(run)) for run in recording]
    (root,) = trees_of(records)
    assert sum(1 for _ in draw_tree([root])) == depth - 1
    assert recording.to_json().count('"children"') == depth - 1


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_recording_as_json_is_its_trees(indent: Any) -> None:
    with clew.record() as recording:
        assert json.loads(recording.to_json(indent=indent)) == []
        make_everything()

    def nested(run: Run) -> Dict[str, Any]:
        return {**record_of(run), "children": [nested(child) for child in run.children]}

    expected = [nested(root) for root in recording.roots]
    text = recording.to_json(indent=indent)
    assert text == json.dumps(expected, indent=indent)


def test_indentation_shows_the_depth() -> None:
    with clew.record() as recording, clew.trace("outer"), clew.trace("inner"):
        pass
    lines = recording.to_json(indent=2).splitlines()
    assert [line for line in lines if '"name"' in line] == ['    "name": "outer",', '        "name": "inner",']


@pytest.mark.parametrize("indent", ["  ", True, 1.5])
def test_wrong_indent_is_refused(indent: Any) -> None:
    with clew.record() as recording, pytest.raises(ArgumentTypeError, match="expected indent as a number"):
        recording.to_json(indent=indent)
