"""
Options and attributes under LangSmith's names: which are accepted, which are refused, which can be changed on a run.
"""

from __future__ import annotations

import enum
import json
from types import SimpleNamespace
from typing import Any, Callable

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from tests.exporters._exporters import Keeping, exporting_to


class Kind(str, enum.Enum):
    TOOL = "tool"


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


def by_decorator(**options: Any) -> None:
    clew.traceable(**options)(lambda: None)()


def by_stream(**options: Any) -> None:
    @clew.traceable(**options)
    def stream() -> Any:
        yield 1

    list(stream())


def by_block(**options: Any) -> None:
    with clew.trace(options.pop("name", "block"), **options):
        pass


def by_hand(**options: Any) -> None:
    run = clew.RunTree(options.pop("name", "by hand"), **options)
    run.post()
    run.end()


def by_hand_below(**options: Any) -> None:
    with clew.trace("above", project_name="above") as above:
        run = above.create_child(options.pop("name", "below"), **options)
        run.post()
        run.end()


def by_context(**options: Any) -> None:
    with clew.tracing_context(**options), clew.trace("in a context"):
        pass


def by_call(**options: Any) -> None:
    clew.traceable(lambda: None)(langsmith_extra=options)


ALL_WAYS = [by_decorator, by_stream, by_block, by_hand, by_hand_below, by_context, by_call]
Way = Callable[..., None]


def ways(*without: Way) -> Any:
    return pytest.mark.parametrize("way", [way for way in ALL_WAYS if way not in without])


# Options that only LangSmith's client uses


@ways()
@pytest.mark.parametrize("option", ["address", "client", "replicas"])
def test_option_that_is_langsmiths_alone_is_counted(runs: clew.Recording, way: Way, option: str) -> None:
    before = clew.stats().get("options_ignored", 0)
    way(**{option: None})
    assert clew.stats().get("options_ignored", 0) == before
    way(**{option: object()})
    assert clew.stats()["options_ignored"] == before + 1
    assert {run.status for run in runs} == {"success"}


def test_context_of_langsmiths_that_is_taken_elsewhere_is_counted(runs: clew.Recording) -> None:
    before = clew.stats().get("options_ignored", 0)
    by_context(tags=["a"], distributed_parent_id="018f3e7f-97f7-74c5-a9b6-8d3f7e8e2f11")
    assert clew.stats()["options_ignored"] == before + 1
    assert [run.tags for run in runs] == [("a",)]


@ways(by_context, by_call)
def test_metadata_of_extra_counts(runs: clew.Recording, way: Way) -> None:
    way(extra={"metadata": {"from": "extra", "extra": 1}, "runtime": {}}, metadata={"from": "metadata"})
    assert [run.metadata for run in runs if run.name != "above"] == [{"from": "metadata", "extra": 1}]


def test_metadata_of_the_extra_of_a_call_counts(runs: clew.Recording) -> None:
    by_call(run_extra={"metadata": {"from": "extra", "extra": 1}}, metadata={"from": "metadata"})
    by_call(run_extra={"metadata": None}, metadata=None)
    by_call(run_extra=None, config={"metadata": {"from": "config"}})
    assert [run.metadata for run in runs] == [{"from": "metadata", "extra": 1}, {}, {"from": "config"}]


# Options with a wrong value


@ways(by_context)
@pytest.mark.parametrize("options", [{"extra": 5}, {"extra": {"metadata": 5}}, {"metadata": 5}])
def test_metadata_that_is_no_dict_is_refused(way: Way, options: Any) -> None:
    if way is by_call and "extra" in options:
        options = {"run_extra": options["extra"]}
    with clew.record(), pytest.raises(ArgumentTypeError, match=r"expected the \w+ as a dict, got 5"):
        way(**options)


@ways()
def test_option_that_is_nobodys_is_refused(way: Way) -> None:
    with clew.record(), pytest.raises(ArgumentTypeError, match=r"expected the options that \w+ has, got colour"):
        way(colour="red")


@ways(by_context, by_call)
@pytest.mark.parametrize("run_type", [["llm"], 3, b"llm", {"run_type": "llm"}])
def test_run_type_that_is_no_string_is_refused(way: Way, run_type: Any) -> None:
    with clew.record(), pytest.raises(ArgumentTypeError, match=r"run_type.* as a string, got "):
        way(run_type=run_type)


@ways()
@pytest.mark.parametrize("project_name", [5, b"shop", ["shop"]])
def test_project_name_that_is_no_string_is_refused(way: Way, project_name: Any) -> None:
    with clew.record(), pytest.raises(ArgumentTypeError, match="expected the project_name as a string, got "):
        way(project_name=project_name)


