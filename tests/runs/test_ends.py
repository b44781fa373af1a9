"""
Blocks and streams after their end: they keep no value of the contexts in which they were opened and read.

What a finished run keeps is in `test_lifetimes`.
"""

from __future__ import annotations

import contextlib
import gc
import weakref
from contextvars import Context, ContextVar, copy_context
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List

import pytest

import clew
from clew.runs._tree.blocks import leave_call
from clew.runs._tree.identity import Identity
from tests.context._coroutines import finish
from tests.edges._threads import is_gone

value: ContextVar[object] = ContextVar("value")


class Value:
    """Stand for what a request keeps in its context."""


def in_context_of_its_own(fn: Callable[[], Any], values: List[weakref.ref[Any]]) -> Any:
    def call() -> Any:
        own = Value()
        values.append(weakref.ref(own))
        value.set(own)
        return fn()

    return Context().run(call)


HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
elsewhere = Context().run(clew.capture)

BLOCKS: Dict[str, Callable[[], Any]] = {
    "attached": elsewhere.attached,
    "attached, captured here": lambda: clew.capture().attached(),
    "baggage": lambda: clew.baggage(tenant="acme"),
    "detached": clew.detached,
    "installed": clew.installed,
    "trace": lambda: clew.trace("block"),
    "trace with a parent": lambda: clew.trace("block", parent="ignore"),
    "tracing_context": lambda: clew.tracing_context(tags=["block"]),
    "tracing_context with a parent": lambda: clew.tracing_context(parent=HEADERS),
}

recording = pytest.mark.parametrize("is_recording", [False, True], ids=["not recording", "recording"])


@pytest.mark.usefixtures("no_collector")
@recording
@pytest.mark.parametrize("inner", BLOCKS)
@pytest.mark.parametrize("outer", BLOCKS)
@pytest.mark.parametrize("in_order", [True, False], ids=["in order", "out of order"])
def test_blocks_keep_no_value_of_their_context(outer: str, inner: str, in_order: bool, is_recording: bool) -> None:
    def use() -> Any:
        blocks = [BLOCKS[outer](), BLOCKS[inner]()]
        for block in blocks:
            block.__enter__()
        inside = value.set(None)
        started_inside = copy_context()
        value.reset(inside)
        for block in reversed(blocks) if in_order else blocks:
            block.__exit__(None, None, None)
        return blocks, started_inside

    values: List[weakref.ref[Any]] = []
    with clew.record() if is_recording else contextlib.nullcontext():
        kept = in_context_of_its_own(use, values)
    assert [is_gone(each) for each in values] == [True]
    del kept


def body() -> Iterator[int]:
    yield 1
    yield 2


async def async_body() -> AsyncIterator[int]:
    yield 1
    yield 2


def of_both(decorate: Callable[[Any], Any]) -> List[Callable[[], Any]]:
    return [lambda: decorate(body)(), lambda: decorate(async_body)()]


STREAMS: Dict[str, List[Callable[[], Any]]] = {
    "bound": of_both(clew.bind),
    "context_generator": of_both(clew.context_generator),
    "isolate": of_both(clew.context_generator(isolate=[ContextVar("other")])),
    "live": of_both(clew.context_generator(inherit="live")),
    "returned": of_both(lambda fn: clew.traceable(lambda: fn())),
    "shared context": [
        lambda: clew.wrap_generator(body(), context=Context()),
        lambda: clew.wrap_async_generator(async_body(), context=Context()),
    ],
    "traced": of_both(clew.traceable),
    "traced in a context": of_both(lambda fn: clew.traceable(clew.context_generator(fn))),
    "wrap_stream": of_both(lambda fn: lambda: clew.wrap_stream(fn())),
}


def read(stream: Any) -> None:
    with contextlib.suppress(StopIteration, StopAsyncIteration):
        _ = finish(stream.__anext__()) if hasattr(stream, "__anext__") else next(stream)


def close(stream: Any) -> None:
    _ = finish(stream.aclose()) if hasattr(stream, "aclose") else stream.close()


def fail(stream: Any) -> None:
    with contextlib.suppress(KeyError):
        _ = finish(stream.athrow(KeyError())) if hasattr(stream, "athrow") else stream.throw(KeyError())


@recording
@pytest.mark.parametrize("steps", [(read, read, read), (read, close), (read, fail)], ids=["read", "closed", "failed"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", STREAMS)
def test_streams_keep_no_value_of_who_opened_or_read_them(
    kind: str, is_async: bool, steps: Any, is_recording: bool
) -> None:
    values: List[weakref.ref[Any]] = []
    with clew.record() if is_recording else contextlib.nullcontext():
        stream = in_context_of_its_own(STREAMS[kind][is_async], values)
        for step in steps:
            in_context_of_its_own(partial(step, stream), values)
    gc.collect()  # the awaitable of a bare `athrow` refers to its exception, whose traceback refers to the awaitable
    assert [is_gone(each) for each in values] == [True] * (1 + len(steps))
    close(stream)  # it was kept until here, and has ended before


def test_block_left_too_early_keeps_nothing_from_before() -> None:
    def handle() -> None:
        first, second = clew.tracing_context(parent=False), clew.tracing_context(tags=["second"])
        with clew.record(), clew.trace("request of a block left too early") as run:
            first.__enter__()
            kept = copy_context()  # as a job that was started here keeps it
            second.__enter__()
            first.__exit__(None, None, None)
            second.__exit__(None, None, None)
            assert clew.get_current_run_tree() is run
        del run, first, second
        gc.collect()
        identities = [each for each in gc.get_objects() if type(each) is Identity]
        assert [each for each in identities if each.name == "request of a block left too early"] == []
        assert kept.run(clew.get_current_run_tree) is None

    Context().run(handle)


def test_run_that_an_interrupt_has_left_current_is_current_no_longer() -> None:
    with clew.record(), clew.trace("outer") as outer, clew.trace("inner") as inner:

        def interrupted() -> None:
            leave_call(inner._identity, None)  # the interrupt came before the token was stored
            assert clew.get_current_run_tree() is outer
            leave_call(inner._identity, None)
            assert clew.get_current_run_tree() is outer

        copy_context().run(interrupted)
