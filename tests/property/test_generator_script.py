"""
Random generators and async generators under random scripts: a wrapped generator does the same as the bare one.

The same programs and scripts of `next`, `send`, `throw`, `close` and dropping run over all four drivers: `drive`,
`drive_async`, `drive_traced` and `drive_async_traced`. Each must leave the trace of the bare generator, so a change of
one driver that the others lack fails here.

The bare generator has a context for itself. The consumers of the wrapped one change variables between steps.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any, Callable, Dict, Iterator, Type

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from tests.edges._threads import nothing
from tests.property._consumers import (
    CONSUMERS,
    AsyncConsumption,
    ConsumerOfBare,
    ConsumerOfIsolated,
    ConsumerOfIsolatedBare,
    Consumption,
    Script,
    Trace,
    async_scripts,
    changing_async_scripts,
    changing_scripts,
    heard,
    scripts,
)
from tests.property._generators import (
    IS_COUNTED,
    VARIABLES,
    LivePerformance,
    Performance,
    Program,
    async_programs,
    programs,
)

pytestmark = pytest.mark.usefixtures("silence")

thorough = settings(
    deadline=None,
    derandomize=True,
    max_examples=200 if IS_COUNTED else 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

IGNORED = "ignored GeneratorExit"

Make = Callable[[Program], Any]


@pytest.fixture
def silence(no_collector: None) -> Iterator[None]:
    """Collect the garbage cycles of bare generators without reporting their warnings."""
    yield
    with heard(nothing):
        while gc.collect():  # a finaliser may create new garbage
            pass


def wrap(generator: Any, **options: Any) -> Any:
    if hasattr(generator, "ag_frame"):
        return clew.wrap_async_generator(generator, **options)
    return clew.wrap_generator(generator, **options)


def with_snapshot(make: Make, snapshot: clew.Snapshot) -> Make:
    return lambda program: wrap(make(program), context=snapshot)


# The ways to give a generator a context of its own, with the current values.
WAYS: Dict[str, Callable[[Make], Make]] = {
    "creation": lambda make: lambda program: wrap(make(program)),
    "function": lambda make: clew.context_generator(make),
    "a context": lambda make: lambda program: wrap(make(program), context=copy_context()),
    "a snapshot": lambda make: with_snapshot(make, clew.capture()),
    "all isolated": lambda make: lambda program: wrap(make(program), isolate=VARIABLES),
    "a function, all isolated": lambda make: clew.context_generator(isolate=VARIABLES)(make),
    "bound": lambda make: clew.bind(make),
}
CAPTURED_BEFORE = ("a snapshot", "bound")
ways = st.sampled_from(sorted(WAYS))
consumers = st.sampled_from(sorted(CONSUMERS))


def with_values(fn: Callable[..., Any], *args: Any) -> Any:
    """Call where two of the variables have a value."""
    context = Context()
    for variable in VARIABLES[:2]:
        context.run(variable.set, f"{variable.name} of the call")
    return context.run(fn, *args)


def make_of(kind: Type[Consumption], performance: Performance) -> Make:
    return performance.stream if kind is AsyncConsumption else performance.generator


def trace_of_bare(kind: Type[Consumption], program: Program, script: Script, has_loop: bool) -> Trace:
    performance = Performance()
    return kind(make_of(kind, performance)(program), ConsumerOfBare(), performance, has_loop=has_loop).take(script)


def make_after_another(way: str, make: Make, program: Program, performance: Performance) -> Any:
    """Return a generator of a function that has made another one, which has set two variables."""
    function = WAYS[way](make)
    another = function([("set", 0), ("set", 2)])
    with suppress(StopIteration, StopAsyncIteration):
        (another.__anext__() if hasattr(another, "ag_frame") else another).send(None)
    performance.forget()
    return Context().run(function, program) if way in CAPTURED_BEFORE else function(program)


def trace_of_other(
    kind: Type[Consumption], program: Program, script: Script, has_loop: bool, way: str, consumer_name: str
) -> Trace:
    performance = Performance()
    generator = with_values(make_after_another, way, make_of(kind, performance), program, performance)
    consumer = Context().run(CONSUMERS[consumer_name])
    consumption = kind(generator, consumer, performance, has_loop=has_loop)
    del generator
    return consumption.take(script)


def check(found: Trace, expected: Trace) -> None:
    for (*step, alive), (*bare, alive_then) in zip(found, expected):
        # A generator that ignores that it is dropped is closed once more, in whichever context is current.
        if bare[0] == "drop" and IGNORED in str(bare):
            return
        # Before 3.13 a step that an exception was thrown into before it began does not count as running. So one that
        # is abandoned half-way is closed all the same, but what it awaits in the body is not, as that counts.
        if sys.version_info < (3, 13) and step[0] == "drop" and "already running" in str(step):
            return
        # Without a GIL, what another thread drops is finalised by the thread that made it, some time later.
        if RUNS_WITHOUT_GIL and step[0] == "drop":
            return
        assert step == bare
        assert RUNS_WITHOUT_GIL or {*alive} <= {*alive_then}
    assert len(found) == len(expected)


@thorough
@given(programs, scripts, ways, consumers)
def test_generator_leaves_the_trace_of_the_bare_one(program: Program, script: Script, way: str, consumer: str) -> None:
    expected = with_values(trace_of_bare, Consumption, program, script, False)
    found = Context().run(trace_of_other, Consumption, program, script, False, way, consumer)
    check(found, expected)


@thorough
@given(async_programs, async_scripts, st.booleans(), ways, consumers)
def test_async_generator_leaves_the_trace_of_the_bare_one(
    program: Program, script: Script, has_loop: bool, way: str, consumer: str
) -> None:
    expected = with_values(trace_of_bare, AsyncConsumption, program, script, has_loop)
    found = Context().run(trace_of_other, AsyncConsumption, program, script, has_loop, way, consumer)
    check(found, expected)


# The ways to give a generator a context in which only the first variable is its own.
ISOLATING: Dict[str, Callable[[Make], Make]] = {
    "wrapped": lambda make: lambda program: wrap(make(program), isolate=VARIABLES[:1]),
    "function": lambda make: clew.context_generator(isolate=VARIABLES[:1])(make),
}
isolating = st.sampled_from(sorted(ISOLATING))


def trace_in_one_context(kind: Type[Consumption], program: Program, script: Script, has_loop: bool, way: str) -> Trace:
    performance = Performance()
    make = make_of(kind, performance)
    generator = (make if way == "bare" else ISOLATING[way](make))(program)
    consumer = (ConsumerOfIsolatedBare if way == "bare" else ConsumerOfIsolated)()
    consumption = kind(generator, consumer, performance, has_loop=has_loop)
    del generator
    return consumption.take(script)


@thorough
@given(programs, changing_scripts, isolating)
def test_isolating_generator_differs_in_that_variable_alone(program: Program, script: Script, way: str) -> None:
    expected = with_values(trace_in_one_context, Consumption, program, script, False, "bare")
    found = with_values(trace_in_one_context, Consumption, program, script, False, way)
    check(found, expected)


@thorough
@given(async_programs, changing_async_scripts, st.booleans(), isolating)
def test_isolating_async_generator_differs_in_that_variable_alone(
    program: Program, script: Script, has_loop: bool, way: str
) -> None:
    expected = with_values(trace_in_one_context, AsyncConsumption, program, script, has_loop, "bare")
    found = with_values(trace_in_one_context, AsyncConsumption, program, script, has_loop, way)
    check(found, expected)


# The ways to show a generator the values of its consumer.
LIVE: Dict[str, Callable[[Make], Make]] = {
    "wrapped": lambda make: lambda program: wrap(make(program), inherit="live"),
    "function": lambda make: clew.context_generator(inherit="live")(make),
}
lively = st.sampled_from(sorted(LIVE))
# The other consumers have new values at each step. Only one that stays the same shows whether a change was missed.
live_consumers = st.sampled_from([*CONSUMERS, *["Consumer"] * 4])


def check_live(
    kind: Type[Consumption], program: Program, script: Script, has_loop: bool, way: str, consumer_name: str
) -> None:
    performance = LivePerformance()
    generator = with_values(lambda: LIVE[way](make_of(kind, performance))(program))
    consumer = CONSUMERS[consumer_name]()
    consumption = kind(generator, consumer, performance, has_loop=has_loop)
    del generator
    found = consumption.take(script)
    unread = Performance(is_read=False)
    bare = kind(make_of(kind, unread)(program), ConsumerOfBare(), unread, has_loop=has_loop)
    check(found, Context().run(bare.take, script))


@thorough
@given(programs, changing_scripts, lively, live_consumers)
def test_live_generator_sees_its_consumers_values(program: Program, script: Script, way: str, consumer: str) -> None:
    with_values(check_live, Consumption, program, script, False, way, consumer)


@thorough
@given(async_programs, changing_async_scripts, st.booleans(), lively, live_consumers)
def test_live_async_generator_sees_its_consumers_values(
    program: Program, script: Script, has_loop: bool, way: str, consumer: str
) -> None:
    with_values(check_live, AsyncConsumption, program, script, has_loop, way, consumer)


# The ways to trace a generator. The traced generator must behave as the bare one.
TRACED: Dict[str, Callable[[Make], Make]] = {
    "function": clew.traceable,
    "reduced": lambda make: clew.traceable(reduce_fn=len, process_chunk=str)(make),
    "returned": lambda make: clew.traceable(lambda program: make(program)),
}
traced = st.sampled_from(sorted(TRACED))


def check_traced(kind: Type[Consumption], program: Program, script: Script, has_loop: bool, way: str) -> None:
    def trace_of(wrap: Callable[[Make], Make]) -> Trace:
        performance = Performance()
        generator = wrap(make_of(kind, performance))(program)
        consumption = kind(generator, ConsumerOfIsolated(), performance, has_loop=has_loop)
        del generator
        return consumption.take(script)

    expected = with_values(trace_of, lambda make: make)
    with clew.record() as runs:
        found = with_values(trace_of, TRACED[way])
    check(found, expected)
    assert len(runs.roots) <= 1
    assert clew.get_current_run_tree() is None


@thorough
@given(programs, changing_scripts, traced)
def test_traced_generator_leaves_the_trace_of_the_bare_one(program: Program, script: Script, way: str) -> None:
    check_traced(Consumption, program, script, False, way)


@thorough
@given(async_programs, changing_async_scripts, st.booleans(), traced)
def test_traced_async_generator_leaves_the_trace_of_the_bare_one(
    program: Program, script: Script, has_loop: bool, way: str
) -> None:
    check_traced(AsyncConsumption, program, script, has_loop, way)