@ways(by_context, by_call)
def test_run_type_that_is_none_is_that_of_most_runs(runs: clew.Recording, way: Way) -> None:
    way(run_type=None, project_name=None)
    assert {run.run_type for run in runs} == {"chain"}


@ways(by_context, by_call)
def test_run_type_of_an_enum_is_its_value(runs: clew.Recording, way: Way) -> None:
    way(run_type=Kind.TOOL)
    run = next(run for run in runs if run.name != "above")
    assert (run.run_type, type(run.run_type)) == ("tool", str)


@ways(by_context)
def test_name_that_is_more_than_a_string_is_its_value(runs: clew.Recording, way: Way) -> None:
    way(name=Name("this"))
    assert [type(run.name) for run in runs if run.name == "this"] == [str]


@ways()
def test_project_of_an_enum_is_its_value(runs: clew.Recording, way: Way) -> None:
    way(project_name=Kind.TOOL)
    assert [type(run.project_name) for run in runs if run.project_name == "tool"] == [str]


def test_option_that_is_refused_leaves_the_others_to_be_exported() -> None:
    keeping = Keeping()
    with exporting_to(keeping):
        for options in ({"run_type": ["llm"]}, {"project_name": 5}):
            for way in ALL_WAYS:
                with pytest.raises(TypeError):
                    way(**options)
        by_block()
    assert [name for name in keeping.names if name != "above"] == ["block"]


# Values that are read are copies


NESTED = {"cfg": {"n": 1, "list": [{"m": [1]}]}, "flat": 0, "list": [[1]]}


def change_within(metadata: Any) -> None:
    metadata["cfg"]["n"] = 2
    metadata["cfg"]["list"][0]["m"].append(2)
    metadata["cfg"]["new"] = True
    metadata["list"][0].append(2)


@ways(by_hand, by_hand_below)
def test_change_within_the_metadata_of_a_run_changes_no_other(runs: clew.Recording, way: Way) -> None:
    @clew.traceable
    def inner() -> None:
        run = clew.get_current_run_tree()
        assert run is not None
        change_within(run.metadata)

    given: Any = json.loads(json.dumps(NESTED))
    with clew.tracing_context(metadata=given):
        for _ in range(2):
            with clew.trace("around"):
                way(metadata={"own": {"n": 1}})
                inner()
    assert given == NESTED
    for run in runs:
        expected = NESTED if run.name in ("around", "inner") else {**NESTED, "own": {"n": 1}}
        assert run.metadata == expected


def test_change_within_the_metadata_of_a_decorator_changes_no_other_call(runs: clew.Recording) -> None:
    @clew.traceable(metadata=NESTED)
    def call(run_tree: Any = None) -> None:
        change_within(run_tree.metadata)
        change_within(run_tree._all_metadata())
        run_tree.add_metadata({"added": {"n": 1}})
        run_tree.metadata["added"]["n"] = 2

    call()
    call()
    change_within(runs.roots[0].metadata)
    assert [run.metadata for run in runs] == [{**NESTED, "added": {"n": 1}}] * 2


# Attributes that can be set


SET: Any = {
    "name": "new",
    "run_type": "tool",
    "error": "new",
    "inputs": {"new": [1]},
    "outputs": {"new": [2]},
    "tags": ["new"],
    "metadata": {"new": [3]},
}


def setting(run: Any, values: Any) -> None:
    for field, value in values.items():
        setattr(run, field, value)


def read_back(run: Any) -> Any:
    return {**{field: getattr(run, field) for field in SET}, "tags": list(run.tags)}


def test_fields_that_are_set_replace_what_there_was(runs: clew.Recording) -> None:
    values = json.loads(json.dumps(SET))
    around = clew.tracing_context(tags=["around"], metadata={"around": 1})
    with around, clew.trace("old", "chain", inputs={"old": 1}, tags=["old"], metadata={"old": 1}) as run:
        run.add_outputs({"old": 1})
        setting(run, values)
        assert read_back(run) == SET
        for value in values.values():
            if isinstance(value, (dict, list)):
                value.clear()
    (found,) = runs
    assert read_back(found) == SET


def test_fields_that_are_set_to_none_are_empty(runs: clew.Recording) -> None:
    with clew.trace("x", "tool", inputs={"old": 1}, tags=["old"], metadata={"old": 1}) as run:
        run.add_outputs({"old": 1})
        run.error = "old"
        setting(run, dict.fromkeys(["run_type", "error", "inputs", "outputs", "tags", "metadata"]))
    expected: Any = {"name": "x", "run_type": "chain", "error": None, "inputs": {}, "outputs": None}
    expected.update(tags=[], metadata={})
    assert read_back(runs.roots[0]) == expected


