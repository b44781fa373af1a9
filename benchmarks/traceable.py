"""
Traced calls and blocks: bare, with clew recording off and on, and with the peers.

The peers do not send anything: OpenTelemetry has no processor and LangSmith a client that throws runs
away, so what they would spend on batching and serialising comes on top of their figures.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from typing import Callable

import clew
from benchmarks._cases import Case, Measure, Section, calls, echo

__all__ = ("SECTIONS",)

MOST_RECORDED_US = 2.0 if sys.version_info >= (3, 11) else 2.5


async def echo_later(value):
    return value


traced = clew.traceable(echo)
traced_later = clew.traceable(echo_later)


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


def opentelemetry_block(loops: int) -> float:
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmarks")

    def block(_: int) -> None:
        with tracer.start_as_current_span("block"):
            pass

    return calls(block)(loops)


def langsmith_calls(*, enabled: bool) -> Measure:
    def measure(loops: int) -> float:
        from langsmith import Client, traceable
        from langsmith.run_helpers import tracing_context

        class SilentClient(Client):
            def create_run(self, *_args, **_kwargs) -> None:
                pass

            def update_run(self, *_args, **_kwargs) -> None:
                pass

        # No thread that sends batches, and an address that nobody could reach.
        client = SilentClient(api_url="http://localhost:1", api_key="none", auto_batch_tracing=False)
        function = traceable(client=client)(echo)
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
            Case("langsmith.traceable, off", langsmith_calls(enabled=False), package="langsmith"),
            Case("langsmith.traceable, on", langsmith_calls(enabled=True), package="langsmith"),
        ),
    ),
    Section(
        "a coroutine",
        (
            Case("bare", calls(stepped(echo_later))),
            Case("clew.traceable, off", calls(stepped(traced_later))),
            Case("clew.traceable, recording", calls(stepped(traced_later), clew.record)),
        ),
    ),
    Section(
        "a block",
        (
            Case("contextlib.nullcontext", calls(bare_block)),
            Case("clew.trace, off", calls(clew_block)),
            Case("clew.trace, recording", calls(clew_block, clew.record)),
            Case("opentelemetry span", opentelemetry_block, package="opentelemetry-sdk"),
        ),
    ),
)
