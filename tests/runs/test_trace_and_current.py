"""
`trace` blocks, the current run, and runs made by hand.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import threading
import weakref
from contextvars import copy_context
from typing import Any, Callable, List
from uuid import UUID

import pytest
import trio

import clew
from clew.errors import ArgumentTypeError
from clew.testing.fakes import FakeClock
from tests.edges._threads import DEADLINE, in_empty_context, is_gone

SECOND = 1_000_000_000


def test_a_block_is_a_run_with_what_was_added_to_it() -> None:
    with clew.record() as runs:
        with clew.trace(
            "search", "retriever", inputs={"q": ["a"]}, tags=["t"], metadata={"m": 1}, project_name="p"
        ) as run:
            assert clew.get_current_run_tree() is run
            run.add_outputs({"hits": 3})
            run.add_outputs({"more": True})
            run.add_inputs({"page": 1})
            run.add_tags("u")
            run.add_tags(["v", "w"])
            run.add_metadata({"n": 2})
            run.add_event("started")
            run.add_event({"name": "token", "text": "x", "time_ns": 5})
        assert clew.get_current_run_tree() is None
    found = runs.find(name="search")
    assert (found.run_type, found.status, found.project_name) == ("retriever", "success", "p")
    assert found.inputs == {"q": ["a"], "page": 1}
    assert found.outputs == {"hits": 3, "more": True}
    assert found.tags == ("t", "u", "v", "w")
    assert found.metadata == {"m": 1, "n": 2}
    first, second = found.events
    assert first["name"] == "started"
    assert found.start_time_ns <= first["time_ns"] <= found.end_time_ns  # type: ignore[operator]
    assert second == {"name": "token", "text": "x", "time_ns": 5}


@pytest.mark.parametrize("run_loop", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_an_async_block_does_the_same_on_every_loop(run_loop: Callable[[Any], Any]) -> None:
    async def main() -> None:
        async with clew.trace("outer"):
            async with clew.trace("inner"):
                pass
            with pytest.raises(ValueError, match="x"):
                async with clew.trace("failing"):
                    raise ValueError("x")

    with clew.record() as runs:
        run_loop(main) if run_loop is trio.run else run_loop(main())
    runs.assert_tree("outer\n  inner\n  failing [error]")


def test_a_block_that_fails_says_where() -> None:
    with clew.record() as runs, pytest.raises(ZeroDivisionError), clew.trace("divide"):
        1 / 0
    run = runs.find(name="divide")
    assert run.status == "error"
    assert "test_a_block_that_fails_says_where" in str(run.error)
    assert str(run.error).rstrip().endswith("ZeroDivisionError: division by zero")


def test_a_block_can_be_ended_inside_and_ends_once() -> None:
    with clew.record() as runs:
        with clew.trace("answer") as run:
            run.end(outputs={"text": "42"})
        run.end(outputs={"text": "43"})
    found = runs.find(name="answer")
    assert (found.outputs, found.status) == ({"text": "42"}, "success")


def test_a_block_ended_with_an_error_stays_one() -> None:
    with clew.record() as runs, clew.trace("answer") as run:
        run.end(error="refused")
    assert (runs.roots[0].status, runs.roots[0].error) == ("error", "refused")


def test_a_block_is_for_one_use() -> None:
    block = clew.trace("once")
    with block, pytest.raises(
        clew.ClewError, match=r"expected each trace\('once'\) block to be entered once, found it entered before"
    ):
        block.__enter__()
    with pytest.raises(RuntimeError):
        block.__enter__()


def test_a_block_with_recording_off_leaves_no_run_current() -> None:
    with clew.trace("quiet", inputs={"a": 1}) as run:
        assert clew.get_current_run_tree() is None
        run.add_outputs({"b": 2})
    assert run.status == "success"


def test_blocks_left_in_the_wrong_order_bring_no_ended_run_back(caplog: pytest.LogCaptureFixture) -> None:
    before = clew.stats().get("blocks_left_out_of_order", 0)

    def scenario() -> None:
        with clew.trace("root"):
            first, second = clew.trace("first"), clew.trace("second")
            first.__enter__()
            second.__enter__()
            first.__exit__(None, None, None)
            current = clew.get_current_run_tree()
            assert current is not None
            assert current.name == "second"
            second.__exit__(None, None, None)
            current = clew.get_current_run_tree()
            assert current is not None
            assert current.name == "root"

    with clew.record() as runs:
        in_empty_context(scenario)
    assert clew.stats()["blocks_left_out_of_order"] == before + 1
    assert all(run.status == "success" for run in runs)


def test_a_block_left_in_another_context_leaves_that_one_alone(caplog: pytest.LogCaptureFixture) -> None:
    with clew.record() as runs:
        block = clew.trace("moving")
        copy_context().run(block.__enter__)
        before = sum(
            clew.stats().get(kind, 0) for kind in ("blocks_left_out_of_order", "blocks_left_in_another_context")
        )
        with clew.trace("local"):
            block.__exit__(None, None, None)
            current = clew.get_current_run_tree()
            assert current is not None
            assert current.name == "local"
    after = sum(clew.stats().get(kind, 0) for kind in ("blocks_left_out_of_order", "blocks_left_in_another_context"))
    assert after == before + 1
    assert runs.find(name="moving").status == "success"


def test_a_block_left_in_a_copy_of_its_context_leaves_the_original_alone(caplog: pytest.LogCaptureFixture) -> None:
    with clew.record() as runs:
        block = clew.trace("moving")
        original = copy_context()
        original.run(block.__enter__)
        before = clew.stats().get("blocks_left_in_another_context", 0)
        original.copy().run(block.__exit__, None, None, None)
        assert clew.stats()["blocks_left_in_another_context"] == before + 1
        detached = original.run(clew.get_current_run_tree)
    assert detached is not None
    assert detached.status == "ended"
    assert runs.find(name="moving").status == "success"


def test_a_log_that_fails_does_not_reach_the_program() -> None:
    def refuse(record: object) -> bool:
        raise RuntimeError("the log is full")

    from clew._shared import incidents

    logger = logging.getLogger("clew")
    logger.addFilter(refuse)
    try:
        incidents.report("tests_of_failing_logs", "this is a test; do nothing")
    finally:
        logger.removeFilter(refuse)
    assert clew.stats()["tests_of_failing_logs"] == 1


def test_incidents_are_logged_once_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    from clew._shared.incidents import report

    for _ in range(3):
        report("tests_of_incidents", "this is a test; do nothing")
    assert clew.stats()["tests_of_incidents"] == 3
    assert [record.getMessage() for record in caplog.records] == [
        "this is a test; do nothing (counted as 'tests_of_incidents' in clew.stats(), logged once)"
    ]
    assert caplog.records[0].name == "clew"


# what outlives its parent


def test_a_job_that_outlives_its_parent_nests_under_it_and_finds_it_detached(caplog: pytest.LogCaptureFixture) -> None:
    go = threading.Event()
    found = []

    @clew.traceable
    def late() -> None:
        found.append(clew.get_current_run_tree())

    def job() -> None:
        go.wait(DEADLINE)
        parent = clew.get_current_run_tree()
        assert parent is not None
        found.append(parent)
        parent.add_outputs({"too": "late"})
        late()

    with clew.record() as runs, clew.ContextThreadPoolExecutor(1) as pool:
        with clew.trace("request", inputs={"big": "payload"}):
            future = pool.submit(job)
        before = clew.stats().get("runs_changed_after_end", 0)
        go.set()
        future.result(DEADLINE)
    runs.assert_tree("request\n  late")
    parent, child = found
    assert (parent.name, parent.status, parent.inputs) == ("request", "ended", {})
    assert parent.id == child.parent_id == runs.find(name="request").id
    assert parent.dotted_order == runs.find(name="request").dotted_order
    assert clew.stats()["runs_changed_after_end"] == before + 1
    assert runs.find(name="request").outputs is None


@pytest.mark.usefixtures("no_collector")
def test_a_timer_that_captured_a_run_keeps_nothing_of_its_payload() -> None:
    def scenario() -> tuple[clew.Snapshot, weakref.ref[clew.RunTree]]:
        with clew.record(), clew.trace("request", inputs={"big": "payload"}) as run:
            snapshot = clew.capture()
        return snapshot, weakref.ref(run)

    snapshot, reference = in_empty_context(scenario)
    assert is_gone(reference)
    detached = snapshot.run(clew.get_current_run_tree)
    assert detached is not None
    assert detached.name == "request"


def test_a_chain_deeper_than_the_stack_has_ids_and_a_tree() -> None:
    with clew.record() as runs:
        run = clew.RunTree("0")
        run.post()
        for number in range(1, 5000):
            child = run.create_child(str(number))
            child.post()
            run.end()
            run = child
        run.end()
    assert len(run.dotted_order) < 6_500
    assert run.trace_id == runs.roots[0].id
    assert len(runs.tree().splitlines()) == len(list(runs)) == 5000


def test_a_log_handler_may_change_a_run_that_is_reported() -> None:
    class Changing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            run.add_metadata({"logged": True})

    from clew._shared import incidents

    run = clew.RunTree("ended")
    run.end()
    handler = Changing()
    incidents._counts.pop("runs_changed_after_end", None)
    incidents._logged.pop("runs_changed_after_end", None)
    logging.getLogger("clew").addHandler(handler)
    try:
        run.add_tags("late")
    finally:
        logging.getLogger("clew").removeHandler(handler)
    assert clew.stats()["runs_changed_after_end"] == 2


def test_payloads_that_are_no_dicts_are_kept_under_a_name() -> None:
    with clew.record() as runs, clew.trace("x", inputs="text") as run:  # type: ignore[arg-type]
        run.add_outputs([1, 2])  # type: ignore[arg-type]
    assert (runs.roots[0].inputs, runs.roots[0].outputs) == ({"input": "text"}, {"output": [1, 2]})


# by hand


def test_runs_made_by_hand_form_a_tree() -> None:
    with clew.record() as runs:
        root = clew.RunTree("pipeline", inputs={"text": "x"}, tags=["a"])
        root.post()
        child = root.create_child("llm", "llm", inputs={"prompt": "x"})
        child.post()
        child.end(outputs={"text": "y"})
        failing = root.create_child("tool", "tool")
        failing.post()
        failing.end(error="no such tool")
        root.end(outputs={"text": "y"})
    runs.assert_tree("pipeline\n  llm\n  tool [error]")
    assert runs.find(name="llm").tags == ("a",)
    assert runs.find(run_type="tool").error == "no such tool"


def test_a_child_starts_no_earlier_than_its_parent_though_the_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from clew.runs import run as run_module
    from clew.runs._tree import live_run as live_run_module

    ticks = iter([2_000, 1_000, 500, 400])
    for module in (run_module, live_run_module):
        monkeypatch.setattr(module, "now_ns", lambda: next(ticks))
    with clew.record() as runs, clew.trace("outer"), clew.trace("inner"):
        pass
    outer, inner = runs
    assert (outer.start_time_ns, outer.end_time_ns) == (2_000, 2_000)
    assert (inner.start_time_ns, inner.end_time_ns) == (2_000, 2_000)


def test_an_event_is_no_earlier_than_its_run_though_the_clock_is_set_back() -> None:
    @clew.traceable
    def tokens() -> Any:
        clock.set(SECOND)
        yield "a"

    with FakeClock(start_ns=5 * SECOND) as clock, clew.record() as runs:
        with clew.trace("block") as run:
            clock.set(4 * SECOND)
            run.add_event("early")
            run.add_event({"name": "told", "time_ns": 3})
            clock.set(6 * SECOND)
            run.add_event(["late"])
        clock.set(5 * SECOND)
        list(tokens())
    assert [event["time_ns"] for event in runs.find(name="block").events] == [5 * SECOND, 3, 6 * SECOND]
    assert [event["time_ns"] for event in runs.find(name="tokens").events] == [5 * SECOND]


def test_a_run_is_ended_by_one_of_many_threads() -> None:
    for _ in range(50):
        run = clew.RunTree("contended")
        meeting = threading.Barrier(4, timeout=DEADLINE)
        ended = []

        def end(run: clew.RunTree = run, meeting: threading.Barrier = meeting, ended: list[bool] = ended) -> None:
            meeting.wait()
            ended.append(run._close("success"))

        threads = [threading.Thread(target=end) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert sorted(ended) == [False, False, False, True]


def test_many_threads_get_the_same_id_of_a_run() -> None:
    for _ in range(50):
        run = clew.RunTree("contended")
        meeting = threading.Barrier(4, timeout=DEADLINE)
        found = []

        def ask(run: clew.RunTree = run, meeting: threading.Barrier = meeting, found: list[Any] = found) -> None:
            meeting.wait()
            found.append(run.id)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
        assert len(set(found)) == 1


def test_ids_are_unique_and_sorted_by_time() -> None:
    ids = [clew.RunTree("x").id for _ in range(2000)]
    assert len(set(ids)) == len({one.int & (1 << 64) - 1 for one in ids}) == 2000
    assert [one.int >> 80 for one in ids] == sorted(one.int >> 80 for one in ids)


def test_ids_of_threads_are_unique() -> None:
    def make() -> List[str]:
        return [clew.RunTree("x").span_id for _ in range(2000)]

    with clew.ContextThreadPoolExecutor(8) as pool:
        found = [span_id for job in [pool.submit(make) for _ in range(8)] for span_id in job.result(DEADLINE)]
    assert len(set(found)) == len(found) == 16_000


# 3.12+: other tests may have left threads, of which a fork warns.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_forked_child_draws_ids_of_its_own() -> None:
    clew.RunTree("x").span_id  # so that some are drawn already
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writing, clew.RunTree("child").span_id.encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with open(reading, encoding="ascii") as child:
        assert child.read() != clew.RunTree("parent").span_id


def test_tags_and_metadata_can_be_added_in_place() -> None:
    with clew.record() as runs, clew.trace("x", tags=["a"], metadata={"a": 1}) as run:
        run.tags.append("b")
        tags = run.tags
        tags += ["c", "d"]
        run.metadata["b"] = 2
        run.metadata.update({"c": 3}, d=4)
        assert run.metadata.setdefault("a", 5) == 1
        assert run.metadata.setdefault("e", 5) == 5
        copied = pickle.loads(pickle.dumps((run.tags, run.metadata)))
    found = runs.find(name="x")
    assert found.tags == ("a", "b", "c", "d")
    assert found.metadata == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    assert copied == (["a", "b", "c", "d"], found.metadata)


def test_what_is_set_replaces_what_there_was() -> None:
    @clew.traceable(tags=["a"], metadata={"a": 1})
    def fn(n: int, run_tree: Any = None) -> int:
        run_tree.set(inputs={"i": 1}, outputs={"o": 1}, tags=["b"], metadata={"b": 2})
        clew.traceable(lambda: None)()
        return n

    with clew.record() as runs:
        fn(5)
        with clew.trace("nothing", inputs={"a": 1}, tags=["a"]) as run:
            run.set(inputs=None, outputs=None, tags=None)
    found, nothing = runs.roots
    assert (found.inputs, found.outputs, found.tags, found.metadata) == ({"i": 1}, {"o": 1}, ("b",), {"b": 2})
    assert found.children[0].tags == ("a",)
    assert (nothing.inputs, nothing.outputs, nothing.tags) == ({}, None, ())


def test_block_may_be_under_another_run_and_have_an_id_of_its_own() -> None:
    run_id = UUID("01a20137-b201-7e4c-9aba-ed1cbb092982")
    with clew.record() as runs:
        with clew.trace("parent") as parent:
            pass
        with clew.trace("around") as around:
            for given in (parent, parent.to_headers(), parent.dotted_order):
                with clew.trace("child", parent=given):
                    clew.traceable(lambda: None)()
            with clew.trace("root", parent="ignore", run_id=run_id):
                pass
            assert clew.get_current_run_tree() is around
    by_name = {root.name: root for root in runs.roots}
    assert [len(child.children) for child in by_name["parent"].children] == [1, 1, 1]
    assert by_name["root"].id == run_id


def test_run_by_hand_has_the_id_and_the_parent_that_it_is_given() -> None:
    run_id = UUID("01a20137-b201-7e4c-9aba-ed1cbb092982")
    with clew.record() as runs:
        above = clew.RunTree("above", id=str(run_id), extra={"metadata": {"k": 1}})
        above.post()
        below = clew.RunTree("below", parent_run=above)
        below.post()
        below.patch()
        below.patch()
        above.create_child("last", run_id=UUID(int=run_id.int + 1)).post()
        above.end(metadata={"end": 2})
    (root,) = runs.roots
    assert (root.id, root.metadata, root.status) == (run_id, {"k": 1, "end": 2}, "success")
    assert [(run.name, run.parent_run_id, run.status) for run in root.children] == [
        ("below", run_id, "success"),
        ("last", run_id, "pending"),
    ]
    assert root.children[1].id.int == run_id.int + 1


def test_options_that_are_langsmiths_alone_are_counted() -> None:
    before = clew.stats().get("options_ignored", 0)
    client: Any = object()
    with clew.trace("x", client=client, attachments=None):
        pass
    clew.RunTree("x", serialized={})
    clew.traceable("chain", client=client)(print)  # type: ignore[call-overload]
    clew.traceable(len)("1", langsmith_extra={"client": client, "reference_example_id": None})  # type: ignore[call-arg]
    assert clew.stats()["options_ignored"] == before + 4
    with pytest.raises(TypeError, match="expected the options that trace has, got colour, size"):
        clew.trace("x", size=1, colour="red")


def test_handled_exceptions_may_be_any_collection_of_them(runs: clew.Recording) -> None:
    for given in ([ValueError], (ValueError, KeyError), {ValueError}, ValueError):
        with pytest.raises(ValueError, match="mine"), clew.trace("block", exceptions_to_handle=given):  # type: ignore[arg-type]
            raise ValueError("mine")
    assert [root.status for root in runs.roots] == ["success"] * 4


@pytest.mark.parametrize("given", [5, [5], ["ValueError"], (ValueError, int)])
def test_handled_exceptions_that_are_none_are_refused(given: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="expected exceptions_to_handle= as classes of exceptions, got"):
        clew.trace("block", exceptions_to_handle=given)
