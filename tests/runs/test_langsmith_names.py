"""
What LangSmith's names take: which options there are, what is refused, and what may be set on a run.
"""

from __future__ import annotations

import enum
import json
from typing import Any, Callable

import pytest

import clew
from clew.errors import ArgumentTypeError
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


# What is LangSmith's alone


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


# What is wrong


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


# What is read is nobody else's


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
        change_within(run_tree.all_metadata())
        run_tree.add_metadata({"added": {"n": 1}})
        run_tree.metadata["added"]["n"] = 2

    call()
    call()
    change_within(runs.roots[0].metadata)
    assert [run.metadata for run in runs] == [{**NESTED, "added": {"n": 1}}] * 2
