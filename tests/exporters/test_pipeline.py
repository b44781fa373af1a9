"""
The pipeline: every run that ends gets to every exporter, and nothing of an exporter's gets to the traced program.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref
from contextvars import ContextVar
from typing import Any, Deque, List, Sequence

import pytest

import clew
from clew.errors import RunsRefusedError
from clew.exporters.pipeline import Pipeline
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone
from tests.exporters._exporters import Failing, Hanging, Keeping, counted, exporting_to, make_run

SOON = 0.05  # seconds: a deadline that is meant to pass


@clew.traceable
def add(a: int, b: int) -> int:
    return a + b


@clew.traceable
def outer() -> int:
    return add(1, 2)


def test_every_exporter_gets_each_run_once_and_whole() -> None:
    first, second = Keeping(), Keeping()
    with exporting_to(first, second) as pipeline:
        in_empty_context(outer)
        assert pipeline.flush(DEADLINE)
    for exporter in (first, second):
        child, root = [run for batch in exporter.batches for run in batch]
        assert (child.name, child.parent_id, child.status) == ("add", root.id, "success")
        assert (child.inputs, child.outputs) == ({"a": 1, "b": 2}, {"output": 3})
        assert isinstance(root, clew.Run)
        assert root.end_time_ns is not None
    assert first.batches[0][0] is second.batches[0][0]
    assert [0 <= timeout <= DEADLINE for timeout in first.shutdowns] == [True]


def test_what_one_exporter_is_handed_is_not_to_be_changed_for_the_others() -> None:
    class Emptying(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            assert isinstance(runs, tuple)

    with exporting_to(Emptying(), Keeping()) as pipeline:
        make_run("run")
        assert counted("exports_failed", lambda: pipeline.flush(DEADLINE)) == 0


def test_recording_is_on_for_as_long_as_the_pipeline_is_open() -> None:
    keeping = Keeping()
    make_run("before")
    with exporting_to(keeping):
        make_run("during")
    make_run("after")
    assert keeping.names == ["during"]


def test_exporter_runs_in_one_named_daemon_thread_in_an_empty_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="nothing")
    seen: List[str] = []

    class Looking(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            super().export(runs)
            seen.append(variable.get())

    def trace() -> None:
        variable.set("mine")
        make_run("run")
        assert pipeline.flush(DEADLINE)

    looking = Looking()
    with exporting_to(looking) as pipeline:
        in_empty_context(trace)
        in_empty_context(trace)
    assert seen == ["nothing", "nothing"]
    (thread,) = set(looking.threads)
    assert (thread.name, thread.daemon) == ("clew-exporter", True)
    thread.join(DEADLINE)
    assert not thread.is_alive()


def test_no_thread_is_there_before_there_is_a_run() -> None:
    def exporting() -> List[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "clew-exporter"]

    before = len(exporting())
    with exporting_to(Keeping()) as pipeline:
        assert pipeline.flush(DEADLINE)
        assert len(exporting()) == before
        make_run("run")
        assert len(exporting()) == before + 1


def test_runs_of_an_exporter_are_not_exported() -> None:
    class Traced(Keeping):
        @clew.traceable
        def export(self, runs: Sequence[clew.Run]) -> None:
            super().export(runs)
            with clew.trace("inside"):
                add(1, 2)
            thread = clew.ContextThread(target=make_run, args=("in a thread of its own",))
            thread.start()
            thread.join(DEADLINE)

    traced = Traced()
    with clew.record() as runs, exporting_to(traced) as pipeline:
        make_run("run")
        assert pipeline.flush(DEADLINE)
        assert pipeline.flush(DEADLINE)
    assert traced.names == ["run"]
    assert [run.name for run in runs] == ["run"]


@pytest.mark.parametrize("error", [OSError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_failing_export_is_tried_again(error: BaseException) -> None:
    failing, keeping = Failing(error, error), Keeping()
    with exporting_to(failing, keeping) as pipeline:

        def export() -> None:
            make_run("first")
            assert pipeline.flush(DEADLINE)
            make_run("second")
            assert pipeline.flush(DEADLINE)

        assert counted("exports_failed", export) == 2
    assert failing.names == ["first", "second"]
    assert keeping.names == ["first", "second"], "who has not failed is not asked again"


def test_export_that_keeps_failing_is_given_up_and_the_next_one_is_tried() -> None:
    failing = Failing(*[OSError("no")] * 3)
    with exporting_to(failing, attempts=3, max_batch=2, delay=DEADLINE) as pipeline:

        def export() -> None:
            with clew.trace("outer"):
                make_run("inner")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_lost", export) == 2
        make_run("next")
        assert pipeline.flush(DEADLINE), "what was lost before the last call is told"
    assert failing.names == ["next"]


def test_run_that_is_refused_does_not_come_again_and_is_counted() -> None:
    class Refusing(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            good = [run for run in runs if run.name != "bad"]
            super().export(good)
            if len(good) < len(runs):
                raise RunsRefusedError("no", len(runs) - len(good))

    refusing, keeping = Refusing(), Keeping()
    with exporting_to(refusing, keeping, max_batch=3, delay=DEADLINE) as pipeline:

        def export() -> None:
            for name in ("first", "bad", "second"):
                make_run(name)
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_refused", export) == 1
        assert pipeline.flush(DEADLINE)
    assert refusing.batches == [[keeping.batches[0][0], keeping.batches[0][2]]]
    assert keeping.names == ["first", "bad", "second"]


def test_run_that_cannot_be_read_is_no_reason_to_lose_the_others() -> None:
    keeping = Keeping()
    with exporting_to(keeping, max_batch=3, delay=DEADLINE) as pipeline:

        def export() -> None:
            make_run("first")
            with clew.trace("bad") as bad:
                bad.add_tags("t")
                bad._attributes.tags = None  # type: ignore[union-attr, assignment]  # as whoever has broken it
            make_run("second")
            assert not pipeline.flush(DEADLINE)

        assert counted("runs_refused", export) == 1
    assert keeping.names == ["first", "second"]


def test_exporter_that_fails_to_shut_down_is_counted() -> None:
    class Stuck(Keeping):
        def shutdown(self, timeout: float) -> None:
            raise OSError("no")

    stuck, keeping = Stuck(), Keeping()
    pipeline = Pipeline([stuck, keeping])
    pipeline.open()
    make_run("run")
    assert counted("exports_failed", lambda: pipeline.shutdown(DEADLINE)) == 1
    assert stuck.names == ["run"]
    assert len(keeping.shutdowns) == 1


def test_exporter_of_two_pipelines_is_called_by_one_at_a_time() -> None:
    is_called_twice, is_reached = threading.Event(), threading.Event()

    class Both(Hanging):
        def export(self, runs: Sequence[clew.Run]) -> None:
            if self.is_in.is_set() and not self.may_go.is_set():
                is_called_twice.set()
            super().export(runs)

    class Before(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            is_reached.set()

    both = Both()
    with exporting_to(both) as old:
        make_run("first")
        assert both.is_in.wait(DEADLINE)
        with exporting_to(Before(), both, before=old):
            make_run("second")
            assert is_reached.wait(DEADLINE)
            assert not is_called_twice.wait(SOON)
            both.may_go.set()
    assert both.names == ["first", "second", "second"]


def test_full_queue_drops_the_newest_and_never_waits() -> None:
    hanging = Hanging()
    with exporting_to(hanging, max_queued=3) as pipeline:
        make_run("0")
        assert hanging.is_in.wait(DEADLINE)
        assert counted("runs_dropped", lambda: [make_run(str(number)) for number in range(1, 6)]) == 2
        assert not pipeline.flush(SOON)
        hanging.may_go.set()
        assert not pipeline.flush(DEADLINE), "all that is left is delivered, and some is not left"
        make_run("6")
        assert pipeline.flush(DEADLINE)
    assert hanging.names == ["0", "1", "2", "3", "6"]


def test_queue_smaller_than_a_batch_is_emptied_before_it_is_full() -> None:
    is_done = threading.Event()

    class Telling(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            super().export(runs)
            is_done.set()

    keeping = Telling()
    with exporting_to(keeping, max_queued=2, max_batch=100, delay=DEADLINE) as pipeline:
        make_run("0")
        make_run("1")
        assert is_done.wait(DEADLINE)
        assert pipeline.flush(DEADLINE)
    assert keeping.names == ["0", "1"]


class Telling:
    """Be the lock that the thread sleeps at, and tell when it falls asleep with nothing to do."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.is_asleep = threading.Event()

    def acquire(self, *, timeout: float = -1) -> bool:
        if timeout < 0:
            self.is_asleep.set()
        return self.lock.acquire(timeout=timeout)

    def release(self) -> None:
        self.lock.release()


