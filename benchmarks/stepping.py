"""
Suspensions of coroutines that are stepped in a context, and thread-locals that travel.
"""

from __future__ import annotations

import threading
import types
from contextlib import contextmanager
from contextvars import copy_context
from itertools import repeat
from time import perf_counter
from typing import Any, Callable, Iterator

import clew
from benchmarks._cases import BATCH, Case, Measure, Section, calls, echo

__all__ = ("SECTIONS",)

local = threading.local()


@types.coroutine
def suspend() -> Iterator[None]:
    yield


async def body(suspensions: int) -> None:
    for _ in repeat(None, suspensions):
        await suspend()


async def body_bound(suspensions: int) -> None:
    await body(suspensions)


async def consumer(coroutine: Any) -> None:
    await coroutine


def suspensions(make: Callable[[int], Any]) -> Measure:
    """
    Return a measure whose operation is one suspension of what `make` returns, awaited by another coroutine.
    """

    def measure(loops: int) -> float:
        send = consumer(make(loops * BATCH)).send
        send(None)
        start = perf_counter()
        for _ in repeat(None, loops * BATCH - 1):
            send(None)
        try:
            send(None)
        except StopIteration:
            return perf_counter() - start
        raise AssertionError("expected the coroutine to have ended, found it suspended")

    return measure


def wrapped(suspensions: int) -> Any:
    return clew.wrap_coroutine(body(suspensions), copy_context())


@contextmanager
def carried() -> Iterator[None]:
    unregister = clew.register_accessor("benchmark", clew.thread_local_accessor(local, "value"))
    local.value = 1
    try:
        yield
    finally:
        del local.value
        unregister()


def carrying(make_measure: Callable[[], Measure]) -> Measure:
    """
    Return the measure, made and run with one thread-local that travels.
    """

    def measure(loops: int) -> float:
        with carried():
            return make_measure()(loops)

    return measure


SECTIONS = (
    Section(
        "a suspension",
        (
            Case("await f()", suspensions(body)),
            Case("await clew.wrap_coroutine(f(), context)", suspensions(wrapped), most_above_us=0.4),
            Case("await clew.bind(f)()", suspensions(clew.bind(body_bound))),
        ),
    ),
    Section(
        "a suspension of clew.wrap_coroutine(f(), context)",
        (
            Case("no thread-local", suspensions(wrapped)),
            Case("one thread-local", carrying(lambda: suspensions(wrapped)), most_above_us=0.3),
        ),
    ),
    Section(
        "a call of clew.bind(f)",
        (
            Case("no thread-local", calls(clew.bind(echo))),
            Case("one thread-local", carrying(lambda: calls(clew.bind(echo))), most_above_us=0.3),
        ),
    ),
    Section(
        "clew.capture()",
        (
            Case("no thread-local", calls(lambda _: clew.capture())),
            Case("one thread-local", carrying(lambda: calls(lambda _: clew.capture())), most_above_us=0.3),
        ),
    ),
)
