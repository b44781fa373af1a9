"""
`Snapshot.attached` and `detached`: blocks that change the current context.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import Any, Iterator, List, Tuple

import pytest

import clew
from clew.context._stepping import seams
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone

var: ContextVar[object] = ContextVar("var", default="default")
other: ContextVar[object] = ContextVar("other", default="default")


def captured_with(value: object) -> clew.Snapshot:
    def set_and_capture() -> clew.Snapshot:
        var.set(value)
        return clew.capture()

    return in_empty_context(set_and_capture)


def elsewhere(fn: Any) -> Any:
    """Call in a new context in which both variables have values."""

    def call() -> Any:
        var.set("here")
        other.set("here")
        return fn()

    return in_empty_context(call)


def test_attached_values_are_current_in_the_block_and_back_after_it() -> None:
    def scenario() -> List[object]:
        with captured_with("ada").attached():
            inside = var.get()
            var.set("changed inside")
        return [inside, var.get()]

    assert elsewhere(scenario) == ["ada", "here"]
    with captured_with("ada").attached():
        assert var.get() == "ada"
    assert var not in copy_context()


def test_attached_block_leaves_what_the_snapshot_does_not_have() -> None:
    def scenario() -> List[object]:
        with captured_with("ada").attached():
            inside = other.get()
            other.set("set inside")
        return [inside, other.get()]

    assert elsewhere(scenario) == ["here", "set inside"]


def test_attached_compares_no_values() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    mine = Odd()

    def scenario() -> bool:
        var.set(Odd())
        with captured_with(mine).attached():
            return var.get() is mine

    assert in_empty_context(scenario)


def test_attached_block_that_raises_puts_everything_back() -> None:
    def scenario() -> object:
        with pytest.raises(KeyError), captured_with("ada").attached():
            raise KeyError
        return var.get()

    assert elsewhere(scenario) == "here"


def test_one_snapshot_serves_blocks_within_blocks_and_in_many_threads_at_once() -> None:
    snapshot = captured_with("ada")
    meeting = threading.Barrier(4, timeout=DEADLINE)
    found: List[object] = []

    def job() -> None:
        with snapshot.attached():
            meeting.wait()
            with snapshot.attached():
                var.set(threading.get_ident())
                meeting.wait()
            found.append(var.get())

    threads = [threading.Thread(target=job) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert found == ["ada"] * 4


def test_attached_block_in_a_task_is_that_tasks_own() -> None:
    snapshot = captured_with("ada")

    async def attach(ready: asyncio.Event, go_on: asyncio.Event) -> object:
        with snapshot.attached():
            ready.set()
            await go_on.wait()
            return var.get()

    async def main() -> Tuple[object, object]:
        ready, go_on = asyncio.Event(), asyncio.Event()
        task = asyncio.ensure_future(attach(ready, go_on))
        await ready.wait()
        seen = var.get()
        go_on.set()
        return await task, seen

    assert in_empty_context(asyncio.run, main()) == ("ada", "default")


@pytest.mark.parametrize("make", [lambda: captured_with("ada").attached(), clew.detached], ids=["attached", "detached"])
def test_block_is_for_one_use(make: Any) -> None:
    block = make()
    with block:
        pass
    with pytest.raises(clew.ClewError, match=r"expected each .* block to be entered once"), block:
        pass


def leave_in_another_thread(block: Any, *exc_info: Any) -> List[BaseException]:
    raised: List[BaseException] = []

    def leave() -> None:
        try:
            block.__exit__(*(exc_info or (None, None, None)))
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=leave)
    in_empty_context(thread.start)
    thread.join(DEADLINE)
    return raised


@pytest.mark.parametrize("make", [lambda: captured_with("ada").attached(), clew.detached], ids=["attached", "detached"])
def test_block_left_in_another_thread_says_so(make: Any) -> None:
    def scenario() -> List[BaseException]:
        block = make()
        block.__enter__()
        return leave_in_another_thread(block)

    [error] = elsewhere(scenario)
    assert isinstance(error, clew.ClewError)
    assert "expected the" in str(error)
    assert "in another context" not in str(error)
    assert "enter and leave it in one thread or task" in str(error)


def test_block_left_in_a_copy_of_its_context_says_so() -> None:
    def scenario() -> None:
        block = captured_with("ada").attached()
        block.__enter__()
        with pytest.raises(ValueError, match="to be left in the context in which it was entered"):
            copy_context().run(block.__exit__, None, None, None)
        block.__exit__(None, None, None)
        assert var.get() == "here"

    elsewhere(scenario)


def test_exception_of_a_block_left_in_another_context_comes_through_and_it_is_counted() -> None:
    before = clew.stats().get("blocks_left_in_another_context", 0)

    def body() -> Iterator[None]:
        with captured_with("ada").attached():
            yield

    generator = body()
    in_empty_context(next, generator)
    with pytest.raises(KeyError, match="mine"):
        in_empty_context(generator.throw, KeyError("mine"))  # type: ignore[attr-defined]
    assert clew.stats()["blocks_left_in_another_context"] == before + 1


def test_blocks_left_out_of_order_end_with_what_was_there_before_them() -> None:
    before = clew.stats().get("blocks_left_out_of_order", 0)

    def scenario() -> List[object]:
        first, second = captured_with("first").attached(), captured_with("second").attached()
        seen = []
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        seen.append(var.get())
        second.__exit__(None, None, None)
        seen.append(var.get())
        with captured_with("third").attached():
            seen.append(var.get())
        return [*seen, var.get()]

    assert elsewhere(scenario) == ["second", "here", "third", "here"]
    assert clew.stats()["blocks_left_out_of_order"] == before + 1


def test_block_in_a_copy_of_the_context_takes_nothing_back_here() -> None:
    def use_a_block() -> None:
        with clew.detached():
            pass

    def scenario() -> object:
        outer, inner = captured_with("snapshot's").attached(), clew.detached()
        outer.__enter__()
        copy = copy_context()
        inner.__enter__()
        outer.__exit__(None, None, None)
        thread = threading.Thread(target=copy.run, args=(use_a_block,))
        thread.start()
        thread.join(DEADLINE)
        inner.__exit__(None, None, None)
        return var.get()

    assert elsewhere(scenario) == "here"


def capture_in_run() -> clew.Snapshot:
    with clew.trace("captured"):
        return clew.capture()


def test_run_of_the_snapshot_is_the_parent_in_the_block_and_with_link_a_link() -> None:
    with clew.record() as runs:
        snapshot = capture_in_run()
        with clew.trace("here"):
            with snapshot.attached(), clew.trace("child"):
                pass
            with snapshot.attached(link=True), clew.trace("linked"):
                pass
            with clew.trace("after"):
                pass
    runs.assert_tree(
        """
        captured
        └── child
        here
        └── after
        linked
        """
    )
    captured, linked = runs.find(name="captured"), runs.find(name="linked")
    assert linked.links == ((captured.trace_id, captured.span_id),)
    assert runs.find(name="after").links == runs.find(name="child").links == ()


def test_snapshot_without_a_run_takes_the_run_away() -> None:
    snapshot = captured_with("ada")
    with clew.record() as runs, clew.trace("here"):
        with snapshot.attached(), clew.trace("root"):
            pass
        with snapshot.attached(link=True), clew.trace("root too"):
            pass
        with clew.trace("after"):
            pass
    runs.assert_tree(
        """
        here
        └── after
        root
        root too
        """
    )
    assert runs.find(name="root").links == runs.find(name="root too").links == ()


def test_detached_begins_a_new_trace_that_is_linked_and_leaves_variables_alone() -> None:
    def scenario() -> None:
        with clew.trace("request") as request:
            with clew.detached():
                assert clew.get_current_run_tree() is None
                assert var.get() == "here"
                var.set("set inside")
                with clew.trace("job"), clew.trace("step"):
                    pass
                with clew.trace("second job"):
                    pass
            assert clew.get_current_run_tree() is request
            assert var.get() == "set inside"

    with clew.record() as runs:
        elsewhere(scenario)
    runs.assert_tree(
        """
        request
        job
        └── step
        second job
        """
    )
    request = runs.find(name="request")
    link = (request.trace_id, request.span_id)
    assert runs.find(name="job").links == runs.find(name="second job").links == (link,)
    assert runs.find(name="step").links == ()
    assert runs.find(name="job").trace_id != request.trace_id


def test_detached_reaches_what_is_started_inside_and_no_further() -> None:
    @clew.traceable
    def job() -> None: ...

    with clew.record() as runs, clew.ContextThreadPoolExecutor(1) as pool, clew.trace("request"):
        with clew.detached():
            pool.submit(job).result(DEADLINE)
            thread = clew.ContextThread(target=job)
            thread.start()
            thread.join(DEADLINE)
            bound = clew.bind(job)
        bound()
        pool.submit(job).result(DEADLINE)
    runs.assert_tree(
        """
        request
        └── job
        job
        job
        job
        """
    )


def test_detached_without_link_has_none_and_one_within_another_links_to_the_nearest_run() -> None:
    with clew.record() as runs, clew.trace("request"):
        with clew.detached(link=False), clew.trace("unlinked"), clew.detached(), clew.trace("inner"):
            pass
        with clew.detached():
            with clew.detached(), clew.trace("still linked"):
                pass
            with clew.detached(link=False), clew.trace("link dropped"):
                pass

    def linked_to(name: str) -> List[str]:
        return [link.span_id for link in runs.find(name=name).links]

    assert linked_to("unlinked") == linked_to("link dropped") == []
    assert linked_to("inner") == [runs.find(name="unlinked").span_id]
    assert linked_to("still linked") == [runs.find(name="request").span_id]


def test_tracer_that_raises_keeps_no_block_from_working(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise KeyError("tracer")

    def fail_later(undo: List[Any], **_: object) -> None:
        undo.append(fail)

    broken = [seams.Tracer(fail, fail), seams.Tracer(lambda: True, fail), seams.Tracer(lambda: True, fail_later)]
    monkeypatch.setattr(seams, "tracers", seams.tracers)
    seams.tracers.extend(broken)
    before = clew.stats().get("tracers_failed", 0)
    try:
        with clew.record() as runs, clew.trace("request"):
            with clew.detached(), clew.trace("job"):
                pass
            with captured_with("ada").attached():
                assert var.get() == "ada"
            with clew.trace("after"):
                pass
    finally:
        del seams.tracers[-len(broken) :]
    runs.assert_tree(
        """
        request
        └── after
        job
        """
    )
    assert clew.stats()["tracers_failed"] > before


@pytest.mark.usefixtures("no_collector")
def test_nothing_is_alive_after_the_block() -> None:
    value = Value()
    reference = weakref.ref(value)
    snapshot = captured_with(value)

    def scenario(snapshot: clew.Snapshot) -> None:
        with snapshot.attached():
            pass
        with snapshot.attached(link=True), clew.detached():
            pass

    context = Context()
    context.run(scenario, snapshot)
    del value, snapshot
    assert is_gone(reference)