def test_outputs_that_are_set_are_below_what_is_returned(runs: clew.Recording) -> None:
    @clew.traceable
    def call(kept: bool, run_tree: Any = None) -> int:
        run_tree.outputs = {"set": 1}
        if kept:
            run_tree.set(outputs={"kept": 1})
            run_tree.outputs = {"and": "set"}
        return 5

    call(False)
    call(True)
    assert [run.outputs for run in runs] == [{"set": 1, "output": 5}, {"and": "set"}]


@pytest.mark.parametrize(
    ("field", "value"), [("name", 5), ("run_type", ["llm"]), ("tags", "one"), ("tags", 5), ("metadata", 5)]
)
def test_field_that_is_set_to_something_else_is_refused(runs: clew.Recording, field: str, value: Any) -> None:
    with clew.trace("x", tags=["a"], metadata={"a": 1}) as run:
        before = read_back(run)
        with pytest.raises(ArgumentTypeError, match="expected "):
            setattr(run, field, value)
        assert read_back(run) == before


@pytest.mark.parametrize("field", SET)
def test_field_that_is_set_after_the_end_is_left_and_counted(runs: clew.Recording, field: str) -> None:
    with clew.trace("x") as run:
        snapshot = clew.capture()
    late = snapshot.run(clew.get_current_run_tree)
    for ended in (run, late):
        before, count = read_back(ended), clew.stats().get("runs_changed_after_end", 0)
        setattr(ended, field, SET[field])
        assert read_back(ended) == before
        assert clew.stats()["runs_changed_after_end"] == count + 1


def test_fields_of_a_run_that_nobody_records_may_be_set() -> None:
    before = clew.stats()
    with clew.trace("x") as run:
        setting(run, SET)
        run.tags += ["a"]
        run.metadata |= {"a": 1}
        run.tags.clear()
        run.metadata.clear()
    assert clew.stats() == before
    assert run.outputs is None


