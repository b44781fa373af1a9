"""
`tracing_context`, and what one call of a traced function says in `langsmith_extra`.
"""

from __future__ import annotations

import asyncio
from contextvars import copy_context
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, Iterator

import pytest

import clew
from clew.errors import AlreadyEnteredError, ArgumentTypeError
from tests.edges._threads import in_empty_context

HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": "user=ada"}


@pytest.fixture
def recording() -> Iterator[clew.Recording]:
    with clew.record() as runs:
        yield runs


def what(run: Any) -> Any:
    return run.tags, run.metadata, run.project_name


def test_block_says_what_its_runs_have_and_those_under_them(recording: clew.Recording) -> None:
    around = clew.tracing_context(tags=["a"], metadata={"k": 1}, project_name="shop")
    with around, clew.trace("outer") as outer, clew.trace("inner") as inner:
        pass
    with clew.trace("after") as after:
        pass
    assert what(outer) == what(inner) == (["a"], {"k": 1}, "shop")
    assert what(after) == ([], {}, None)
    recording.assert_tree("outer\n  inner\nafter")


def test_block_in_a_block_changes_only_what_it_names(recording: clew.Recording) -> None:
    with clew.tracing_context(tags=["a"], metadata={"k": 1, "l": 1}, project_name="shop"):
        with clew.tracing_context(tags=["b"]), clew.tracing_context(metadata={"k": 2}), clew.trace("inner") as inner:
            pass
        with clew.tracing_context(parent=HEADERS), clew.trace("under headers") as under:
            pass
        with clew.trace("outer") as outer:
            pass
    assert what(inner) == (["a", "b"], {"k": 2, "l": 1}, "shop")
    assert what(under) == what(outer) == (["a"], {"k": 1, "l": 1}, "shop")
    assert under.parent_span_id == "00f067aa0ba902b7"


def test_run_goes_over_the_block_and_the_call_over_the_run(recording: clew.Recording) -> None:
    @clew.traceable(tags=["of the function"], metadata={"who": "function"}, project_name="function")
    def work() -> Any:
        return what(clew.get_current_run_tree())

    extra = {"tags": ["of the call"], "metadata": {"who": "call"}, "project_name": "call", "name": "other"}
    with clew.tracing_context(tags=["of the block"], metadata={"who": "block"}, project_name="block"):
        assert work() == (["of the block", "of the function"], {"who": "function"}, "function")
        assert work(langsmith_extra=extra) == (  # type: ignore[call-arg]
            ["of the block", "of the function", "of the call"],
            {"who": "call"},
            "call",
        )
    recording.assert_tree("work\nother")


def test_what_a_block_says_reaches_a_run_once(recording: clew.Recording) -> None:
    with clew.tracing_context(metadata={"k": "block"}):
        with clew.trace("outer", metadata={"k": "outer"}), clew.trace("inner") as inner:
            pass
        outer = clew.trace("outer", metadata={"k": "outer"})
        with outer, clew.tracing_context(tags=["t"]), clew.trace("inner") as in_a_block:
            pass
    assert inner.metadata == in_a_block.metadata == {"k": "outer"}
    assert in_a_block.tags == ["t"]


def test_block_may_switch_recording_off_and_on_again(recording: clew.Recording) -> None:
    @clew.traceable
    def work() -> None:
        pass

    with clew.trace("request") as request, clew.tracing_context(enabled=False):
        work()
        with clew.trace("block") as block:
            assert clew.get_current_run_tree() is request
            assert block.to_headers() == request.to_headers()
        request.create_child("by hand").post()
        with clew.detached():
            work()
        with clew.tracing_context(tags=["t"]):
            work()
        with clew.tracing_context(enabled=True):
            work()
    recording.assert_tree("request\n  work")


def test_detached_work_keeps_what_the_block_says(recording: clew.Recording) -> None:
    outer, inner = clew.tracing_context(project_name="shop"), clew.tracing_context(tags=["t"])
    with outer, clew.trace("request"), clew.detached(link=True), inner, clew.trace("job") as job:
        pass
    assert what(job) == (["t"], {}, "shop")
    assert len(job.links) == 1