def test_run_that_ends_while_the_thread_falls_asleep_wakes_it() -> None:
    is_done = threading.Event()

    class Ready(Hanging):
        def export(self, runs: Sequence[clew.Run]) -> None:
            super().export(runs)
            if "second" in self.names:
                is_done.set()

    class SlowQueue(Deque[Any]):
        def append(self, item: Any) -> None:
            if getattr(item, "name", None) == "second":
                ready.may_go.set()
                assert pipeline._wake.is_asleep.wait(DEADLINE)
            super().append(item)

    ready = Ready()
    with exporting_to(ready) as pipeline:
        pipeline._queue = SlowQueue()
        make_run("first")
        assert ready.is_in.wait(DEADLINE)
        pipeline._wake = Telling()
        make_run("second")
        assert is_done.wait(DEADLINE), "it waits for the next run"


def test_batches_are_bounded_and_wait_for_others() -> None:
    keeping = Keeping()
    with exporting_to(keeping, max_batch=4, delay=DEADLINE) as pipeline:
        for number in range(10):
            make_run(str(number))
        assert pipeline.flush(DEADLINE)
    assert keeping.names == [str(number) for number in range(10)]
    assert max(len(batch) for batch in keeping.batches) <= 4
    assert len(keeping.batches) <= 5


def test_deadlines_are_kept_when_an_exporter_hangs() -> None:
    hanging = Hanging()
    pipeline = Pipeline([hanging], delay=0.0)
    pipeline.open()
    make_run("first")
    assert hanging.is_in.wait(DEADLINE)
    make_run("second")
    start = time.monotonic()
    assert not pipeline.flush(SOON)
    assert counted("runs_lost", lambda: pipeline.shutdown(SOON)) == 2
    assert not pipeline.shutdown(SOON)
    assert not pipeline.flush(SOON)
    assert time.monotonic() - start < DEADLINE / 2
    make_run("after")
    hanging.may_go.set()
    (thread,) = [t for t in threading.enumerate() if t is pipeline._thread]
    thread.join(DEADLINE)
    assert not thread.is_alive(), "it ends when it can"
    assert hanging.shutdowns == [0.0]
    assert hanging.names == ["first"]


