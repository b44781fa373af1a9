"""
The same operations in one thread and in two at once, which takes half the time at best: without a GIL.

With a GIL, two threads take as long as one, or longer.
"""

from __future__ import annotations

from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from threading import Barrier, Thread
from time import perf_counter
from typing import Callable, ContextManager, Tuple

import clew
from benchmarks._cases import BATCH, Case, Section
from benchmarks.generators import plain
from benchmarks.traceable import echo, traced, unsampled
from clew._shared.locks import RUNS_WITHOUT_GIL

__all__ = ("SECTIONS",)

# Two threads make 1.6 times as many.
MOST_RATIO = 1 / 1.6 if RUNS_WITHOUT_GIL else None

_own: ContextVar[object] = ContextVar("benchmarks_own", default=None)
shown_live = clew.context_generator(inherit="live")(plain)
isolated = clew.context_generator(isolate=[_own])(plain)


def in_threads(
    work: Callable[[int], object], threads: int, scope: Callable[[], ContextManager[object]], loops: int
) -> float:
    """
    Return the seconds until so many threads have together done `loops` batches.
    """

    def run(number: int) -> None:
        barrier.wait()
        start = perf_counter()
        for _ in range(number, loops * 2, threads):
            work(BATCH // 2)
        times.append((start, perf_counter()))

    barrier = Barrier(threads)
    times = []
    with scope():
        workers = [Thread(target=run, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return max(end for _, end in times) - min(start for start, _ in times)


def section(
    operation: str, work: Callable[[int], object], scope: Callable[[], ContextManager[object]] = nullcontext
) -> Section:
    return Section(
        operation,
        (
            Case("one thread", partial(in_threads, work, 1, scope)),
            Case("two threads", partial(in_threads, work, 2, scope), most_ratio=MOST_RATIO),
        ),
    )


def repeated(function: Callable[[int], object]) -> Callable[[int], None]:
    def work(count: int) -> None:
        call = function  # threads that use one variable of a closure wait for each other
        for _ in range(count):
            call(1)

    return work


def items(generator_function) -> Callable[[int], None]:
    def work(count: int) -> None:
        for _ in generator_function(count):
            pass

    return work


def new_id(_: int) -> object:
    return clew.RunTree("benchmark").id


def opentelemetry_span() -> Callable[[int], None]:
    from opentelemetry.sdk.trace import TracerProvider

    start = TracerProvider().get_tracer(__name__).start_as_current_span

    def call(value: int) -> int:
        with start("benchmark"):
            return echo(value)

    return repeated(call)


def measured_opentelemetry(threads: int, loops: int) -> float:
    return in_threads(opentelemetry_span(), threads, nullcontext, loops)


_package = {"package": "opentelemetry-sdk"}
SECTIONS: Tuple[Section, ...] = (
    section("bare call", repeated(echo)),
    section("recorded call", repeated(traced), clew.record),
    section("unrecorded call", repeated(traced)),
    section("call, root not sampled", repeated(traced), unsampled),
    section('item, inherit="live"', items(shown_live)),
    section("item, isolate", items(isolated)),
    section("id of a new run", repeated(new_id), clew.record),
    Section(
        "OpenTelemetry's span",
        (
            Case("one thread", partial(measured_opentelemetry, 1), **_package),
            Case("two threads", partial(measured_opentelemetry, 2), **_package),
        ),
    ),
)
