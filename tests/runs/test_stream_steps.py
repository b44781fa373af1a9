"""
Steps of traced streams: what a driver keeps between two of them, and what an interrupt or a change of context leaves.

Each step makes the run of the body current, and what was so before current again; see `clew.runs._tree.streams`.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from contextvars import Context, ContextVar, copy_context
from dis import opmap
from itertools import count
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Dict, Iterator, List, Optional

import pytest

import clew
from clew.runs._tree.blocks import current_baggage, current_identity, current_options
from clew.runs._tree.stream_drivers import drive_async_traced, drive_traced
from clew.runs._tree.stream_run import StreamRun
from clew.runs._tree.streams import _StreamObject
from tests.context._coroutines import suspend
from tests.edges._threads import is_gone
from tests.property._generators import IS_COUNTED

if TYPE_CHECKING:
    from types import FrameType

value: ContextVar[object] = ContextVar("value")

USUAL: Dict[ContextVar[Any], object] = {
    variable: Context().run(variable.get) for variable in (current_identity, current_options, current_baggage)
}


class Thing:
    """Be a value that a weak reference can watch."""


def texts() -> Iterator[object]:
    for n in range(5):
        yield f"text {n}"


async def texts_async() -> AsyncIterator[object]:
    for n in range(5):
        yield f"text {n}"


HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": "key=value"}


def with_blocks() -> Iterator[object]:
    yield "text 0"
    yield "text 1"
    with clew.tracing_context(parent=HEADERS, tags=["inside"]):
        yield 1
        with clew.trace("inner"):
            yield "text 3"
    yield "text 4"


async def with_blocks_async() -> AsyncIterator[object]:
    for each in with_blocks():
        yield each


class Items:
    """A stream that is not a generator."""

    def __init__(self) -> None:
        self._items = with_blocks()

    def __iter__(self) -> Items:
        return self

    def __next__(self) -> object:
        return next(self._items)


class AsyncItems:
    """An async stream that is not a generator."""

    def __init__(self) -> None:
        self._items = with_blocks_async()

    def __aiter__(self) -> AsyncItems:
        return self

    async def __anext__(self) -> object:
        return await self._items.__anext__()


def step(stream: Any) -> Any:
    """Take one item of a stream of either kind, which waits for nothing."""
    if not hasattr(stream, "__anext__"):
        return next(stream)
    try:
        stream.__anext__().send(None)
    except StopIteration as item:
        return item.value
    raise AssertionError("expected a stream that waits for nothing, found one that does")


both_kinds = pytest.mark.parametrize("make", [texts, texts_async], ids=["sync", "async"])


@pytest.mark.skipif(not IS_COUNTED, reason="it is references that are counted")
@pytest.mark.usefixtures("no_collector", "runs")
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize("wrap", [lambda make: make, clew.traceable], ids=["bare", "traced"])
@both_kinds
def test_suspended_stream_keeps_no_context(make: Any, wrap: Callable[[Any], Any], steps: int) -> None:
    stream, context, thing = wrap(make)(), Context(), Thing()
    watched = weakref.ref(thing)
    context.run(value.set, thing)
    for _ in range(steps):
        context.run(step, stream)
    del context, thing
    assert is_gone(watched)


@pytest.mark.skipif(not IS_COUNTED, reason="it is references that are counted")
@pytest.mark.usefixtures("no_collector", "runs")
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("wrap", [lambda make: make, clew.traceable(reduce_fn=len)], ids=["bare", "traced"])
def test_exception_that_has_ended_a_stream_keeps_no_items(wrap: Callable[[Any], Any], kind: str) -> None:
    def things() -> Iterator[Thing]:
        for _ in range(3):
            thing = Thing()
            watched.append(weakref.ref(thing))
            yield thing
        raise LookupError

    async def things_async() -> AsyncIterator[Thing]:
        for each in things():
            yield each

    watched: List[Any] = []
    stream = wrap(things if kind == "sync" else things_async)()
    for _ in range(3):
        step(stream)
    with pytest.raises(LookupError) as caught:
        step(stream)
    del stream
    # The loop of the body has the last one, in a frame of the traceback.
    assert [reference() is not None for reference in watched[:-1]] == [False, False]
    assert caught.value.__traceback__ is not None


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_blocks_opened_in_one_step_are_all_left_in_another_context(runs: clew.Recording, kind: str) -> None:
    def body() -> Iterator[str]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(clew.trace("outer"))
            stack.enter_context(clew.tracing_context(tags=["first"]))
            stack.enter_context(clew.tracing_context(tags=["second"]))
            stack.enter_context(clew.trace("inner"))
            stack.enter_context(clew.trace("elsewhere", parent=other))
            yield "inside"
        with clew.trace("after"):
            yield "outside"
        with clew.trace("root", parent=False):
            yield "again"

    async def body_async() -> AsyncIterator[str]:
        for each in body():
            yield each

    before = clew.stats()
    with clew.trace("other") as other:
        pass
    stream = clew.traceable(name="stream")(body if kind == "sync" else body_async)()
    for _ in range(3):
        Context().run(step, stream)
    with pytest.raises((StopIteration, StopAsyncIteration)):
        Context().run(step, stream)
    runs.assert_tree("""
        other
          elsewhere
        stream
          outer
            inner
          after
        root
    """)
    assert [runs.find(name=name).tags for name in ("inner", "after", "root")] == [("first", "second"), (), ()]
    assert clew.stats() == before


# Instructions that do nothing: no interrupt comes there, and 3.11 and later have no handler for what would.
_NOTHING = [opmap[name] for name in ("NOP", "NOT_TAKEN") if name in opmap]


class InterruptionError(BaseException):
    """Be what comes in between."""


_STEP_CODES = {drive_traced.__code__, drive_async_traced.__code__}
for _class in (StreamRun, _StreamObject):
    # Python swallows what `__del__` raises.
    _STEP_CODES.update(f.__code__ for name, f in vars(_class).items() if hasattr(f, "__code__") and name != "__del__")


class Interrupting:
    """Raise an interrupt after so many instructions of the drivers and of their steps."""

    def __init__(self, after: int) -> None:
        self._left = after
        self._codes = _STEP_CODES

    def trace(self, frame: FrameType, event: str, _: object) -> Optional[Callable[..., Any]]:
        if frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_code.co_code[frame.f_lasti] not in _NOTHING:
            self._left -= 1
            if not self._left:
                sys.settrace(None)
                raise InterruptionError
        return self.trace

    def came(self, fn: Callable[[], object]) -> bool:
        """Return whether it came in a call."""
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # 3.12 has to know by now that somebody asks for them
        sys.settrace(self.trace)
        try:
            fn()
        except InterruptionError:
            return True
        finally:
            sys.settrace(before)
        return False


@pytest.mark.skipif(not IS_COUNTED, reason="it is CPython's instructions that are counted")
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # the interrupt may come before
@pytest.mark.filterwarnings("ignore:coroutine method 'asend':RuntimeWarning")  # 3.13+: as above
@pytest.mark.parametrize("make", [texts, texts_async, with_blocks, with_blocks_async, Items, AsyncItems])
def test_interrupt_after_any_instruction_leaves_no_run_options_or_baggage_current(
    runs: clew.Recording, make: Any
) -> None:
    traced = clew.traceable(reduce_fn=list)(lambda: make()) if isinstance(make, type) else clew.traceable(make)
    for after in count(1):
        stream = traced()
        first = step(stream)

        def consume(stream: Any = stream) -> None:
            for _ in range(4):
                step(stream)

        context = Context()
        came = context.run(Interrupting(after).came, consume)
        for variable, usual in USUAL.items():
            assert context.run(variable.get) is usual, (after, variable)
        if not came:
            break
    assert first == "text 0"
    assert after > 100
    assert {run.status for run in runs if run.name != "inner"} <= {"error", "cancelled", "pending"}


@pytest.mark.parametrize("nth", [0, 1, 2])
def test_item_that_is_waited_for_in_a_copy_of_the_context_comes_and_is_counted(
    runs: clew.Recording, caplog: pytest.LogCaptureFixture, nth: int
) -> None:
    copies: List[Context] = []

    @clew.traceable
    async def moved() -> AsyncIterator[str]:
        for n in range(3):
            copies.append(copy_context())
            await suspend()
            yield str(n)

    def counted() -> int:
        return clew.stats().get("blocks_left_in_another_context", 0)

    def consume() -> None:
        stream, before = moved(), counted()
        for n in range(3):
            step: Any = stream.__anext__()
            step.send(None)
            elsewhere = copies[n] if n == nth else None
            with pytest.raises(StopIteration, match=str(n)):
                step.send(None) if elsewhere is None else elsewhere.run(step.send, None)
            assert elsewhere is None or elsewhere.run(clew.get_current_run_tree) is None
            assert counted() == before + (n >= nth)
        with pytest.raises(StopAsyncIteration):
            stream.__anext__().send(None)

    Context().run(consume)  # in which the run stays the current one, as it was not left there
    assert runs.find(name="moved").outputs == {"output": ["0", "1", "2"]}
