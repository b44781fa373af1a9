"""
Arguments that `wrap_coroutine` refuses: wrong types, and a context or coroutine in use elsewhere.
"""

from __future__ import annotations

import inspect
import sys
import threading
import types
from contextvars import Context
from typing import Any, Callable, List

import pytest

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.errors import AlreadyEnteredError, ArgumentTypeError, ContextInUseError
from tests.context._coroutines import (
    Foreign,
    awaiting,
    context_with,
    finish,
    generator_based,
    suspend,
    two_values,
    var,
)
from tests.context._traces import STEPS
from tests.edges._threads import DEADLINE, in_use_by_a_thread

pytestmark = pytest.mark.filterwarnings("ignore:.*signature of throw:DeprecationWarning")


def run_from_an_outer_frame(context: Context, fn: Callable[..., Any], *args: Any) -> Any:
    return context.run(Context().run, fn, *args)


def run_while_another_thread_is_in(context: Context, fn: Callable[..., Any], *args: Any) -> Any:
    with in_use_by_a_thread(context):
        return fn(*args)


while_in_use = pytest.mark.parametrize("run_in_use", [run_from_an_outer_frame, run_while_another_thread_is_in])


async def looks_when_closed(seen: List[object]) -> None:
    try:
        await suspend()
    finally:
        seen.append(var.get())


@while_in_use
@pytest.mark.parametrize("is_started", [False, True])
@pytest.mark.parametrize("step", ["send None", "send", "throw", "throw three", "throw GeneratorExit"])
def test_context_in_use_elsewhere_is_an_error_and_closes_the_coroutine(
    run_in_use: Callable[..., Any], step: str, is_started: bool
) -> None:
    context, seen = context_with("ada"), []  # type: ignore[var-annotated]
    wrapped = clew.wrap_coroutine(looks_when_closed(seen), context)
    if is_started:
        wrapped.send(None)
    with pytest.raises(ContextInUseError, match=r"expected a context that is free.* pass context\.copy\(\)") as caught:
        run_in_use(context, STEPS[step], wrapped)
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.__cause__ is None
    assert inspect.getcoroutinestate(wrapped) == inspect.CORO_CLOSED  # type: ignore[arg-type]
    assert seen == (["ada"] if is_started else [])
    assert context.run(var.get) == "ada"  # no other code is still in it


@while_in_use
def test_coroutine_whose_context_is_in_use_is_closed_with_a_copy_of_its_values(run_in_use: Callable[..., Any]) -> None:
    context, seen = context_with("ada"), []  # type: ignore[var-annotated]
    wrapped = clew.wrap_coroutine(looks_when_closed(seen), context)
    wrapped.send(None)
    run_in_use(context, wrapped.close)
    assert seen == ["ada"]


def test_error_about_a_context_in_use_tells_why_the_coroutine_could_not_be_closed() -> None:
    async def resets() -> None:
        token = var.set(1)
        try:
            await suspend()
        finally:
            var.reset(token)  # the token belongs to the context that is in use

    context = Context()
    wrapped = clew.wrap_coroutine(resets(), context)
    wrapped.send(None)
    with pytest.raises(ContextInUseError) as caught:
        run_from_an_outer_frame(context, wrapped.send, None)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("make", [two_values, generator_based])
def test_started_coroutine_is_refused(make: Callable[[], Any]) -> None:
    started = make()
    started.send(None)
    with pytest.raises(AlreadyEnteredError, match="expected a coroutine that was not started, found <"):
        clew.wrap_coroutine(started, Context())
    with pytest.raises(StopIteration):
        started.send(started.send(1))


@pytest.mark.parametrize("step", ["send None", "send", "throw", "throw a class"])
@pytest.mark.parametrize("make", [two_values, generator_based])
def test_coroutine_that_was_passed_twice_is_refused_at_the_first_step_of_the_second(
    make: Callable[[], Any], step: str
) -> None:
    coroutine = make()
    first, second = clew.wrap_coroutine(coroutine, Context()), clew.wrap_coroutine(coroutine, Context())
    first.send(None)
    with pytest.raises(AlreadyEnteredError, match="wrap and await each coroutine once") as caught:
        STEPS[step](second)
    assert isinstance(caught.value, RuntimeError)
    del second
    first.send("a")
    with pytest.raises(StopIteration) as ended:
        first.send("b")
    assert ended.value.value == ("a", "b")


