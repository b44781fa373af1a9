"""
`wrap_coroutine`, stepped by hand: the steps run in the context, and the coroutine behaves as the bare one.

Refused arguments are tested in `test_stepping_refusals`, abandoned coroutines in `test_stepping_ends`, and event loops
in `test_stepping_loops`.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import subprocess
import sys
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, Callable, List, Sequence

import pytest

import clew
from tests.context._coroutines import (
    BODIES,
    awaiting,
    context_with,
    finish,
    in_thread,
    returns_on_generator_exit,
    suspend,
    two_values,
    var,
)
from tests.context._traces import STEPS, TRACES, trace

# `throw` with three arguments warns, for the bare coroutine and for the wrapped one.
pytestmark = pytest.mark.filterwarnings("ignore:.*signature of throw:DeprecationWarning")

# All scripts of one or two steps, and those of three steps that start in the usual way.
SCRIPTS = [
    *((step,) for step in STEPS),
    *itertools.product(STEPS, repeat=2),
    *(("send None", *steps) for steps in itertools.product(STEPS, repeat=2)),
]


@pytest.mark.parametrize("name", BODIES)
def test_wrapped_coroutine_leaves_the_trace_of_the_bare_one(name: str) -> None:
    make = BODIES[name]
    for script in SCRIPTS:
        expected = trace(make(), script)
        for kind, trace_wrapped in TRACES.items():
            assert trace_wrapped(make, script) == expected, kind


@pytest.mark.parametrize("name", BODIES)
def test_coroutine_that_awaits_a_wrapped_one_leaves_the_trace_of_one_that_awaits_the_bare_one(name: str) -> None:
    def trace_awaiting(coroutine: Any, script: Sequence[str]) -> object:
        found = trace(awaiting(coroutine), script)
        coroutine.close()  # otherwise it warns that it was never awaited, if the first step made no step
        return found

    make = BODIES[name]
    for script in SCRIPTS:
        assert trace_awaiting(clew.wrap_coroutine(make(), Context()), script) == trace_awaiting(make(), script)


def test_closing_gives_what_closing_the_bare_one_gives() -> None:
    bare, wrapped = returns_on_generator_exit(), clew.wrap_coroutine(returns_on_generator_exit(), Context())
    bare.send(None)
    wrapped.send(None)
    assert wrapped.close() == bare.close()  # type: ignore[func-returns-value]  # it does since 3.13


async def looks_twice() -> List[object]:
    seen = [var.get()]
    await suspend()
    return [*seen, var.get()]


async def counts() -> List[int]:
    seen = []
    token = var.set(0)
    for _ in range(3):
        var.set(var.get() + 1)
        await suspend()
        seen.append(var.get())
    var.reset(token)
    return seen


def test_bare_coroutine_sees_the_values_of_each_consumer_and_the_wrapped_one_its_own() -> None:
    def from_two_consumers(coroutine: Any) -> object:
        context_with("first").run(coroutine.send, None)
        return context_with("second").run(finish, coroutine)

    assert from_two_consumers(looks_twice()) == ["first", "second"]
    assert from_two_consumers(clew.wrap_coroutine(looks_twice(), context_with("ada"))) == ["ada", "ada"]


def test_changes_of_the_body_last_from_step_to_step_and_never_reach_the_consumer() -> None:
    wrapped = clew.wrap_coroutine(counts(), context_with("before"))
    wrapped.send(None)
    in_thread(wrapped.send, None)
    assert var.get() == "default"
    assert finish(wrapped) == [1, 2, 3]
    assert var.get() == "default"


def close(coroutine: Any) -> None:
    coroutine.close()


def throw(coroutine: Any) -> None:
    with pytest.raises(KeyError):
        coroutine.throw(KeyError())


@pytest.mark.parametrize("end", [finish, throw, close])
def test_body_sees_its_values_whatever_the_step(end: Callable[[Any], None]) -> None:
    async def body() -> None:
        try:
            await suspend()
        finally:
            seen.append(var.get())

    seen: List[object] = []
    wrapped = clew.wrap_coroutine(body(), context_with("ada"))
    wrapped.send(None)
    end(wrapped)
    assert seen == ["ada"]


def test_context_is_shared_both_ways() -> None:
    async def looks_and_leaves() -> object:
        await suspend()
        seen = var.get()
        var.set("of the body")
        return seen

    context = context_with("first")
    wrapped = clew.wrap_coroutine(looks_and_leaves(), context)
    wrapped.send(None)
    context.run(var.set, "second")
    assert finish(wrapped) == "second"
    assert context[var] == "of the body"


def test_snapshot_is_copied_for_each_coroutine() -> None:
    snapshot = context_with("ada").run(clew.capture)
    first, second = clew.wrap_coroutine(counts(), snapshot), clew.wrap_coroutine(counts(), snapshot)
    first.send(None)
    second.send(None)
    assert finish(first) == finish(second) == [1, 2, 3]
    assert snapshot.run(var.get) == "ada"


def test_coroutines_take_turns_in_one_context() -> None:
    async def adds() -> None:
        for _ in range(3):
            var.set(var.get() + 1)
            await suspend()

    context = context_with(0)
    coroutines = [clew.wrap_coroutine(adds(), context) for _ in range(4)]
    for _ in range(3):
        for each in coroutines:
            each.send(None)
    for each in coroutines:
        finish(each)
    assert context[var] == 12


@pytest.mark.parametrize("end", [finish, throw, close])
def test_current_context_is_stepped_in_as_it_is(end: Callable[[Any], None]) -> None:
    async def body() -> None:
        try:
            await suspend()
        finally:
            seen.append(var.get())
            var.set("of the body")

    def consumer() -> object:
        wrapped = clew.wrap_coroutine(body(), context)
        wrapped.send(None)
        end(wrapped)
        return var.get()

    seen: List[object] = []
    context = context_with("ada")
    assert context.run(consumer) == "of the body"
    assert seen == ["ada"]
    assert list(context) == [var]  # clew leaves no variable of its own


def test_wrapped_coroutines_with_one_context_await_each_other() -> None:
    async def down(depth: int) -> Any:
        var.set(var.get() + 1)
        await suspend()
        return await clew.wrap_coroutine(down(depth - 1), context) if depth else var.get()

    context = context_with(0)
    assert finish(clew.wrap_coroutine(down(5), context)) == 6


def test_wrapped_coroutines_with_contexts_of_their_own_await_each_other() -> None:
    async def down(depth: int) -> List[object]:
        await suspend()
        below = await clew.wrap_coroutine(down(depth - 1), context_with(depth - 1)) if depth else []
        return [var.get(), *below]

    assert finish(clew.wrap_coroutine(down(5), context_with(5))) == [5, 4, 3, 2, 1, 0]


def test_wrapped_coroutine_passes_for_the_coroutine_in_whatever_inspects_it() -> None:
    def seen_of(coroutine: Any) -> object:
        return (
            inspect.getcoroutinestate(coroutine),
            dict(inspect.getcoroutinelocals(coroutine)),
            coroutine.cr_running,
            coroutine.cr_frame and coroutine.cr_frame.f_code,
            coroutine.cr_await and coroutine.cr_await.gi_code,
        )

    bare, wrapped = two_values(), clew.wrap_coroutine(two_values(), Context())
    assert [name for name in dir(bare) if not hasattr(wrapped, name)] == []
    assert isinstance(wrapped, Coroutine)
    assert inspect.isawaitable(wrapped)
    assert asyncio.iscoroutine(wrapped)
    said = (wrapped.__name__, wrapped.__qualname__, wrapped.cr_code)  # type: ignore[attr-defined]
    assert said == (bare.__name__, bare.__qualname__, bare.cr_code)
    assert "two_values" in repr(wrapped)
    assert seen_of(wrapped) == seen_of(bare)
    for value in (None, "a"):
        wrapped.send(value)
        bare.send(value)
        assert seen_of(wrapped) == seen_of(bare)
    bare.close()
    wrapped.close()
    assert seen_of(wrapped) == seen_of(bare)


def test_wrapped_coroutine_knows_where_the_coroutine_was_made() -> None:
    sys.set_coroutine_origin_tracking_depth(1)
    try:
        coroutine = two_values()
    finally:
        sys.set_coroutine_origin_tracking_depth(0)
    wrapped = clew.wrap_coroutine(coroutine, Context())
    assert wrapped.cr_origin == coroutine.cr_origin is not None  # type: ignore[attr-defined]
    wrapped.close()


def test_wrapping_and_stepping_load_no_event_loop() -> None:
    program = (
        "import contextvars, sys, clew\n"
        "async def body(): pass\n"
        "for context in contextvars.Context(), clew.capture():\n"
        "    try: clew.wrap_coroutine(body(), context).send(None)\n"
        "    except StopIteration: pass\n"
        "assert not {'asyncio', 'trio', 'anyio', 'sniffio'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
