"""
Thread pools with one worker, and calls of bound functions.

One worker and one CPU, so that the figure is the work of the two threads and the switch between them,
not how far apart their cores are.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from time import perf_counter
from typing import Callable

import clew
from benchmarks._cases import BATCH, Case, Measure, Section, calls, echo

__all__ = ("SECTIONS",)

# What makes a pool of so many workers, once the packages that it needs are to be imported.
PoolClass = Callable[[], Callable[..., ThreadPoolExecutor]]


def stdlib() -> Callable[..., ThreadPoolExecutor]:
    return ThreadPoolExecutor


def ours() -> Callable[..., ThreadPoolExecutor]:
    return clew.ContextThreadPoolExecutor


def wrapped() -> Callable[..., ThreadPoolExecutor]:
    return lambda max_workers: clew.wrap_executor(ThreadPoolExecutor(max_workers))


def langsmith() -> Callable[..., ThreadPoolExecutor]:
    from langsmith.utils import ContextThreadPoolExecutor

    return ContextThreadPoolExecutor


def submit_and_wait(pool_class: PoolClass) -> Measure:
    def measure(loops: int) -> float:
        with pool_class()(max_workers=1) as pool:
            pool.submit(echo, 1).result()  # the worker is there before the clock runs
            start = perf_counter()
            for _ in repeat(None, loops * BATCH):
                pool.submit(echo, 1).result()
            return perf_counter() - start

    return measure


def map_items(pool_class: PoolClass) -> Measure:
    def measure(loops: int) -> float:
        with pool_class()(max_workers=1) as pool:
            pool.submit(echo, 1).result()
            start = perf_counter()
            for _ in repeat(None, loops):
                deque(pool.map(echo, range(BATCH)), maxlen=0)
            return perf_counter() - start

    return measure


def pools(measure_of: Callable[[PoolClass], Measure]) -> tuple:
    return (
        Case("concurrent.futures", measure_of(stdlib)),
        Case("clew", measure_of(ours), most_above_us=1.2, less_than="langsmith"),
        Case("clew.wrap_executor", measure_of(wrapped), most_above_us=1.2),
        Case("langsmith", measure_of(langsmith), package="langsmith"),
    )


SECTIONS = (
    Section("submit(f, i).result()", pools(submit_and_wait)),
    Section("an item of map(f, range(n))", pools(map_items)),
    Section("a call", (Case("f", calls(echo)), Case("clew.bind(f)", calls(clew.bind(echo)), most_us=0.4))),
)
