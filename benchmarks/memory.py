"""
What jobs and recorded calls leave in memory: counted, not timed.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import AsyncIterator, Callable, Iterator, List, Sequence, Tuple

import clew
from benchmarks._cases import BATCH, echo
from benchmarks.generators import plain, plain_async
from benchmarks.tasks import Batch, bare_group, clew_group

__all__ = ("Footprint", "footprints")

OPERATIONS = 100_000


@dataclass(frozen=True)
class Footprint:
    """
    Hold the growth by a number of operations: while their result is kept, and once it is dropped.
    """

    name: str
    operations: int
    kept_bytes: int
    kept_objects: int
    left_bytes: int
    left_objects: int


def footprints(operations: int = OPERATIONS) -> Iterator[Footprint]:
    """
    Measure every case, each with its pool open from the first operation to the last count.
    """
    for name, pool_class in (("concurrent.futures", ThreadPoolExecutor), ("clew", clew.ContextThreadPoolExecutor)):
        with pool_class(max_workers=2) as pool:
            yield footprint(f"submit, {name}", submit_batches(pool), operations)
            yield footprint(f"map, {name}", map_all(pool), operations)
    yield footprint("clew.traceable, recording", record_calls, operations)
    large = operations // 100
    yield footprint("a stream of 60 kB items, recorded", stream_items, large)
    yield footprint("calls with 60 kB, in a queue that nobody empties", fill_queue, large)
    yield footprint("calls with 60 kB, recorded", record_large_calls, 10 * large)
    # What a chain of jobs holds does not depend on its length.
    for name, is_recording in (("recording", True), ("recording off", False)):
        for length in (1_000, operations // 5):
            yield footprint(f"{length:,} ticks of a self-arming timer, {name}", tick(is_recording=is_recording), length)
    yield footprint("finished runs in contexts", keep_contexts, operations // 10)
    instances = operations // 10
    for name, decorate in (("bare", lambda fn: fn), ("clew", clew.context_generator)):
        yield footprint(f"suspended generators, {name}", suspend(decorate(plain)), instances)
        yield footprint(f"suspended async generators, {name}", suspend_async(decorate(plain_async)), instances)
    for name, batch in (("bare", bare_group), ("clew", clew_group)):
        yield footprint(f"tasks in one group, {name}", run_tasks(batch), operations)


def footprint(name: str, work: Callable[[int], object], operations: int) -> Footprint:
    work(BATCH)  # threads, caches and free lists are there before anything is counted
    tracemalloc.start()
    try:
        bytes_before, objects_before = in_use()
        kept = work(operations)
        bytes_kept, objects_kept = in_use()
        del kept
        bytes_left, objects_left = in_use()
    finally:
        tracemalloc.stop()
    return Footprint(
        name,
        operations,
        kept_bytes=bytes_kept - bytes_before,
        kept_objects=objects_kept - objects_before,
        left_bytes=bytes_left - bytes_before,
        left_objects=objects_left - objects_before,
    )


def in_use() -> Tuple[int, int]:
    gc.collect()
    objects = len(gc.get_objects())  # only those that the garbage collector tracks
    return tracemalloc.get_traced_memory()[0], objects


def submit_batches(pool: ThreadPoolExecutor) -> Callable[[int], None]:
    def work(operations: int) -> None:
        for start in range(0, operations, BATCH):
            for future in [pool.submit(echo, i) for i in range(start, start + BATCH)]:
                future.result()

    return work


def map_all(pool: ThreadPoolExecutor) -> Callable[[int], None]:
    def work(operations: int) -> None:
        if isinstance(pool, clew.ContextThreadPoolExecutor):
            for _ in pool.map(echo, range(operations), buffersize=BATCH):
                pass
            return
        # 3.14+: the stdlib's map has buffersize, too; drop this with 3.13.
        for start in range(0, operations, BATCH):
            for _ in pool.map(echo, range(start, start + BATCH)):
                pass

    return work


def suspend(make: Callable[[int], Iterator[int]]) -> Callable[[int], object]:
    def work(operations: int) -> object:
        generators = [make(2) for _ in range(operations)]
        for each in generators:
            next(each)
        return generators

    return work


def suspend_async(make: Callable[[int], AsyncIterator[int]]) -> Callable[[int], object]:
    def work(operations: int) -> object:
        generators = [make(2) for _ in range(operations)]
        for each in generators:
            # By hand: nothing is awaited in it, so that it needs no event loop.
            with suppress(StopIteration):
                each.__anext__().send(None)
        return generators

    return work


def run_tasks(batch: Batch) -> Callable[[int], object]:
    def work(operations: int) -> None:
        asyncio.run(batch(operations))

    return work


def tick(*, is_recording: bool) -> Callable[[int], object]:
    def work(operations: int) -> object:
        done = threading.Event()
        started: List[threading.Thread] = []
        left, kept = [operations], []

        @clew.traceable
        def job() -> None:
            if len(started) > 1:
                started.pop(0).join()  # so that no more than two threads exist at once
            left[0] -= 1
            if not left[0]:
                kept.append(clew.capture())
                done.set()
                return
            timer = clew.ContextTimer(0, job)
            started.append(timer)
            timer.start()

        with ignored() if is_recording else nullcontext():
            job()
            done.wait()
            for each in started:
                each.join()
        return kept

    return work


@contextmanager
def ignored() -> Iterator[None]:
    """
    Record runs, and keep nothing of them.
    """
    clew.configure(exporter=_Nowhere())
    try:
        yield
    finally:
        clew.configure(exporter=None)


class _Nowhere:
    def export(self, runs: Sequence[clew.Run]) -> None:
        """
        Drop the runs.
        """

    def shutdown(self, timeout: float) -> None:
        """
        Do nothing.
        """


def keep_contexts(operations: int) -> object:
    contexts: List[Context] = []

    @clew.traceable
    def job() -> None:
        contexts.append(copy_context())

    with ignored():
        for _ in range(operations):
            job()
    return contexts


traced = clew.traceable(echo)


def record_calls(operations: int) -> clew.Recording:
    with clew.record() as runs:
        for i in range(operations):
            traced(i)
    return runs


# What has a bound grows up to it: the more operations, the fewer bytes for each.

traced_text = clew.traceable(len)


@clew.traceable
def items(count: int) -> Iterator[str]:
    for number in range(count):
        yield f"{number}{'x' * 60_000}"


def stream_items(operations: int) -> clew.Recording:
    with clew.record() as runs:
        for _ in items(operations):
            pass
    return runs


def record_large_calls(operations: int) -> clew.Recording:
    with clew.record() as runs:
        for number in range(operations):
            traced_text(f"{number}{'x' * 60_000}")
    return runs


class Waiting:
    """
    Runs that wait for an exporter, which takes none until this object is gone.
    """

    def __init__(self) -> None:
        self._may_go = may_go = threading.Event()

        class Hanging:
            def export(self, _: Sequence[clew.Run]) -> None:
                may_go.wait()

            def shutdown(self, timeout: float) -> None:
                pass

        clew.configure(exporter=Hanging())

    def __del__(self) -> None:
        self._may_go.set()
        clew.configure(exporter=None)


def fill_queue(operations: int) -> Waiting:
    waiting = Waiting()
    for number in range(operations):
        traced_text(f"{number}{'x' * 60_000}")
    return waiting