def test_parent_is_a_run_of_whatever_kind(recording: clew.Recording) -> None:
    with clew.trace("parent") as parent:
        pass
    [finished] = recording.roots
    for given in (parent, finished, parent.to_headers(), list(parent.to_headers().items()), parent.dotted_order):
        with clew.tracing_context(parent=given), clew.trace("child"):
            pass
    recording.assert_tree("parent\n" + "  child\n" * 5)


def test_parent_false_is_for_a_new_trace(recording: clew.Recording) -> None:
    with clew.trace("request"), clew.tracing_context(parent=False):
        assert clew.get_current_run_tree() is None
        with clew.trace("another"):
            pass
    recording.assert_tree("request\nanother")


UNSAMPLED = {**HEADERS, "traceparent": f"{HEADERS['traceparent'][:-2]}00"}


@pytest.mark.parametrize("around", [{"parent": UNSAMPLED}, {"enabled": False}], ids=["unsampled", "disabled"])
def test_run_that_nobody_records_makes_a_parent_that_nobody_records(
    recording: clew.Recording, around: Dict[str, Any]
) -> None:
    with clew.tracing_context(**around), clew.trace("serve") as run:
        expected = {name: text for name, text in run.to_headers().items() if name != "traceparent"}

    def elsewhere() -> None:  # as in a thread that was handed the run
        with clew.tracing_context(parent=run), clew.trace("child"):
            sent = clew.get_current_headers()
            assert sent.pop("traceparent", "-00").endswith("-00")
            assert sent == expected
        with clew.tracing_context(parent=run, enabled=True), clew.trace("wanted"):
            pass

    in_empty_context(elsewhere)
    assert [run.name for run in recording] == (["wanted"] if "enabled" in around else [])


def test_run_of_a_service_that_records_nothing_is_no_parent_of_ours() -> None:
    with clew.tracing_context(parent=HEADERS), clew.trace("serve") as run, clew.tracing_context(parent=run):
        assert clew.get_current_headers() == HEADERS


@pytest.mark.parametrize("parent", [clew.RunTree.from_headers(HEADERS), HEADERS, [*HEADERS.items()]])
def test_parent_that_is_not_trusted_is_a_link(recording: clew.Recording, parent: Any) -> None:
    with clew.tracing_context(parent=parent, trusted=False), clew.trace("serve") as run:
        assert clew.get_baggage() == {}
    assert (run.parent_id, len(run.links)) == (None, 1)


@pytest.mark.parametrize("parent", [1, b"00-", True, object(), 1.5])
def test_parent_that_is_none_is_refused(parent: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="expected parent= as a RunTree, headers, a dotted order or False"):
        clew.tracing_context(parent=parent)


@pytest.mark.parametrize(("options", "says"), [({"tags": "a"}, "a list of tags"), ({"metadata": 1}, "as a dict")])
def test_options_of_the_wrong_type_are_refused(options: Dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentTypeError, match=says):
        clew.tracing_context(**options)


def test_block_is_for_one_use() -> None:
    block = clew.tracing_context(tags=["a"])
    with block, pytest.raises(AlreadyEnteredError, match="write a new one for each block"):
        block.__enter__()
    with pytest.raises(AlreadyEnteredError):
        block.__enter__()


def test_everything_is_as_before_after_a_block(recording: clew.Recording) -> None:
    def look() -> Any:
        return clew.get_current_run_tree(), clew.get_baggage(), clew.get_current_headers()

    def handle() -> None:
        with clew.baggage(tenant="acme"), clew.trace("request"):
            before = look()
            with clew.tracing_context(parent=HEADERS, enabled=False):
                assert look() != before
            assert look() == before

    in_empty_context(handle)


def test_block_left_in_another_context_is_counted(recording: clew.Recording) -> None:
    def stats() -> int:
        found = clew.stats()
        return found.get("blocks_left_in_another_context", 0) + found.get("blocks_left_out_of_order", 0)

    block = clew.tracing_context(parent=HEADERS)
    before = stats()
    copy_context().run(block.__enter__)
    with clew.trace("here") as run:
        block.__exit__(None, None, None)
        assert clew.get_current_run_tree() is run
    assert stats() > before


