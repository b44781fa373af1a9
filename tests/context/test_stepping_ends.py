"""
Abandoned coroutines of `wrap_coroutine` are closed in their context, and ended ones keep nothing alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import sys
import threading
import types
import warnings
import weakref
from contextvars import Context
from typing import Any, Callable, Iterator, List

import pytest

import clew
from clew.errors import ContextInUseError
from tests.context._coroutines import (
    awaiting,
    context_with,
    finish,
    in_thread,
    let_finalizers_run,
    suspend,
    two_values,
    var,
)
from tests.edges._threads import Value, is_gone


@contextlib.contextmanager
def unraisable() -> Iterator[List[str]]:
    """Collect the errors that finalisers raise."""
    found: List[str] = []
    before = sys.unraisablehook
    # Not a fixture, because pytest sets a hook of its own around each phase of a test.
    sys.unraisablehook = lambda args: found.append(repr(args.exc_value))
    try:
        yield found
        let_finalizers_run()
    finally:
        sys.unraisablehook = before


async def resets(seen: List[object]) -> None:
    token = var.set("of the body")
    try:
        await suspend()
    finally:
        seen.append(var.get())
        var.reset(token)
        seen.append(var.get())


def started(wrap: Callable[[Any], Any], seen: List[object]) -> Any:
    coroutine = wrap(resets(seen))
    context_with("of the first consumer").run(coroutine.send, None)
    return coroutine


def shared(coroutine: Any) -> Any:
    return clew.wrap_coroutine(coroutine, context_with("ada"))


def test_abandoned_bare_coroutine_cannot_reset_and_the_wrapped_one_can() -> None:
    seen: List[object] = []
    with unraisable():
        started(lambda coroutine: coroutine, seen)
    assert seen in (["default"], [])  # PyPy does not close it that soon
    del seen[:]
    with unraisable() as found:
        started(shared, seen)
    assert seen == ["of the body", "ada"]
    assert found == []


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda coroutine: clew.wrap_coroutine(coroutine, context_with("ada").run(clew.capture)),
        lambda coroutine: awaiting(shared(coroutine)),
        lambda coroutine: clew.wrap_coroutine(shared(coroutine), Context()),
        lambda coroutine: shared(awaiting(coroutine)),
    ],
    ids=["copied", "awaited", "wrapped twice", "awaits"],
)
def test_abandoned_coroutine_is_closed_in_its_own_context(wrap: Callable[[Any], Any]) -> None:
    seen: List[object] = []
    with unraisable() as found:
        started(wrap, seen)
    assert seen == ["of the body", "ada"]
    assert found == []


@pytest.mark.parametrize("run", [lambda context, fn: in_thread(fn), Context.run], ids=["thread", "own context"])
def test_coroutine_abandoned_elsewhere_is_closed_in_its_own_context(run: Callable[..., Any]) -> None:
    def drop() -> None:
        box.clear()
        let_finalizers_run()

    context, seen = context_with("ada"), []  # type: ignore[var-annotated]
    box = [clew.wrap_coroutine(resets(seen), context)]
    box[0].send(None)
    with unraisable() as found:
        run(context, drop)
    assert seen == ["of the body", "ada"]
    assert found == []


def test_coroutine_abandoned_while_its_context_is_in_use_is_closed_with_a_copy_of_its_values() -> None:
    async def looks() -> None:
        try:
            await suspend()
        finally:
            seen.append(var.get())

    context, seen = context_with("ada"), []  # type: ignore[var-annotated]
    box = [clew.wrap_coroutine(looks(), context)]
    box[0].send(None)

    def drop() -> None:
        box.clear()
        let_finalizers_run()

    context.run(Context().run, drop)
    assert seen == ["ada"]


def test_abandoned_generator_based_coroutine_is_closed_in_its_own_context() -> None:
    @types.coroutine
    def resets_in_a_generator() -> Any:
        token = var.set("of the body")
        try:
            yield  # it shows no object that it awaits
        finally:
            seen.append(var.get())
            var.reset(token)

    seen: List[object] = []
    with unraisable() as found:
        shared(resets_in_a_generator()).send(None)
    assert seen == ["of the body"]
    assert found == []


def test_abandoned_coroutine_finds_the_values_of_its_accessors() -> None:
    async def looks() -> None:
        local.tenant = "of the body"
        try:
            await suspend()
        finally:
            seen.append(local.tenant)

    seen: List[object] = []
    local = threading.local()
    local.tenant = "ada"
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    clew.wrap_coroutine(looks(), Context()).send(None)
    unregister()
    let_finalizers_run()
    assert seen == ["of the body"]
    assert local.tenant == "ada"


def test_coroutine_in_a_garbage_cycle_with_who_awaits_it_is_closed_in_its_own_context() -> None:
    async def outer(cycle: List[object]) -> None:
        await shared(resets(seen))

    seen: List[object] = []
    with unraisable() as found:
        cycle: List[Any] = []
        cycle.append(outer(cycle))
        cycle[0].send(None)
        del cycle
        gc.collect()
    assert seen == ["of the body", "ada"]
    assert found == []


def test_coroutine_that_does_not_close_says_so_once() -> None:
    async def cleans_up_slowly() -> None:
        try:
            await suspend()
        finally:
            await suspend()

    with unraisable() as found:
        clew.wrap_coroutine(cleans_up_slowly(), Context()).send(None)
    assert found == ["RuntimeError('coroutine ignored GeneratorExit')"]


def fail_to_start(coroutine: Any) -> None:
    with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
        coroutine.send(1)


@pytest.mark.parametrize("use", [lambda coroutine: None, fail_to_start], ids=["dropped", "not started"])
def test_coroutine_that_never_starts_warns_as_the_bare_one(use: Callable[[Any], None]) -> None:
    def warnings_with(wrap: Callable[[Any], Any]) -> List[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            use(wrap(two_values()))
            let_finalizers_run()
        return [str(each.message) for each in caught]

    expected = warnings_with(lambda coroutine: coroutine)
    assert warnings_with(shared) == expected
    assert expected == ["coroutine 'two_values' was never awaited"] or use is fail_to_start


@pytest.mark.parametrize("end", [lambda each: each.close(), lambda each: each.throw(asyncio.CancelledError())])
def test_coroutine_that_is_ended_before_its_first_step_does_not_warn(end: Callable[[Any], None]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wrapped = shared(two_values())
        with contextlib.suppress(asyncio.CancelledError):
            end(wrapped)
        del wrapped
        let_finalizers_run()
    assert caught == []


async def ends(value: object) -> None:
    var.set(value)
    await suspend()


async def fails(value: object) -> None:
    await ends(value)
    raise LookupError


def finish_failing(coroutine: Any) -> None:
    with pytest.raises(LookupError):
        finish(coroutine)


async def fails_to_close(value: object) -> None:
    try:
        await ends(value)
    finally:
        raise LookupError


def refuse(coroutine: Any) -> None:
    coroutine.send(None)
    with pytest.raises(ContextInUseError):
        coroutine._context.run(Context().run, coroutine.send, None)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("make", "use"),
    [
        (ends, finish),
        (fails, finish_failing),
        (ends, lambda wrapped: None if wrapped.send(None) else wrapped.close()),
        (ends, lambda wrapped: wrapped.send(None)),
        (ends, lambda wrapped: finish(awaiting(wrapped))),
        (ends, refuse),
        (fails_to_close, refuse),
    ],
    ids=["ended", "failed", "closed", "abandoned", "awaited", "refused", "refused twice"],
)
def test_nothing_is_left_of_a_coroutine_that_has_ended(make: Any, use: Callable[[Any], None]) -> None:
    value, captured = Value(), Value()
    wrapped = clew.wrap_coroutine(make(value), context_with(captured))
    references = [weakref.ref(each) for each in (value, captured, wrapped, wrapped._coroutine)]  # type: ignore[attr-defined]
    use(wrapped)
    del wrapped, value, captured
    assert [is_gone(each) for each in references] == [True] * 4


def test_coroutine_is_not_copied_as_the_bare_one_is_not() -> None:
    bare, wrapped = two_values(), clew.wrap_coroutine(two_values(), Context())
    for each in (bare, wrapped):
        for make_another in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises((TypeError, pickle.PicklingError)):
                make_another(each)
        each.close()
