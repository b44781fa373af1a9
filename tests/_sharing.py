"""
Ten kinds of sharing one object between threads, each with its invariants: for Pythons without a GIL most of all.

`python -m tests._sharing 300` shares each kind in turn for 300 seconds in all, and prints how often it did.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Callable, Dict, Iterator, List, Sequence

import clew

__all__ = ("KINDS", "share")

THREADS = 4
EACH = 25  # operations of a thread in one round
TIMEOUT = 60.0
user: ContextVar[object] = ContextVar("user", default=None)


def together(work: Callable[[int], object], threads: int = THREADS) -> List[Any]:
    """Call `work(number)` in so many threads, which begin at once. Return the results; raise the first exception."""
    barrier = threading.Barrier(threads)
    results: List[Any] = [None] * threads
    errors: List[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(TIMEOUT)
            results[number] = work(number)
        except BaseException as error:
            errors.append(error)

    workers = [Thread(target=run, args=(number,), daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(TIMEOUT)
        assert not worker.is_alive(), "a thread hangs"
    for error in errors:
        raise error
    return results


@contextmanager
def counted(*kinds: str) -> Iterator[Dict[str, int]]:
    """Fill a dict with how often each kind of incident has happened in the block."""
    found: Dict[str, int] = {}
    before = clew.stats()
    yield found
    after = clew.stats()
    found.update({kind: after.get(kind, 0) - before.get(kind, 0) for kind in kinds})


class Counting:
    """An exporter that counts how often it gets each run."""

    def __init__(self) -> None:
        self.ended: Counter[Any] = Counter()

    def export(self, runs: Sequence[clew.Run]) -> None:
        for run in runs:
            assert run.end_time_ns is not None
            self.ended[run.id] += 1

    def shutdown(self, timeout: float) -> None:
        """Keep the counts."""


@clew.traceable
def inner(value: int) -> int:
    return value + 1


@clew.traceable
def outer(value: int) -> int:
    return inner(value) + 1


def traced_function() -> int:
    with clew.record() as runs:
        together(lambda number: [outer(number) for _ in range(EACH)])
    assert Counter(run.inputs["value"] for run in runs.roots) == Counter(dict.fromkeys(range(THREADS), EACH))
    for root in runs.roots:
        assert root.status == "success"
        assert root.outputs == {"output": root.inputs["value"] + 2}
        assert [(child.name, child.parent_id) for child in root.children] == [("inner", root.id)]
    assert len({run.id for run in runs}) == 2 * THREADS * EACH
    return 2 * THREADS * EACH


def run_tree() -> int:
    with counted("runs_changed_after_end") as late, clew.record() as runs:
        run = clew.RunTree("shared")
        seen = together(lambda number: _use(run, number))
    assert len(set(seen)) == 1
    (root,) = runs.roots
    assert (root.status, len(root.children)) == ("success", THREADS)
    # Each tag and each end but the first one is either in the run or counted.
    assert len(root.tags) + late["runs_changed_after_end"] == THREADS + THREADS - 1
    return THREADS


def _use(run: clew.RunTree, number: int) -> object:
    run.post()
    child = run.create_child("child")
    child.post()
    run.add_tags(f"tag {number}")
    child.end()
    run.end()
    return run.id, run.dotted_order, run.to_headers()["traceparent"]


def snapshot() -> int:
    user.set("captured")
    shared = clew.capture()
    user.set(None)
    bound = shared.bind(_replace_user)

    def use(number: int) -> None:
        for _ in range(EACH):
            user.set(number)
            assert shared.run(_replace_user, number) == bound(number) == "captured"
            with shared.attached():
                assert _replace_user(number) == "captured"
            assert user.get() == number

    together(use)
    assert user.get() is None
    return THREADS * EACH * 3


def _replace_user(value: object) -> object:
    before = user.get()
    user.set(value)
    return before


def handed_round() -> int:
    length = THREADS * EACH
    numbers: List[Any] = [
        clew.context_generator(_numbers)(length),
        clew.context_generator(inherit="live")(_numbers)(length),
        clew.context_generator(isolate=[user])(_numbers)(length),
        clew.traceable(clew.context_generator(_numbers))(length),
    ]
    for generator in numbers:
        with clew.record() as runs:
            turns: List[SimpleQueue[int]] = [SimpleQueue() for _ in range(THREADS)]
            taken: List[int] = []

            def take(number: int, generator: Any = generator, turns: Any = turns, taken: Any = taken) -> None:
                user.set("consumer")
                while (turn := turns[number].get(timeout=TIMEOUT)) < length:
                    taken.append(next(generator))
                    assert user.get() == "consumer"
                    turns[(number + 1) % THREADS].put(turn + 1)
                if turn == length:
                    assert next(generator, "end") == "end"
                if turn < length + THREADS:
                    turns[(number + 1) % THREADS].put(turn + 1)

            turns[0].put(0)
            together(take)
        assert taken == list(range(length))
        assert all(run.status == "success" for run in runs)
    return length * len(numbers)


def _numbers(length: int) -> Iterator[int]:
    user.set("body")
    for number in range(length):
        yield number
        assert user.get() == "body"


def executor() -> int:
    with clew.ContextThreadPoolExecutor(2) as pool:
        wrapped = clew.wrap_executor(pool)

        def submit(number: int) -> None:
            user.set(number)
            with clew.trace("submitter") as run:
                futures = [each.submit(_job) for each in (pool, wrapped) for _ in range(EACH)]
                assert {future.result(TIMEOUT) for future in futures} == {(number, run.id)}
                assert list(pool.map(_job_with, range(3))) == [(number, item) for item in range(3)]

        with clew.record() as runs:
            together(submit)
    assert [len(root.children) for root in runs.roots] == [2 * EACH] * THREADS
    return THREADS * EACH * 2


def _job() -> object:
    with clew.trace("job"):
        found = user.get(), clew.get_current_run_tree().parent_run_id  # type: ignore[union-attr]  # of the block
    user.set("job")
    return found


def _job_with(item: int) -> object:
    return user.get(), item


def record() -> int:
    def work(number: int) -> None:
        for _ in range(EACH):
            with clew.record() as runs:
                assert outer(number) == number + 2
                seen = runs.find_all(name="outer")  # those of other threads may be open
            mine = [run for run in seen if run.inputs == {"value": number}]
            assert mine
            assert mine[-1].status == "success"
            for run in runs:
                assert (run.status == "pending") == (run.end_time_ns is None)
            ids = [run.id for run in runs]
            assert len(ids) == len(set(ids))

    together(work)
    return THREADS * EACH


def install() -> int:
    native = Thread.start

    def work(number: int) -> None:
        user.set(number)
        for _ in range(3):
            seen: List[object] = []
            with clew.installed():
                thread = Thread(target=lambda seen=seen: seen.append(user.get()))
                thread.start()
                thread.join(TIMEOUT)
            assert seen == [number]

    together(work)
    assert Thread.start is native
    return THREADS * 3


def configure() -> int:
    exporters: List[Counting] = []
    clew.configure(exporter=Counting(), sampler=1.0)
    numbers = count()

    def work(number: int) -> List[Any]:
        ids = []
        for _ in range(EACH):
            if number:
                with clew.trace("traced") as run:
                    ids.append(run.id)
            else:
                exporter = Counting()
                exporters.append(exporter)
                clew.configure(exporter=exporter, service=str(next(numbers)))
                clew.configure(sampler=_all_traces)
                clew.configure(sampler=1.0)
        return ids

    first = Counting()
    exporters.append(first)
    clew.configure(exporter=first)
    with counted("samplers_failed", "runs_lost", "runs_dropped") as failed:
        ids = [each for found in together(work) for each in found]
        assert clew.shutdown(TIMEOUT)
    clew.configure(exporter=None, sampler=None, service=None)
    assert failed == {"samplers_failed": 0, "runs_lost": 0, "runs_dropped": 0}
    # While one exporter replaces another one, a run that ends goes to one of them.
    assert sum([each.ended for each in exporters], Counter()) == Counter(ids)
    return len(ids)


def _all_traces(_: object) -> float:
    return 1.0


def accessors() -> int:
    local = threading.local()
    with clew.ContextThreadPoolExecutor(2) as pool:

        def work(number: int) -> None:
            unregister = clew.register_accessor(f"own {number}", clew.thread_local_accessor(local, f"own{number}"))
            shared = clew.register_accessor("shared", accessor)
            local.value = number
            setattr(local, f"own{number}", number)
            for _ in range(EACH):
                job = pool.submit(lambda: (local.value, getattr(local, f"own{number}", None)))
                assert job.result(TIMEOUT) == (number, number)
            unregister()
            shared()

        accessor = clew.thread_local_accessor(local, "value")
        together(work)
        assert pool.submit(lambda: vars(local).copy()).result(TIMEOUT) == {}
    return THREADS * EACH


def headers() -> int:
    with clew.record() as runs, clew.trace("sender") as sender:
        sent = together(lambda _: [sender.to_headers() for _ in range(EACH)])
        made = together(lambda _: [clew.RunTree("made").id for _ in range(4 * EACH)])
    assert len({each for ids in made for each in ids}) == 4 * EACH * THREADS
    first = sent[0][0]
    assert all(each == first for found in sent for each in found)

    def receive(number: int) -> None:
        for _ in range(EACH):
            with clew.tracing_context(parent=first), clew.trace("receiver", inputs={"number": number}) as run:
                assert (run.parent_run_id, run.trace_id) == (sender.id, sender.trace_id)
                assert run.to_headers()["traceparent"].split("-")[1] == first["traceparent"].split("-")[1]

    with clew.record() as runs:
        together(receive)
    assert len({run.id for run in runs}) == THREADS * EACH
    return 2 * THREADS * EACH


KINDS: Dict[str, Callable[[], int]] = {
    each.__name__: each
    for each in (
        traced_function,
        run_tree,
        snapshot,
        handed_round,
        executor,
        record,
        install,
        configure,
        accessors,
        headers,
    )
}


def share(kind: str, seconds: float) -> int:
    """Share one kind, again and again for so many seconds, once at least. Return the number of operations."""
    end = monotonic() + seconds
    operations = KINDS[kind]()
    while monotonic() < end:
        operations += KINDS[kind]()
    return operations


if __name__ == "__main__":
    logging.getLogger("clew").setLevel(logging.CRITICAL)
    seconds = float(sys.argv[1]) / len(KINDS) if len(sys.argv) > 1 else 1.0
    print(f"GIL: {getattr(sys, '_is_gil_enabled', lambda: True)()}", flush=True)
    for name in KINDS:
        print(f"{name}: {share(name, seconds):,} operations", flush=True)