def test_shutdown_twice_waits_for_the_same_end() -> None:
    keeping = Keeping()
    with exporting_to(keeping) as pipeline:
        make_run("run")
        assert pipeline.shutdown(DEADLINE)
        assert pipeline.shutdown(DEADLINE)
        assert pipeline.flush(DEADLINE)
    assert len(keeping.shutdowns) == 1


def test_flush_from_two_threads_tells_both() -> None:
    hanging = Hanging()
    told: List[bool] = []
    with exporting_to(hanging) as pipeline:
        make_run("run")
        assert hanging.is_in.wait(DEADLINE)
        threads = [threading.Thread(target=lambda: told.append(pipeline.flush(DEADLINE))) for _ in range(2)]
        for thread in threads:
            thread.start()
        hanging.may_go.set()
        for thread in threads:
            thread.join(DEADLINE)
    assert told == [True, True]


def test_flush_and_shutdown_in_an_exporter_do_not_wait_for_themselves() -> None:
    told: List[bool] = []

    class Impatient(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            super().export(runs)
            told.extend([pipeline.flush(DEADLINE), pipeline.shutdown(DEADLINE)])

    impatient = Impatient()
    pipeline = Pipeline([impatient], delay=0.0)
    pipeline.open()
    make_run("run")
    pipeline.shutdown(DEADLINE)
    assert told == [False, False]
    assert impatient.names == ["run"]
    assert len(impatient.shutdowns) == 1


def test_flush_cuts_the_wait_before_the_next_try_short() -> None:
    failed = threading.Event()

    class Telling(Failing):
        def export(self, runs: Sequence[clew.Run]) -> None:
            failed.set()
            super().export(runs)

    failing = Telling(OSError("no"))
    with exporting_to(failing, back_off=1000.0) as pipeline:
        make_run("run")
        assert failed.wait(DEADLINE)
        assert pipeline.flush(DEADLINE)
    assert failing.names == ["run"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signal.setitimer")
def test_signal_ends_a_flush_and_the_runs_still_arrive() -> None:
    class Alarm(Exception):
        pass

    def handle(*_: object) -> None:
        make_run("in a signal handler")
        raise Alarm

    hanging = Hanging()
    before = signal.signal(signal.SIGALRM, handle)
    try:
        with exporting_to(hanging) as pipeline:
            make_run("run")
            assert hanging.is_in.wait(DEADLINE)
            signal.setitimer(signal.ITIMER_REAL, SOON)
            with pytest.raises(Alarm):
                pipeline.flush(DEADLINE)
            hanging.may_go.set()
            assert pipeline.flush(DEADLINE)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert hanging.names == ["run", "in a signal handler"]


def test_run_that_ends_on_top_of_a_wake_up_does_not_wait_for_it() -> None:
    # As a finaliser or a signal handler may come anywhere: here, while the thread is being started.
    keeping = Keeping()
    with exporting_to(keeping) as pipeline:
        pipeline._claims[None] = threading.Lock()
        make_run("first")
        make_run("second")
        pipeline._claims.clear()
        assert pipeline.flush(DEADLINE)
    assert keeping.names == ["first", "second"]


def test_starts_are_told_of_runs_that_are_still_open() -> None:
    class Live(Keeping):
        def __init__(self) -> None:
            super().__init__()
            self.started: List[clew.Run] = []

        def export_starts(self, runs: Sequence[clew.Run]) -> None:
            self.started.extend(runs)

    live, other = Live(), Keeping()
    with exporting_to(live, other) as pipeline:
        with clew.trace("long"):
            assert pipeline.flush(DEADLINE)
            assert [(run.name, run.status, run.end_time_ns) for run in live.started] == [("long", "pending", None)]
            pipeline._delay = DEADLINE
            make_run("short")
            pipeline._delay = 0.0
        assert pipeline.flush(DEADLINE)
    assert live.names == other.names == ["short", "long"]
    assert {run.name for run in live.started} <= {"long", "short"}


def test_starts_that_are_too_many_take_no_room_from_ends() -> None:
    class Slow(Hanging):
        def export_starts(self, runs: Sequence[clew.Run]) -> None:
            self.started = [run.name for run in runs]
            self.is_in.set()
            assert self.may_go.wait(DEADLINE)

    slow = Slow()
    blocks = [clew.trace(str(number)) for number in range(5)]

    def enter() -> None:
        for block in blocks:
            block.__enter__()

    def leave(count: int) -> None:
        for _ in range(count):
            blocks.pop().__exit__(None, None, None)

    with exporting_to(slow, max_queued=3, max_batch=2) as pipeline:
        make_run("first")
        assert slow.is_in.wait(DEADLINE)
        assert counted("starts_dropped", enter) == 2
        assert counted("runs_dropped", lambda: leave(2)) == 0
        slow.may_go.set()
        assert pipeline.flush(DEADLINE), "a start that was dropped is no run that was"
        leave(3)
    assert slow.names == ["first", "4", "3", "2", "1", "0"]
    assert slow.started == ["2"], "in batches of two"


def test_starts_that_are_refused_lose_nothing() -> None:
    class Refusing(Keeping):
        def export_starts(self, runs: Sequence[clew.Run]) -> None:
            raise OSError("no")

    refusing = Refusing()
    with exporting_to(refusing, max_queued=4) as pipeline:
        with clew.trace("outer"):
            assert pipeline.flush(DEADLINE)
            make_run("inner")
        assert pipeline.flush(DEADLINE)
    assert refusing.names == ["inner", "outer"]


def test_payloads_are_let_go_of_once_they_are_delivered(no_collector: None) -> None:
    class Forgetting(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            pass

    value = Value()
    with exporting_to(Forgetting()) as pipeline:
        with clew.trace("run") as run:
            run._result = value
        reference = weakref.ref(value)
        del value, run
        assert pipeline.flush(DEADLINE)
        make_run("so that the thread has put away what it had")
        assert pipeline.flush(DEADLINE)
        assert is_gone(reference)


def test_two_hundred_thousand_runs_of_several_threads_all_arrive() -> None:
    count, threads = 50_000, 4
    seen = 0

    class Counting(Keeping):
        def export(self, runs: Sequence[clew.Run]) -> None:
            nonlocal seen
            seen += len(runs)

    def work() -> None:
        for number in range(count):
            add(number, 1)

    with exporting_to(Counting(), max_queued=count * threads) as pipeline:
        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(4 * DEADLINE)
        assert pipeline.flush(4 * DEADLINE)
    assert seen == count * threads
    gc.collect()


@clew.traceable
def keep(payload: Any) -> None:
    pass


@pytest.mark.parametrize("payload", ["x" * 60_000, ["x" * 60_000], {"a": ["x" * 30_000] * 2}])
def test_queue_is_bounded_in_bytes(payload: Any) -> None:
    exporter = Hanging()
    with exporting_to(exporter, max_queued_bytes=1_000_000) as pipeline:
        make_run("first")
        assert exporter.is_in.wait(DEADLINE)
        dropped = counted("runs_dropped", lambda: [keep(payload) for _ in range(100)])
        assert 100 - 21 <= dropped <= 100 - 13
        make_run("small")  # small runs are not measured while few wait
        exporter.may_go.set()
        assert not pipeline.flush(DEADLINE)
        assert len(exporter.names) == 102 - dropped
        assert exporter.names[-1] == "small"
        assert counted("runs_dropped", lambda: keep(payload)) == 0  # there is room again
        assert pipeline.flush(DEADLINE)


def test_results_count_for_the_bound_of_the_queue() -> None:
    @clew.traceable
    def produce() -> List[str]:
        return ["x" * 60_000]

    @clew.traceable
    def stream() -> Any:
        yield from ("x" * 60_000,)

    for call in (produce, lambda: list(stream())):
        exporter = Hanging()
        with exporting_to(exporter, max_queued_bytes=1_000_000):
            make_run("first")
            assert exporter.is_in.wait(DEADLINE)
            assert counted("runs_dropped", lambda: [call() for _ in range(100)]) > 80  # noqa: B023  called at once


def test_many_small_runs_count_for_the_bound_of_the_queue() -> None:
    exporter = Hanging()
    with exporting_to(exporter, max_queued_bytes=1_000_000):
        make_run("first")
        assert exporter.is_in.wait(DEADLINE)
        dropped = counted("runs_dropped", lambda: [keep("x" * 10_000) for _ in range(2_000)])
        assert 1_800 < dropped < 1_950


def test_run_that_alone_is_larger_than_the_bound_of_the_queue_is_exported() -> None:
    exporter = Keeping()
    with exporting_to(exporter, max_queued_bytes=1_000) as pipeline:
        keep("x" * 60_000)
        assert pipeline.flush(DEADLINE)
    assert exporter.names == ["keep"]


def test_large_runs_that_have_started_are_bounded_in_bytes() -> None:
    class Telling(Hanging):
        def export_starts(self, runs: Sequence[clew.Run]) -> None:
            pass

    exporter = Telling()
    with exporting_to(exporter, max_queued_bytes=1_000_000):
        make_run("first")
        assert exporter.is_in.wait(DEADLINE)
        assert counted("starts_dropped", lambda: [keep("x" * 60_000) for _ in range(100)]) > 75
