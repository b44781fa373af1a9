"""
A01 to A04, A10 and R01 to R05 with other people's spans: in tasks of clew's groups, and in what runs beside them.

The tracers are the real ones, of `_tracers.py`, and nothing is sent.
"""

from __future__ import annotations

import contextlib
from contextvars import copy_context
from typing import Any, Callable, Dict, Iterator, List, Optional

import pytest

import clew
from clew.tasks.anyio import create_task_group
from clew.tasks.trio import open_nursery
from tests.context._loops import checkpoint, run_on_asyncio, run_on_trio
from tests.edges._threads import in_empty_context
from tests.foreign._span_trees import LangSmithSpans, OpenTelemetrySpans, SentrySpans, Spans, Tree
from tests.foreign._task_ways import (
    BARE_CALLS,
    CALLS,
    Open,
    bare_groups,
    bare_nursery,
    groups,
    nursery,
    nursery_of_opener,
)
from tests.foreign._tracers import NEEDS_LANGSMITH

Run = Callable[[Any], Any]


@pytest.fixture(params=[pytest.param(LangSmithSpans, marks=NEEDS_LANGSMITH), OpenTelemetrySpans])
def spans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    spans = request.param(monkeypatch)
    yield spans
    monkeypatch.undo()
    spans.close()


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[SentrySpans]:
    sentry = SentrySpans(monkeypatch)
    yield sentry
    sentry.close()