def test_block_left_before_a_run_in_it_leaves_that_current(recording: clew.Recording) -> None:
    def handle() -> None:
        block = clew.tracing_context(parent=HEADERS)
        block.__enter__()
        with clew.trace("longer") as run:
            before = clew.stats().get("blocks_left_out_of_order", 0)
            block.__exit__(None, None, None)
            assert clew.get_current_run_tree() is run
            assert clew.stats()["blocks_left_out_of_order"] == before + 1

    in_empty_context(handle)


def state() -> Any:
    return clew.get_current_run_tree(), clew.get_baggage(), clew.get_current_headers()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"parent": HEADERS, "tags": ["a"]}, {"parent": {"baggage": "plan=free"}}),
        ({"enabled": False}, {"tags": ["b"]}),
        ({"parent": HEADERS}, {"enabled": False}),
    ],
)
def test_blocks_that_overlap_leave_nothing_and_are_counted(
    recording: clew.Recording, first: Dict[str, Any], second: Dict[str, Any]
) -> None:
    def handle() -> None:
        before, counted = state(), clew.stats().get("blocks_left_out_of_order", 0)
        blocks = [clew.tracing_context(**options) for options in (first, second, {"tags": ["c"]})]
        for block in blocks:
            block.__enter__()
        for block in blocks:
            block.__exit__(None, None, None)
        assert state() == before
        assert clew.stats()["blocks_left_out_of_order"] == counted + 2
        with clew.trace("after") as run:
            pass
        assert what(run) == ([], {}, None)

    in_empty_context(handle)
    assert len(recording) == 1


def test_run_that_was_left_in_a_block_is_not_brought_back_by_it(recording: clew.Recording) -> None:
    def handle() -> None:
        run, block = clew.trace("left first"), clew.tracing_context(parent=HEADERS)
        run.__enter__()
        block.__enter__()
        run.__exit__(None, None, None)
        block.__exit__(None, None, None)
        assert clew.get_current_run_tree() is None

    in_empty_context(handle)


async def awaiting(call: Callable[[], Any]) -> Any:
    return call()


@clew.traceable
def plain(*args: Any, **kwargs: Any) -> Any:
    assert (args, kwargs) == ((1,), {"k": 2})
    run = clew.get_current_run_tree()
    assert run is not None
    return run, clew.get_baggage()


@clew.traceable
async def coroutine(*args: Any, **kwargs: Any) -> Any:
    return plain.__wrapped__(*args, **kwargs)  # type: ignore[attr-defined]


def call_plain(*args: Any, **kwargs: Any) -> Any:
    return plain(*args, **kwargs)


def call_coroutine(*args: Any, **kwargs: Any) -> Any:
    return asyncio.run(coroutine(*args, **kwargs))


calls = pytest.mark.parametrize("call", [call_plain, call_coroutine])


@calls
def test_call_names_its_parent(recording: clew.Recording, call: Callable[..., Any]) -> None:
    with clew.trace("parent") as parent:
        pass
    with clew.trace("around"):
        run, found = call(1, langsmith_extra={"parent": HEADERS}, k=2)
        assert (run.parent_span_id, found) == ("00f067aa0ba902b7", {"user": "ada"})
        run, found = call(1, langsmith_extra={"parent": parent}, k=2)
        assert (run.parent_id, found) == (parent.id, {})
        run, _ = call(1, langsmith_extra={"parent": parent.dotted_order}, k=2)
        assert run.parent_id == parent.id
        run, _ = call(1, langsmith_extra={"parent": "ignore"}, k=2)
        assert run.parent_id is None
        run, _ = call(1, langsmith_extra=None, k=2)
        assert run.parent_id == clew.get_current_run_tree().id  # type: ignore[union-attr]


@calls
def test_call_with_an_option_that_there_is_not_is_refused(call: Callable[..., Any]) -> None:
    with pytest.raises(ArgumentTypeError, match="expected the options that langsmith_extra has, got parrent"):
        call(1, langsmith_extra={"parrent": HEADERS}, k=2)
    with pytest.raises(ArgumentTypeError, match="expected the langsmith_extra as a dict"):
        call(1, langsmith_extra=[1], k=2)


