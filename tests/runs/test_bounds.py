"""
What a program adds to a run bit by bit has a bound, and what is left out is marked and counted.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest

import clew
from clew.runs._tree.kept.copier import MAX_CHARS, MAX_ITEMS
from clew.runs._tree.kept.sizes import LARGE_BYTES, size_of_text
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


def nested_blocks(number: int, value: object) -> clew.Snapshot:
    with clew.tracing_context(tags=[f"tag {number}"], metadata={f"key {number}": value, "same": number}):
        return clew.capture()


def nested_runs(number: int, value: object) -> clew.Snapshot:
    with clew.trace("job", tags=[f"tag {number}"], metadata={f"key {number}": value, "same": number}):
        return clew.capture()


@clew.traceable
def _nested_call() -> clew.Snapshot:
    return clew.capture()


def nested_calls(number: int, value: object) -> clew.Snapshot:
    metadata = {f"key {number}": value, "same": number}
    return _nested_call(langsmith_extra={"tags": [f"tag {number}"], "metadata": metadata})


def nested_in_runs_by_hand(number: int, value: object) -> clew.Snapshot:
    metadata = {f"key {number}": value, "same": number}
    run = clew.RunTree("job", parent_run=clew.get_current_run_tree(), tags=[f"tag {number}"], metadata=metadata)
    with clew.tracing_context(parent=run):
        return clew.capture()


NESTED = [nested_blocks, nested_runs, nested_calls, nested_in_runs_by_hand]


@pytest.mark.parametrize("nest", NESTED)
def test_inherited_tags_and_keys_have_a_bound(
    runs: clew.Recording, nest: Callable[..., clew.Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.runs._tree.inherited.MAX_TAGS", 20)
    monkeypatch.setattr("clew.runs._tree.bounds.MAX_ITEMS", 30)
    before, snapshot = counted(), clew.capture()
    for number in range(100):
        snapshot = snapshot.run(nest, number, "value")
    last = snapshot.run(by_trace)
    assert last.tags == [*(f"tag {number}" for number in range(20)), "<cut: more tags>"]
    assert (len(last.metadata), last.metadata["same"]) == (31, 28)
    assert last.metadata["clew.cut"] == "<cut: more than 30 keys>"
    assert counted() > before


@pytest.mark.parametrize("nest", NESTED)
def test_inherited_metadata_has_a_bound_of_bytes(runs: clew.Recording, nest: Callable[..., clew.Snapshot]) -> None:
    before, snapshot = counted(), clew.capture()
    large = {str(number): "x" * 60_000 for number in range(MAX_CHARS // 60_000 // 3)}
    for number in range(10):
        snapshot = snapshot.run(nest, number % 5, large if number < 5 else "small")
    inherited = snapshot.run(by_trace).metadata
    assert sum(len(str(value)) for value in inherited.values()) <= MAX_CHARS
    # Small values have taken the place of the large ones.
    assert [inherited[f"key {number}"] for number in range(5)] == ["small"] * 5
    assert inherited["clew.cut"] == f"<cut: more than {MAX_CHARS} bytes>"
    assert counted() > before


def test_metadata_of_blocks_takes_nothing_from_the_bound_of_the_next_run(runs: clew.Recording) -> None:
    for _ in range(100):
        with clew.tracing_context(metadata={"text": "x" * 60_000}):
            pass
    inputs = {"text": "x" * 60_000, "numbers": [1, 2]}
    with clew.trace("run", inputs=inputs):
        pass
    assert runs.roots[0].inputs == inputs


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


def repeated(item: Any, count: int) -> Iterator[Any]:
    for _ in range(count):
        yield item


async def repeated_later(item: Any, count: int) -> AsyncIterator[Any]:
    for _ in range(count):
        yield item


async def consumed(stream: AsyncIterator[Any]) -> None:
    async for _ in stream:
        pass


def returned(item: Any, count: int) -> Any:
    return (item for _ in range(count))


def streamed(kind: Callable[..., Any], item: Any, count: int, **options: Any) -> None:
    stream = clew.traceable(**options)(kind)(item, count)
    if kind is repeated_later:
        asyncio.run(consumed(stream))
    else:
        for _ in stream:
            pass


@pytest.mark.parametrize("kind", [repeated, repeated_later])
@pytest.mark.parametrize("item", ["x" * 60_000, ["x" * 60_000], "x" * 500, {"text": "x" * 3_000}])
def test_items_of_a_stream_have_one_bound_together(runs: clew.Recording, kind: Callable[..., Any], item: Any) -> None:
    before = clew.stats().get("streams_cut", 0)
    count = 3 * MAX_CHARS // len(str(item))
    streamed(kind, item, count)
    output = (runs.roots[0].outputs or {})["output"]
    assert MAX_CHARS - 200_000 < sum(len(str(each)) for each in output) < MAX_CHARS + 200_000
    assert output[-1] == f"<cut: {count} chunks>"
    assert output[:-1] == [item] * (len(output) - 1)
    assert clew.stats()["streams_cut"] == before + 1


def test_items_after_the_first_that_is_cut_are_left_out(runs: clew.Recording) -> None:
    @clew.traceable
    def mixed() -> Iterator[str]:
        yield "short"
        for _ in range(100):
            yield "x" * 60_000
            yield "short"

    for _ in mixed():
        pass
    output = (runs.roots[0].outputs or {})["output"]
    assert output[-1] == "<cut: 201 chunks>"
    assert output[:-1] == ["short", *["x" * 60_000, "short"] * 100][: len(output) - 1]


def test_chunks_that_a_hook_returns_have_the_same_bound(runs: clew.Recording) -> None:
    streamed(repeated, 1, 300, process_chunk=lambda _: "x" * 60_000)
    assert (runs.roots[0].outputs or {})["output"][-1] == "<cut: 300 chunks>"


@pytest.mark.parametrize("kind", [repeated, repeated_later, returned])
@pytest.mark.parametrize("item", ["x", SimpleNamespace(text="x" * 100_000), {"a": ["x" * 100_000]}])
def test_reduce_fn_gets_the_first_chunks_of_a_long_stream(
    runs: clew.Recording, monkeypatch: pytest.MonkeyPatch, kind: Callable[..., Any], item: Any
) -> None:
    monkeypatch.setattr("clew.runs._tree.stream_run.MOST_REDUCED_CHUNKS", 500)
    monkeypatch.setattr("clew.runs._tree.stream_run.MOST_REDUCED_BYTES", 2_000_000)
    got: List[int] = []
    streamed(kind, item, 1_000, reduce_fn=lambda chunks: got.append(len(chunks)))
    # It looks at some of the items, and takes the others to be alike.
    assert got == [500] if item == "x" else 16 <= got[0] <= 32
    assert runs.roots[0].events[-1]["name"] == f"<cut: reduce_fn got {got[0]} of 1000 chunks>"
    streamed(kind, item, 10, reduce_fn=lambda chunks: got.append(len(chunks)))
    assert got[1] == 10


def test_arguments_of_one_call_have_one_bound_together(runs: clew.Recording) -> None:
    @clew.traceable
    def call(**_: Any) -> None:
        pass

    @clew.traceable
    def call_with_names(a: Any, b: Any, c: Any) -> None:
        pass

    texts = ["x" * 60_000] * 60  # 3.6 million characters
    call_with_names(texts, texts, texts)
    call(a=texts, b=texts, c=texts)
    call_with_names(texts, 1, 2)
    for run in runs.roots[:2]:
        assert sum(len(text) for value in run.inputs.values() for text in value) < MAX_CHARS + 200_000
        assert "<cut: 60 items>" in str(run.inputs)
    assert runs.roots[2].inputs["a"] == texts  # the bound is that of one call


def test_cut_payload_is_counted() -> None:
    before = clew.stats().get("payloads_cut", 0)
    with clew.record(), clew.trace("run", inputs={"text": "x" * 100_000, "numbers": list(range(20_000))}):
        pass
    assert clew.stats()["payloads_cut"] == before + 1


BIG = "x" * 60_000


def size_of(part: Any) -> int:
    return len(str(part))


@pytest.mark.parametrize("part", ["metadata", "inputs", "outputs"])
def test_values_that_are_added_without_end_have_one_bound_in_bytes(runs: clew.Recording, part: str) -> None:
    before = counted()
    with clew.trace("service") as run:
        for number in range(200):
            getattr(run, f"add_{part}")({f"key {number}": BIG})
    found = getattr(runs.roots[0], part)
    assert MAX_CHARS - 200_000 < size_of(found) < MAX_CHARS + 1_000
    assert found["clew.cut"] == f"<cut: more than {MAX_CHARS} bytes>"
    assert found["key 0"] == BIG
    assert counted() == before + 200 - (len(found) - 1)


@pytest.mark.parametrize("part", ["metadata", "inputs", "outputs"])
def test_value_that_is_replaced_over_and_over_is_kept(runs: clew.Recording, part: str) -> None:
    before = counted()
    with clew.trace("service") as run:
        for number in range(300):
            getattr(run, f"add_{part}")({"progress": f"{number}{BIG}", "number": number})
    assert getattr(runs.roots[0], part) == {"progress": f"299{BIG}", "number": 299}
    assert counted() == before


@pytest.mark.parametrize("event", [{"name": "event", "text": BIG}, {"name": "event", "texts": [BIG, {"a": BIG}]}])
def test_events_have_one_bound_in_bytes(runs: clew.Recording, event: Any) -> None:
    before = counted()
    with clew.trace("service") as run:
        for _ in range(200):
            run.add_event(event)
    events = runs.roots[0].events
    assert MAX_CHARS - 200_000 < size_of(events) < MAX_CHARS + 100_000
    assert [each["name"] for each in events[-2:]] == ["event", "<cut: more events>"]
    assert counted() == before + 200 - (len(events) - 1)


def test_name_of_an_event_is_truncated(runs: clew.Recording) -> None:
    with clew.trace("service") as run:
        run.add_event(LONG)
    assert len(runs.roots[0].events[0]["name"]) < MOST


def test_outputs_of_a_call_are_recorded_whole_after_many_additions(runs: clew.Recording) -> None:
    @clew.traceable
    def call() -> List[str]:
        run = clew.get_current_run_tree()
        assert run is not None
        for _ in range(100):
            run.add_outputs({"progress": BIG})
        return [BIG] * 60

    call()
    assert (runs.roots[0].outputs or {})["output"] == [BIG] * 60


def test_added_values_count_for_a_recording() -> None:
    with clew.record(max_bytes=1_000_000) as runs:
        for _ in range(100):
            with clew.trace("run") as run:
                for number in range(10):
                    run.add_metadata({str(number): "x" * 10_000})
    assert runs.dropped_runs > 80


@pytest.mark.parametrize("length", [0, 10, LARGE_BYTES, 1_000_000])
def test_size_of_an_ascii_text_is_its_length(length: int) -> None:
    assert size_of_text("x" * length) == length


def test_size_of_a_long_text_counts_its_wide_characters() -> None:
    assert size_of_text("\N{GRINNING FACE}" * 1_000_000) >= 4_000_000