@pytest.fixture(autouse=True)
def nothing_is_reported(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """See to it that with clew no tracer logs that it could not put something back, or was told of an end twice."""
    yield
    if not request.node.name.startswith("test_bare"):
        # What debug mode says of a slow machine aside. (Here, `caplog.records` would be those of the teardown.)
        said = [record.msg for record in caplog.get_records("call")]
        assert [message for message in said if not message.startswith("Executing %s took")] == []


def turns() -> Callable[[int], Any]:
    """Return what waits for the turn of that number, which lasts until whoever has it waits again."""
    taken = 0

    async def turn(number: int) -> None:
        nonlocal taken
        while taken != number:
            await checkpoint()
        taken += 1

    return turn


async def in_turns(spans: Spans, name: str, turn: Callable[[int], Any], first: int, second: int, third: int) -> None:
    await turn(first)
    with spans.span(name):
        await turn(second)
        with spans.span(f"{name}.inner"):
            pass
        await turn(third)


# Two children at the same time, started in the span "here", which has its own one meanwhile.
def overlap(
    spans: Spans, open_group: Open, run: Run, capture: Callable[[], Callable[[], Dict[str, Any]]] = lambda: dict
) -> Tree:
    async def main() -> None:
        with spans.span("request"):
            options = capture()
            async with open_group() as start:
                with spans.span("here"):
                    turn = turns()
                    start(in_turns, spans, "a", turn, 0, 2, 4, **options())
                    start(in_turns, spans, "b", turn, 1, 5, 6, **options())
                    await in_turns(spans, "c", turn, 3, 7, 8)
            with spans.span("after"):
                pass

    in_empty_context(run, main)
    return spans.tree()


def overlapped(parent: str) -> Tree:
    return {
        "request": None,
        "here": "request",
        "a": parent,
        "b": parent,
        "c": "here",
        **{f"{name}.inner": name for name in "abc"},
        "after": "request",
    }


@groups
def test_children_at_once_nest_where_they_were_started(spans: Any, open_group: Open, run: Run) -> None:
    assert overlap(spans, open_group, run) == overlapped("here")


def a_context_each() -> Callable[[], Dict[str, Any]]:
    captured = copy_context()
    return lambda: {"context": captured.copy()}


def a_snapshot() -> Callable[[], Dict[str, Any]]:
    snapshot = clew.capture()
    return lambda: {"context": snapshot}


@pytest.mark.parametrize("capture", [a_context_each, a_snapshot])
@groups
def test_children_at_once_nest_where_their_context_was_captured(
    spans: Any, open_group: Open, run: Run, capture: Any
) -> None:
    assert overlap(spans, open_group, run, capture) == overlapped("request")


def test_bare_nursery_has_the_parent_of_the_spawner(spans: Any) -> None:
    assert overlap(spans, bare_nursery, run_on_trio) == overlapped("here")


def test_nursery_of_its_opener_has_the_parent_of_the_opener(spans: Any) -> None:
    assert overlap(spans, nursery_of_opener, run_on_trio) == overlapped("request")


@pytest.mark.parametrize(
    ("create", "run"),
    [(create_task_group, run_on_asyncio), (create_task_group, run_on_trio), (open_nursery, run_on_trio)],
    ids=["anyio on asyncio", "anyio on trio", "trio"],
)
@pytest.mark.parametrize(
    ("capture", "parent"), [(lambda: dict, "here"), (a_context_each, "request"), (a_snapshot, "request")]
)
def test_child_that_is_waited_for_leaves_the_span_of_its_starter_alone(
    spans: Any, create: Any, run: Run, capture: Any, parent: str
) -> None:
    async def child(task_status: Any) -> None:
        with spans.span("child"):
            task_status.started()
            await checkpoint()
            with spans.span("child.inner"):
                pass

    async def main() -> None:
        with spans.span("request"):
            options = capture()
            async with create() as group:
                with spans.span("here"):
                    await group.start(child, **options())
                    with spans.span("here.inner"):
                        pass

    in_empty_context(run, main)
    inner = {"child.inner": "child", "here.inner": "here"}
    assert spans.tree() == {"request": None, "here": "request", "child": parent, **inner}


# A Context for two: they have one current span, for better and for worse.


def one_context() -> Callable[[], Dict[str, Any]]:
    context = copy_context()
    return lambda: {"context": context}


@groups
def test_children_at_once_in_one_context_take_each_other_for_parents(spans: Any, open_group: Open, run: Run) -> None:
    assert overlap(spans, open_group, run, one_context) == {
        **overlapped("request"),
        "b": "a",  # it was open when "b" began
        "a.inner": "b",
        "b.inner": "request",  # as "a" has put back what it found, and not what was there when it ended
    }


def continue_session(spans: Spans, open_group: Open, run: Run, start_in: Callable[..., object]) -> Tree:
    session = contextlib.ExitStack()

    async def enter() -> None:
        session.enter_context(spans.span("session"))

    async def step(name: str) -> None:
        with spans.span(name):
            await checkpoint()

    async def leave() -> None:
        session.close()

    async def main() -> None:
        with spans.span("request"):
            context = copy_context()
            for fn, *args in [(enter,), (step, "step"), (leave,), (step, "after")]:
                async with open_group() as start:
                    start_in(context, start, fn, *args)

    in_empty_context(run, main)
    return spans.tree()


@bare_groups
def test_bare_span_is_not_continued_by_the_next_task(spans: Any, open_group: Open, run: Run) -> None:
    # All that can be done everywhere without `context=`: each task has a copy.
    found = continue_session(spans, open_group, run, lambda context, start, *args: context.run(start, *args))
    assert found == {"request": None, "session": "request", "step": "request", "after": "request"}


@groups
def test_span_is_continued_by_the_next_task_in_the_same_context(spans: Any, open_group: Open, run: Run) -> None:
    found = continue_session(spans, open_group, run, lambda context, start, *args: start(*args, context=context))
    assert found == {"request": None, "session": "request", "step": "session", "after": "request"}


# What is called in a thread, or by trio itself.


def call_in_request(spans: Spans, call: Any, run: Run) -> Tree:
    def fn() -> None:
        with spans.span("call"), spans.span("call.inner"):
            pass

    async def main() -> None:
        with spans.span("request"):
            await call(fn)
            with spans.span("after"):
                pass

    in_empty_context(run, main)
    return spans.tree()


CALLED: Tree = {"request": None, "call": "request", "call.inner": "call", "after": "request"}


@BARE_CALLS
def test_bare_call_elsewhere_is_a_root(spans: Any, call: Any, run: Run) -> None:
    assert call_in_request(spans, call, run) == {**CALLED, "call": None}


@CALLS
def test_call_elsewhere_nests_in_its_request(spans: Any, call: Any, run: Run) -> None:
    assert call_in_request(spans, call, run) == CALLED


# A worker for all requests, which the first one starts (A10).


def share_worker(spans: Spans, open_group: Open, run: Run, block: Callable[[], Any]) -> Tree:
    kept: List[Any] = []  # later releases of LangSmith forget a run that nobody has
    asked: List[int] = []
    done: List[int] = []

    async def worker() -> None:
        for number in range(3):
            while number not in asked:
                await checkpoint()
            with spans.span(f"job {number}"), spans.span(f"job {number}.inner"):
                await checkpoint()
            done.append(number)

    async def main() -> None:
        async with open_group() as start:
            for number in range(3):
                kept.append(spans.span(f"request {number}"))
                with kept[-1]:
                    if number == 0:
                        with block():
                            start(worker)
                    asked.append(number)
                    while number not in done:
                        await checkpoint()
                    with spans.span(f"request {number}.inner"):
                        pass

    in_empty_context(run, main)
    return spans.tree()


def shared_worker(parent: Optional[str]) -> Tree:
    tree: Tree = {}
    for number in range(3):
        tree.update({f"request {number}": None, f"request {number}.inner": f"request {number}"})
        tree.update({f"job {number}": parent, f"job {number}.inner": f"job {number}"})
    return tree


@bare_groups
def test_bare_worker_has_the_first_request_for_ever(spans: Any, open_group: Open, run: Run) -> None:
    assert share_worker(spans, open_group, run, contextlib.nullcontext) == shared_worker("request 0")


@groups
def test_detached_worker_begins_a_trace_with_each_job(spans: Any, open_group: Open, run: Run) -> None:
    assert share_worker(spans, open_group, run, clew.detached) == shared_worker(None)


def test_worker_in_a_nursery_of_its_opener_is_in_no_request(spans: Any) -> None:
    nothing = contextlib.nullcontext
    assert share_worker(spans, nursery, run_on_trio, nothing)["job 2"] == "request 0"
    assert share_worker(spans, nursery_of_opener, run_on_trio, nothing) == shared_worker(None)


# What fails, and what is cancelled for that.


@pytest.mark.parametrize("capture", [lambda: dict, a_context_each, a_snapshot], ids=["plain", "context", "snapshot"])
@pytest.mark.parametrize("who", ["a child", "the body"])
@groups
def test_cancelled_child_ends_its_spans_once_and_leaves_its_parent_alone(
    spans: Any, open_group: Open, run: Run, who: str, capture: Any
) -> None:
    caught: List[Any] = []
    begun: List[str] = []

    async def waits() -> None:
        with spans.span("waits"), spans.span("waits.inner"):
            begun.append("waits")
            while True:
                await checkpoint()

    async def fails() -> None:
        with spans.span("fails"):
            while not begun:
                await checkpoint()
            raise LookupError

    async def main() -> None:
        with spans.span("request"):
            options = capture()
            try:
                async with open_group() as start:
                    start(waits, **options())
                    if who == "a child":
                        start(fails, **options())
                    else:
                        await fails()
            except Exception as error:
                caught.append(error)
            with spans.span("after"):
                pass

    in_empty_context(run, main)
    [error] = caught
    assert [type(each) for each in getattr(error, "exceptions", [error])] == [LookupError]
    inside = {"waits": "request", "waits.inner": "waits", "fails": "request"}
    assert spans.tree() == {"request": None, **inside, "after": "request"}
    assert sorted(spans.ended()) == sorted(spans.tree())
    assert spans.failed() == ({"fails", "waits", "waits.inner"} if spans.reports_cancellation else {"fails"})


# Sentry's scopes are in the context, but are changed in place: a copy of the context has the same ones.


@pytest.mark.parametrize("capture", [lambda: dict, a_context_each], ids=["plain", "context"])
@groups
def test_children_at_once_share_sentrys_scope(sentry: SentrySpans, open_group: Open, run: Run, capture: Any) -> None:
    found = overlap(sentry, open_group, run, capture)
    assert (found["a"], found["b"], found["a.inner"], found["c"]) == ("here", "a", "b", "b")


@groups
def test_children_at_once_with_a_snapshot_have_a_scope_each(sentry: SentrySpans, open_group: Open, run: Run) -> None:
    assert overlap(sentry, open_group, run, a_snapshot) == overlapped("request")


@bare_groups
def test_bare_worker_shares_sentrys_scope_with_each_request(sentry: SentrySpans, open_group: Open, run: Run) -> None:
    found = share_worker(sentry, open_group, run, contextlib.nullcontext)
    assert [found[f"job {number}"] for number in range(3)] == [f"request {number}" for number in range(3)]


@groups
def test_detached_worker_begins_a_trace_with_each_job_for_sentry(
    sentry: SentrySpans, open_group: Open, run: Run
) -> None:
    assert share_worker(sentry, open_group, run, clew.detached) == shared_worker(None)