def test_name_that_is_set_is_that_of_the_block_and_of_headers(runs: clew.Recording) -> None:
    with clew.trace("old") as run:
        run.name = "new"
        before = run.to_headers()
        with clew.trace("below"):
            pass
    runs.assert_tree("new\n  below")
    assert before["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-03"


@pytest.mark.parametrize("way", [clew.trace, clew.traceable, clew.RunTree])
def test_error_that_is_set_is_that_of_the_end(runs: clew.Recording, way: Any) -> None:
    if way is clew.trace:
        with clew.trace("x") as run:
            run.error = ValueError("no tea")
    elif way is clew.RunTree:
        run = clew.RunTree("x")
        run.post()
        run.error = ValueError("no tea")
        assert run.error == "ValueError: no tea\n"
        run.end()
    else:

        @clew.traceable
        def call(run_tree: Any = None) -> int:
            run_tree.error = ValueError("no tea")
            return 5

        call()
    (found,) = runs
    assert (found.status, found.error) == ("error", "ValueError: no tea\n")
    assert found.outputs == ({"output": 5} if way is clew.traceable else None)


def test_error_that_is_set_is_below_the_exception_that_leaves_a_block(runs: clew.Recording) -> None:
    def fail() -> None:
        with clew.trace("x") as run:
            run.error = "told"
            raise KeyError("tea")

    with pytest.raises(KeyError):
        fail()
    assert str(runs.roots[0].error).endswith("KeyError: 'tea'\n")


@pytest.mark.parametrize("status", ["success", "error", None])
def test_status_that_is_set_is_refused(runs: clew.Recording, status: Any) -> None:
    with clew.trace("x") as run:
        with pytest.raises(AttributeError, match="expected the status of a run to follow from its end, got "):
            run.status = status
        assert run.status == "pending"
    assert (run.status, runs.roots[0].status) == ("success", "success")


# The usage of a model


def test_usage_is_part_of_the_metadata(runs: clew.Recording) -> None:
    usage = {"input_tokens": 3, "input_token_details": {"cache_read": 1}, "total_cost": 0.5}
    with clew.trace("x", metadata={"old": 1}) as run:
        run.set(usage_metadata={"input_tokens": 1})
        run.set(usage_metadata=usage)
        usage["input_token_details"].clear()  # type: ignore[attr-defined]
        run.set(tags=["a"])
    with clew.trace("y") as run:
        run.set(usage_metadata={"input_tokens": 1})
        run.set(usage_metadata=None)
    with clew.trace("z", metadata={"old": 1}) as run:
        run.set(metadata={"new": 1}, usage_metadata={"output_tokens": 2})
    assert [run.metadata for run in runs] == [
        {
            "old": 1,
            "usage_metadata": {"input_tokens": 3, "input_token_details": {"cache_read": 1}, "total_cost": 0.5},
        },
        {},
        {"new": 1, "usage_metadata": {"output_tokens": 2}},
    ]


@pytest.mark.parametrize(
    ("usage", "error", "said"),
    [
        ({"input_token": 3, 5: 1}, ArgumentValueError, r"expected the usage_metadata to have .*, got 5, input_token;"),
        (5, ArgumentTypeError, "expected the usage_metadata as a dict, got 5"),
        ([1], ArgumentTypeError, r"expected the usage_metadata as a dict, got \[1\]"),
    ],
)
def test_usage_that_nobody_knows_is_refused(runs: clew.Recording, usage: Any, error: Any, said: str) -> None:
    with clew.trace("x") as run, pytest.raises(error, match=said):
        run.set(usage_metadata=usage, tags=["a"])
    assert (runs.roots[0].metadata, runs.roots[0].tags) == ({}, ())


# Attributes that can be changed in place


def test_tags_and_metadata_may_be_extended_in_place(runs: clew.Recording) -> None:
    with clew.tracing_context(tags=["around"], metadata={"around": 1}), clew.trace("x", tags=["a"]) as run:
        run.tags += ["b"]
        run.tags += ("c",)
        run.metadata |= {"a": 1}
        run.metadata |= [("b", {"n": 2})]
        with clew.trace("below"):
            pass
    found = runs.find(name="x")
    assert (found.tags, found.metadata) == (("around", "a", "b", "c"), {"around": 1, "a": 1, "b": {"n": 2}})
    assert (found.children[0].tags, found.children[0].metadata) == (("around", "a"), {"around": 1})


def test_tags_and_metadata_of_another_run_may_be_set(runs: clew.Recording) -> None:
    with clew.trace("other", tags=["a"], metadata={"a": 1}) as other, clew.trace("x") as run:
        run.tags, run.metadata = other.tags, other.metadata
        kept_tags, kept_metadata = run.tags, run.metadata
        run.tags, run.metadata = [], {}
        run.tags, run.metadata = kept_tags, kept_metadata
        run.tags.append("b")
        run.metadata["b"] = 2
    assert [run.tags for run in runs] == [("a",), ("a", "b")]
    assert [run.metadata for run in runs] == [{"a": 1}, {"a": 1, "b": 2}]


CHANGES = {
    "insert": lambda run: run.tags.insert(0, "z"),
    "remove": lambda run: run.tags.remove("b"),
    "pop": lambda run: run.tags.pop(),
    "del": lambda run: run.tags.__delitem__(0),
    "set": lambda run: run.tags.__setitem__(1, "z"),
    "clear": lambda run: run.tags.clear(),
    "reverse": lambda run: run.tags.reverse(),
    "sort": lambda run: run.tags.sort(reverse=True),
    "multiply": lambda run: run.tags.__imul__(2),
    "del of metadata": lambda run: run.metadata.__delitem__("b"),
    "pop of metadata": lambda run: run.metadata.pop("c"),
    "popitem of metadata": lambda run: run.metadata.popitem(),
    "clear of metadata": lambda run: run.metadata.clear(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_change_in_place_is_one_of_the_run(runs: clew.Recording, change: Any) -> None:
    plain = SimpleNamespace(tags=["a", "b", "c"], metadata={"a": 1, "b": 2, "c": 3})
    around = clew.tracing_context(tags=["a"], metadata={"a": 1})
    with around, clew.trace("x", tags=["b", "c"], metadata={"b": 2, "c": 3}) as run:
        assert change(run) == change(plain)
        assert (list(run.tags), dict(run.metadata)) == (plain.tags, plain.metadata)
    found = runs.roots[0]
    assert (list(found.tags), found.metadata) == (plain.tags, plain.metadata)


IN_PLACE = {
    **CHANGES,
    "append": lambda run: run.tags.append("z"),
    "extend": lambda run: setattr(run, "tags", run.tags.__iadd__(["z"])),
    "merge": lambda run: setattr(run, "metadata", run.metadata.__ior__({"z": 1})),
}


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE)
def test_change_in_place_after_the_end_is_left_and_counted_once(runs: clew.Recording, change: Any) -> None:
    with clew.trace("x", tags=["a", "b"], metadata={"b": 2, "c": 3}) as run:
        pass
    before, count = read_back(run), clew.stats().get("runs_changed_after_end", 0)
    change(run)
    assert read_back(run) == before
    assert clew.stats()["runs_changed_after_end"] == count + 1
