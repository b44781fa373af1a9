"""
What a program adds to a run bit by bit has a bound, and what is left out is marked and counted.
"""

from __future__ import annotations

from typing import Any, Callable

import pytest

import clew
from clew.runs._tree.kept.copier import MAX_ITEMS
from clew.runs._tree.options import MAX_LABEL_CHARS, MAX_TAGS

LONG = "x" * 5_000_000
MOST = MAX_LABEL_CHARS + 100  # with the marker


def counted() -> int:
    return clew.stats().get("additions_dropped", 0)


def by_trace(**options: Any) -> clew.RunTree:
    with clew.trace(options.pop("name", "run"), options.pop("run_type", "chain"), **options) as run:
        return run


def by_hand(**options: Any) -> clew.RunTree:
    run = clew.RunTree(options.pop("name", "run"), options.pop("run_type", "chain"), **options)
    run.post()
    run.end()
    return run


def by_call(**options: Any) -> clew.RunTree:
    found = []

    @clew.traceable(**options)
    def call() -> None:
        found.append(clew.get_current_run_tree())

    call()
    return found[0]


@pytest.mark.parametrize("make", [by_trace, by_hand, by_call])
@pytest.mark.parametrize("option", ["name", "run_type", "project_name"])
def test_long_labels_are_truncated_with_a_marker(
    runs: clew.Recording, make: Callable[..., clew.RunTree], option: str
) -> None:
    label = getattr(make(**{option: LONG}), option)
    assert len(label) < MOST
    assert label.endswith("<cut: 5000000 characters>")


@pytest.mark.parametrize("make", [by_trace, by_hand, by_call])
def test_long_and_many_tags_are_cut_with_a_marker(runs: clew.Recording, make: Callable[..., clew.RunTree]) -> None:
    (tag,) = make(tags=[LONG]).tags
    assert len(tag) < MOST
    tags = make(tags=[str(number) for number in range(5_000)]).tags
    assert (len(tags), tags[-1]) == (MAX_TAGS + 1, "<cut: 5000 tags>")


def test_name_that_is_set_later_is_truncated(runs: clew.Recording) -> None:
    with clew.trace("run") as run:
        run.name = LONG
    assert len(runs.roots[0].name) < MOST


def test_events_that_are_added_without_end_are_cut_with_a_marker_and_counted(runs: clew.Recording) -> None:
    before = counted()
    with clew.trace("service") as run:
        for number in range(MAX_ITEMS + 50):
            run.add_event({"name": "request", "number": number})
    events = runs.roots[0].events
    assert len(events) == MAX_ITEMS + 1
    assert (events[-2]["number"], events[-1]["name"]) == (MAX_ITEMS - 1, "<cut: more events>")
    assert counted() == before + 50


def test_tags_that_are_added_without_end_are_cut_with_a_marker_and_counted(runs: clew.Recording) -> None:
    before = counted()
    with clew.trace("service") as run:
        for number in range(MAX_TAGS + 50):
            run.add_tags(f"tag {number}")
    tags = runs.roots[0].tags
    assert (len(tags), tags[-1]) == (MAX_TAGS + 1, "<cut: more tags>")
    assert counted() == before + 50


def test_metadata_that_is_added_without_end_is_cut_with_a_marker_and_counted(runs: clew.Recording) -> None:
    before = counted()
    with clew.trace("service") as run:
        for number in range(MAX_ITEMS + 50):
            run.add_metadata({f"key {number}": number})
        run.add_metadata({"key 0": "changed"})
    metadata = runs.roots[0].metadata
    assert len(metadata) == MAX_ITEMS + 1
    assert (metadata["key 0"], metadata["clew.cut"]) == ("changed", f"<cut: more than {MAX_ITEMS} keys>")
    assert counted() == before + 50


def test_additions_within_the_bounds_are_kept_as_they_are(runs: clew.Recording) -> None:
    before = counted()
    with clew.trace("n" * 4_000, tags=["t" * 4_000]) as run:
        run.add_event("event")
        run.add_tags(["a", "b"])
        run.add_metadata({"key": "value"})
    (found,) = runs.roots
    assert (found.name, found.tags, found.metadata) == ("n" * 4_000, ("t" * 4_000, "a", "b"), {"key": "value"})
    assert [event["name"] for event in found.events] == ["event"]
    assert counted() == before
