"""
Items of generators and async generators that keep a context of their own.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing
from contextvars import Context, ContextVar
from time import perf_counter
from typing import Any, AsyncIterator, Callable, Iterator

import clew
from benchmarks._cases import BATCH, Case, Measure, Section

__all__ = ("SECTIONS",)

VARIABLES = tuple(ContextVar[int](f"benchmark_{number}") for number in range(5))


def plain(count: int) -> Iterator[int]:
    for number in range(count):  # noqa: UP028  it is the plain way that is measured
        yield number


async def plain_async(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def items(make: Callable[[int], Any]) -> Measure:
    """
    Return a measure whose operation is one item of what `make` returns, taken by a for loop.
    """

    def measure(loops: int) -> float:
        return in_a_context(take, make, loops * BATCH)

    return measure


def take(make: Callable[[int], Any], count: int) -> float:
    generator = make(count)
    start = perf_counter()
    for _ in generator:
        pass
    return perf_counter() - start


def async_items(make: Callable[[int], Any]) -> Measure:
    """
    Return a measure whose operation is one item of what `make` returns, taken by an async for loop in a task.
    """

    async def take_async(count: int) -> float:
        # Made in the task, as some libraries ask for its loop.
        generator = make(count)
        start = perf_counter()
        async for _ in generator:
            pass
        return perf_counter() - start

    def run(count: int) -> float:
        with closing(asyncio.new_event_loop()) as loop:
            return loop.run_until_complete(take_async(count))

    def measure(loops: int) -> float:
        return in_a_context(run, loops * BATCH)

    return measure


def in_a_context(fn: Callable[..., float], *args: Any) -> float:
    """
    Return `fn(*args)`, called with as many variables set as a program that is traced may have.
    """

    def run() -> float:
        for variable in VARIABLES:
            variable.set(1)
        return fn(*args)

    return Context().run(run)


def by_extracontext(function: Callable[[int], Any]) -> Callable[[int], Any]:
    def make(count: int) -> Any:
        from extracontext import ContextLocal

        return ContextLocal()(function)(count)

    return make


def by_langsmith(function: Callable[[int], Any]) -> Callable[[int], Any]:
    def make(count: int) -> Any:
        # Its tracing is off unless the environment says otherwise; the context of an item is kept all the same.
        from langsmith import traceable

        return traceable(function)(count)

    return make


def by_langchain(count: int) -> Any:
    from langchain_core.runnables import RunnableGenerator

    async def transform(numbers_in: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers_in:
            async for item in plain_async(number):
                yield item

    return RunnableGenerator(transform).astream(count)


live = clew.context_generator(inherit="live")
isolating = clew.context_generator(isolate=VARIABLES[:1])

# 3.12+: an async step of the bare generator takes longer, and one through another less.
MOST_ASYNC_RATIO = 6.5 if sys.version_info < (3, 12) else 4.5

SECTIONS = (
    Section(
        "an item",
        (
            Case("a generator", items(plain)),
            Case("clew.context_generator", items(clew.context_generator(plain)), most_ratio=2.6),
            Case("clew.wrap_stream(iterator)", items(lambda count: clew.wrap_stream(iter(range(count))))),
            Case("extracontext", items(by_extracontext(plain)), package="python-extracontext"),
            Case("langsmith, not tracing", items(by_langsmith(plain)), package="langsmith"),
        ),
    ),
    Section(
        "an item of clew.context_generator",
        (
            Case("no option", items(clew.context_generator(plain))),
            Case('inherit="live"', items(live(plain)), most_above_us=0.5),
            Case("isolate=[variable]", items(isolating(plain)), most_above_us=0.5),
        ),
    ),
    Section(
        "an async item, nothing awaited",
        (
            Case("an async generator", async_items(plain_async)),
            Case(
                "clew.context_generator",
                async_items(clew.context_generator(plain_async)),
                most_ratio=MOST_ASYNC_RATIO,
            ),
            Case("extracontext", async_items(by_extracontext(plain_async)), package="python-extracontext"),
            Case("langsmith, not tracing", async_items(by_langsmith(plain_async)), package="langsmith"),
            Case("langchain-core", async_items(by_langchain), package="langchain-core"),
        ),
    ),
    Section(
        "an async item of clew.context_generator",
        (
            Case("no option", async_items(clew.context_generator(plain_async))),
            Case('inherit="live"', async_items(live(plain_async)), most_above_us=0.5),
            Case("isolate=[variable]", async_items(isolating(plain_async)), most_above_us=0.5),
        ),
    ),
)
