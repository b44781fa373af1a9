"""
Traced calls and blocks: bare, with clew recording off and on, and with the peers.

The peers do not send anything: OpenTelemetry has no processor and LangSmith a client that throws runs
away, so what they would spend on batching and serialising comes on top of their figures.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Callable, Iterator

import clew
from benchmarks._cases import BATCH, Case, Measure, Section, calls, echo

__all__ = ("SECTIONS",)

MOST_RECORDED_US = 2.0 if sys.version_info >= (3, 11) else 2.5


async def echo_later(value):
    return value


def echo_each(count):
    for _ in range(count):
        yield "token"


async def echo_each_later(count):
    for _ in range(count):
        yield "token"


_variable: ContextVar[object] = ContextVar("benchmarks", default=None)


def echo_each_under_a_variable(count):
    """
    Do the least that a stream takes of which each step is to have a ContextVar of its own.
    """
    set_variable, reset_variable, step = _variable.set, _variable.reset, echo_each(count).__next__
    while True:
        token = set_variable("inside")
        try:
            item = step()
        except StopIteration:
            return
        finally:
            reset_variable(token)
        yield item


async def echo_each_later_under_a_variable(count):
    """
    Do the same asynchronously.
    """
    set_variable, reset_variable, step = _variable.set, _variable.reset, echo_each_later(count).__anext__
    while True:
        token = set_variable("inside")
        try:
            item = await step()
        except StopAsyncIteration:
            return
        finally:
            reset_variable(token)
        yield item


traced = clew.traceable(echo)
traced_later = clew.traceable(echo_later)
never_traced = clew.traceable(enabled=False)(echo)
traced_each = clew.traceable(echo_each)
traced_each_later = clew.traceable(echo_each_later)


def items(function: Callable, recording: Callable = nullcontext) -> Measure:
    """
    Measure one item of a generator that `function` makes.
    """

    def measure(loops: int) -> float:
        taken = 0.0
        for _ in range(loops):
            with recording():
                generator = function(BATCH)
                next(generator)
                start = perf_counter()
                for _ in generator:
                    pass
                taken += perf_counter() - start
        return taken

    return measure


def items_later(function: Callable, recording: Callable = nullcontext) -> Measure:
    """
    Measure one item of an async generator that `function` makes, and that never waits.
    """

    async def consume() -> float:
        generator = function(BATCH)
        await generator.__anext__()
        start = perf_counter()
        async for _ in generator:
            pass
        return perf_counter() - start

    def measure(loops: int) -> float:
        taken = 0.0
        for _ in range(loops):
            with recording():
                try:
                    consume().send(None)
                except StopIteration as stop:
                    taken += stop.value
        return taken

    return measure


@contextmanager
def unsampled() -> Iterator[None]:
    """
    Record no trace, though somebody wants to.
    """
    clew.configure(sampler=0.0)
    try:
        with clew.record():
            yield
    finally:
        clew.configure(sampler=1.0)


@contextmanager
def under_unsampled() -> Iterator[None]:
    """
    Be in a run of a trace that is not recorded.
    """
    with unsampled(), clew.trace("root"):
        yield


def logfire_span(loops: int) -> float:
    import logfire

    local = logfire.configure(local=True, send_to_logfire=False, console=False, inspect_arguments=False)

    def block(_: int) -> None:
        with local.span("block"):
            pass

    return calls(block)(loops)


def silent_client() -> object:
    """
    Return a client of LangSmith's that throws runs away: no thread that sends them, and no address to reach.
    """
    from langsmith import Client

    class SilentClient(Client):
        def create_run(self, *_args, **_kwargs) -> None:
            pass

        def update_run(self, *_args, **_kwargs) -> None:
            pass

    return SilentClient(api_url="http://localhost:1", api_key="none", auto_batch_tracing=False)


def langsmith_items(loops: int) -> float:
    from langsmith import traceable
    from langsmith.run_helpers import tracing_context

    return items(traceable(client=silent_client())(echo_each), partial(tracing_context, enabled=True))(loops)


def stepped(function: Callable) -> Callable:
    """
    Return a function that runs a coroutine of `function`, which never waits, to its end without a loop.
    """

    def run(value):
        try:
            function(value).send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("expected a coroutine that never waits, found one that does")

    return run


def bare_block(_: int) -> None:
    with nullcontext():
        pass


def clew_block(_: int) -> None:
    with clew.trace("block"):
        pass


def opentelemetry_block(*, ratio: float) -> Measure:
    def measure(loops: int) -> float:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

        provider = TracerProvider(sampler=TraceIdRatioBased(ratio), shutdown_on_exit=False)
        tracer = provider.get_tracer("benchmarks")

        def block(_: int) -> None:
            with tracer.start_as_current_span("block"):
                pass

        return calls(block)(loops)

    return measure


def langsmith_calls(*, enabled: bool) -> Measure:
    def measure(loops: int) -> float:
        from langsmith import traceable
        from langsmith.run_helpers import tracing_context

        function = traceable(client=silent_client())(echo)
        # The context goes before the environment, so a LANGSMITH_TRACING that is set changes nothing.
        return calls(function, partial(tracing_context, enabled=enabled))(loops)

    return measure


SECTIONS = (
    Section(
        "a call",
        (
            Case("bare", calls(echo)),
            Case("clew.traceable, off", calls(traced), most_us=0.8),
            Case("clew.traceable, recording", calls(traced, clew.record), most_us=MOST_RECORDED_US),
            Case("clew.traceable(enabled=False)", calls(never_traced, clew.record), most_above_us=0.15),
            Case("clew.traceable, not sampled", calls(traced, unsampled), most_above_us=0.7),
            Case("clew.traceable, below one that is not", calls(traced, under_unsampled), most_above_us=0.7),
            Case("langsmith.traceable, off", langsmith_calls(enabled=False), package="langsmith"),
            Case("langsmith.traceable, on", langsmith_calls(enabled=True), package="langsmith"),
        ),
    ),
    Section(
        "a coroutine",
        (
            Case("bare", calls(stepped(echo_later))),
            Case("clew.traceable, off", calls(stepped(traced_later))),
            Case("clew.traceable, recording", calls(stepped(traced_later), clew.record), most_above_us=2.5),
        ),
    ),
    Section(
        "a block",
        (
            Case("contextlib.nullcontext", calls(bare_block)),
            Case("clew.trace, off", calls(clew_block)),
            Case("clew.trace, recording", calls(clew_block, clew.record)),
            Case("opentelemetry span", opentelemetry_block(ratio=1.0), package="opentelemetry-sdk"),
            Case("opentelemetry span, not sampled", opentelemetry_block(ratio=0.0), package="opentelemetry-sdk"),
            Case("logfire span", logfire_span, package="logfire"),
        ),
    ),
    Section(
        "an item of a generator",
        (
            Case("bare", items(echo_each)),
            Case("a ContextVar set and reset", items(echo_each_under_a_variable)),
            Case("clew.traceable, off", items(traced_each)),
            Case("clew.traceable, recording", items(traced_each, clew.record), most_above_us=0.2),
            Case("langsmith.traceable, on", langsmith_items, package="langsmith"),
        ),
    ),
    Section(
        "an item of an async generator",
        (
            Case("bare", items_later(echo_each_later)),
            Case("a ContextVar set and reset", items_later(echo_each_later_under_a_variable)),
            Case("clew.traceable, off", items_later(traced_each_later)),
            Case("clew.traceable, recording", items_later(traced_each_later, clew.record), most_above_us=0.6),
        ),
    ),
)