def test_coroutine_awaited_twice_says_what_the_bare_one_says() -> None:
    for coroutine in (two_values(), clew.wrap_coroutine(two_values(), Context())):
        first, second = awaiting(coroutine), awaiting(coroutine)
        first.send(None)
        with pytest.raises(RuntimeError, match="being awaited already"):
            second.send(None)
        first.close()
        with pytest.raises(RuntimeError, match=r"^cannot reuse already awaited coroutine$"):
            awaiting(coroutine).send(None)


STEPS_FROM_WITHIN = {
    "send": STEPS["send"],
    "throw": STEPS["throw"],
    "close": STEPS["close"],
    "await": lambda coroutine: awaiting(coroutine).send(None),
}


@pytest.mark.parametrize("run", [lambda fn, *args: fn(*args), Context().run], ids=["as it is", "in another context"])
@pytest.mark.parametrize("step", STEPS_FROM_WITHIN)
def test_coroutine_that_steps_itself_is_told_that_it_is_executing(step: str, run: Callable[..., Any]) -> None:
    def step_itself() -> str:
        with pytest.raises(ValueError, match="already executing") as caught:
            run(STEPS_FROM_WITHIN[step], itself)
        return str(caught.value)

    async def native() -> object:
        return step_itself(), await suspend(), step_itself(), var.get()

    @types.coroutine
    def based_on_a_generator() -> Any:
        return step_itself(), (yield), step_itself(), var.get()

    for make in (native, based_on_a_generator):
        itself = make()
        expected = context_with("ada").run(finish, itself)
        itself = clew.wrap_coroutine(make(), context_with("ada"))
        assert finish(itself) == expected


class Suspended(Foreign):
    """A coroutine that claims to run, as if another thread suspended it between the check and the step."""

    cr_running = True


@pytest.mark.parametrize("step", ["send None", "throw", "close"])
def test_coroutine_that_another_thread_suspends_meanwhile_is_not_stepped_outside_of_its_context(step: str) -> None:
    context, seen = context_with("ada"), []  # type: ignore[var-annotated]
    wrapped = clew.wrap_coroutine(Suspended(looks_when_closed(seen)), context)
    wrapped.send(None)
    with pytest.raises(ValueError, match=r"^coroutine already executing$"):
        run_from_an_outer_frame(context, STEPS[step], wrapped)
    assert seen == []
    wrapped.close()
    assert seen == ["ada"]


@pytest.mark.skipif(
    RUNS_WITHOUT_GIL, reason="needs a GIL: without one, a bare coroutine that threads step at once crashes"
)
def test_coroutine_that_threads_step_at_once_never_runs_outside_of_its_context() -> None:
    async def looks() -> None:
        while True:
            seen.add(var.get())
            await suspend()

    def step() -> None:
        start.wait(DEADLINE)
        for _ in range(2000):
            current = box[0]
            try:
                current.send(None)
            except (RuntimeError, ValueError):
                with lock:  # the context was in use, which closes the coroutine unless the coroutine itself used it
                    if current is box[0] and inspect.getcoroutinestate(current) == inspect.CORO_CLOSED:
                        box[0] = clew.wrap_coroutine(looks(), context)

    context, seen = context_with("ada"), set()  # type: ignore[var-annotated]
    box: List[Any] = [clew.wrap_coroutine(looks(), context)]
    start, lock = threading.Barrier(3), threading.Lock()
    threads = [threading.Thread(target=step) for _ in range(3)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join(DEADLINE)
    finally:
        sys.setswitchinterval(interval)
    box[0].close()
    assert seen == {"ada"}


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (two_values, r"got function <function two_values.*call it: wrap_coroutine\(f\(\), context\)"),
        (5, "expected a coroutine object, got int 5; call an async function and pass the result"),
        (None, "got NoneType None"),
        ((number for number in ()), "got generator"),
    ],
)
def test_what_is_no_coroutine_is_refused(argument: Any, said: str) -> None:
    with pytest.raises(ArgumentTypeError, match=said) as caught:
        clew.wrap_coroutine(argument, Context())
    assert isinstance(caught.value, TypeError)


def test_what_is_no_context_is_refused_and_the_coroutine_left_to_its_owner() -> None:
    coroutine = two_values()
    with pytest.raises(ArgumentTypeError, match=r"got dict {}; pass contextvars\.copy_context"):
        clew.wrap_coroutine(coroutine, {})  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    coroutine.close()