def test_extra_is_not_passed_on_where_nobody_records() -> None:
    @clew.traceable
    def work(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs, clew.get_current_headers()

    assert work(1, langsmith_extra={"parent": HEADERS, "tags": ["t"]}, k=2) == ((1,), {"k": 2}, HEADERS)


def in_a_context_of_its_own(step: Callable[[], Any]) -> Any:
    return copy_context().run(step)


async def in_a_task_of_its_own(step: Callable[[], Any]) -> Any:
    async def take() -> Any:
        return await step()

    return await asyncio.ensure_future(take())


HEADERS_OF_ANOTHER = {
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "baggage": "tenant=other",
}


def opened_block(kind: str) -> Any:
    if kind == "block":
        return clew.tracing_context(parent=HEADERS_OF_ANOTHER)
    return clew.trace("block", parent=HEADERS_OF_ANOTHER)


@pytest.mark.parametrize("kind", ["block", "trace"])
def test_block_that_a_stream_is_suspended_in_ends_wherever_that_goes_on(recording: clew.Recording, kind: str) -> None:
    @clew.traceable
    def child(name: str) -> None:
        pass

    @clew.traceable
    def stream() -> Iterator[Any]:
        for _ in range(2):
            with opened_block(kind):
                child("in it")
                yield clew.get_baggage()
                yield clew.get_baggage()
            child("after")
            yield clew.get_baggage()

    with clew.trace("request"), clew.baggage(tenant="mine"):
        items = stream()
        for number in range(6):
            expected = "mine" if number % 3 == 2 else "other"
            assert in_a_context_of_its_own(partial(next, items)) == {"tenant": expected}
            assert clew.get_baggage("tenant") == "mine"
        assert next(items, None) is None
        assert clew.get_baggage("tenant") == "mine"
    (request,) = (root for root in recording.roots if root.name == "request")
    assert [(run.name, [each.name for each in run.children]) for run in request.children] == [
        ("stream", ["child", "child"])
    ]
    assert len(recording.roots) == 3


@pytest.mark.parametrize("kind", ["block", "trace"])
def test_block_that_an_async_stream_is_suspended_in_ends_wherever_that_goes_on(
    recording: clew.Recording, kind: str
) -> None:
    @clew.traceable
    async def child(name: str) -> None:
        pass

    @clew.traceable
    async def stream() -> AsyncIterator[Any]:
        with opened_block(kind):
            await child("in it")
            yield clew.get_baggage("tenant")
            yield clew.get_baggage("tenant")
        await child("after")
        yield clew.get_baggage("tenant")

    async def main() -> None:
        with clew.trace("request"), clew.baggage(tenant="mine"):
            items = stream()
            for expected in ("other", "other", "mine"):
                assert await in_a_task_of_its_own(items.__anext__) == expected
                assert clew.get_baggage("tenant") == "mine"
            await items.aclose()

    asyncio.run(main())
    (request,) = (root for root in recording.roots if root.name == "request")
    assert [(run.name, [each.name for each in run.children]) for run in request.children] == [("stream", ["child"])]


def test_stream_in_a_block_sees_that_its_consumers_baggage_has_changed(recording: clew.Recording) -> None:
    @clew.traceable
    def stream() -> Iterator[None]:
        with opened_block("block"):
            yield
            yield
        yield

    items = stream()
    next(items)
    with clew.baggage(tenant="later"):
        next(items)
        assert clew.get_baggage("tenant") == "later"
    assert clew.get_baggage() == {}
    next(items)
    assert clew.get_baggage() == {}


def test_block_that_a_stream_has_left_says_nothing_any_more(recording: clew.Recording) -> None:
    @clew.traceable
    def child() -> None:
        pass

    @clew.traceable
    def stream() -> Iterator[None]:
        with clew.tracing_context(enabled=False):
            child()
            yield
        yield
        child()
        yield

    assert len(list(stream())) == 3
    recording.assert_tree("""
        stream
          child
    """)
