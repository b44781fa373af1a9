"""
Traced generators: one run from the first step to the last, whoever makes the steps, and nobody else's.

That the generator itself does what the undecorated one does is for the property tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import sys
import threading
import traceback
import weakref
from contextvars import ContextVar, copy_context
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional

import pytest

import clew
from clew.runs._tree.kept.copier import MAX_STRING_CHARS, copy_value
from tests.edges._generators import pause
from tests.edges._threads import DEADLINE, in_empty_context, is_gone
from tests.runs._streaming import Run, collect, on_every_loop, summary, work

user: ContextVar[str] = ContextVar("user", default="nobody")


@clew.traceable
def count(stop: int) -> Iterator[int]:
    for n in range(stop):
        work(n)
        yield n


@clew.traceable
async def count_async(stop: int) -> AsyncIterator[int]:
    for n in range(stop):
        await pause()
        work(n)
        await pause()
        yield n


def test_generator_is_a_run_and_its_consumer_is_not_in_it(runs: clew.Recording) -> None:
    with clew.trace("consumer") as consumer:
        for n in count(2):
            assert clew.get_current_run_tree() is consumer
            work(10 + n)
    runs.assert_tree("""
        consumer
          count
            work
            work
          work
          work
    """)
    assert summary(runs.find(name="count")) == ("count", "success", {"stop": 2}, {"output": [0, 1]})


@on_every_loop
def test_async_generator_is_a_run_and_its_consumer_is_not_in_it(runs: clew.Recording, run: Run) -> None:
    async def main() -> None:
        with clew.trace("consumer") as consumer:
            async for n in count_async(2):
                assert clew.get_current_run_tree() is consumer
                work(10 + n)

    run(main)
    runs.assert_tree("""
        consumer
          count_async
            work
            work
          work
          work
    """)
    assert summary(runs.find(name="count_async")) == ("count_async", "success", {"stop": 2}, {"output": [0, 1]})


def test_parent_is_that_of_the_call_and_the_start_the_first_step(runs: clew.Recording) -> None:
    with clew.trace("caller") as caller:
        generator = count(1)
        never = count(1)
    with clew.trace("reader") as reader:
        assert list(generator) == [0]
    del never
    found = runs.find(name="count")
    assert (found.parent_id, len(runs)) == (caller.id, 4)
    assert found.start_time_ns >= reader.start_time_ns


def test_interleaved_generators_have_their_own_children(runs: clew.Recording) -> None:
    @clew.traceable
    def letters(name: str) -> Iterator[str]:
        with clew.trace(f"{name} open"):
            for _ in range(2):
                with clew.trace(f"{name} step"):
                    pass
                yield name

    assert list(zip(letters("a"), letters("b"))) == [("a", "b"), ("a", "b")]
    for name in ("a", "b"):
        steps = runs.find_all(name=f"{name} step")
        assert {step.parent_id for step in steps} == {runs.find(name=f"{name} open").id}
        assert len(steps) == 2


def test_trace_block_across_a_yield_is_left_where_the_consumer_goes_on(runs: clew.Recording) -> None:
    @clew.traceable
    def body() -> Iterator[None]:
        with clew.trace("block"):
            yield
            work(1)
        work(2)
        yield

    generator = body()
    before = clew.stats()
    next(generator)
    in_empty_context(next, generator)
    copy_context().run(list, generator)
    runs.assert_tree("""
        body
          block
            work
          work
    """)
    assert clew.stats() == before


@on_every_loop
def test_trace_block_across_an_async_yield_is_left_in_another_task(runs: clew.Recording, run: Run) -> None:
    @clew.traceable
    async def body() -> AsyncIterator[None]:
        with clew.trace("block"):
            await pause()
            yield
            work(1)
        work(2)

    before = clew.stats()

    async def main() -> None:
        generator = body()
        with clew.trace("first"):
            await generator.__anext__()
        operation: Any = generator.__anext__()
        with clew.trace("second"), contextlib.suppress(StopAsyncIteration):
            await clew.wrap_coroutine(as_coroutine(operation), clew.capture().context())

    async def as_coroutine(operation: Any) -> Any:
        return await operation

    run(main)
    runs.assert_tree("""
        body
          block
            work
          work
        first
        second
    """)
    assert clew.stats() == before


def test_generator_left_early_is_cancelled_with_what_it_has_yielded(runs: clew.Recording) -> None:
    for n in count(5):
        if n == 1:
            break
    collect()
    found = runs.find(name="count")
    assert (found.status, found.error, found.outputs) == ("cancelled", None, {"output": [0, 1]})


@on_every_loop
def test_async_generator_left_early_is_cancelled_with_what_it_has_yielded(runs: clew.Recording, run: Run) -> None:
    async def main() -> None:
        generator = count_async(5)
        async for n in generator:
            if n == 1:
                break
        await generator.aclose()

    run(main)
    found = runs.find(name="count_async")
    assert (found.status, found.error, found.outputs) == ("cancelled", None, {"output": [0, 1]})


@on_every_loop
def test_body_that_returns_when_it_is_closed_is_cancelled(runs: clew.Recording, run: Run) -> None:
    @clew.traceable
    def quiet() -> Iterator[int]:
        with contextlib.suppress(GeneratorExit):
            yield 1

    @clew.traceable
    async def quiet_async() -> AsyncIterator[int]:
        with contextlib.suppress(GeneratorExit):
            yield 1

    async def main() -> None:
        generator = quiet_async()
        await generator.__anext__()
        await generator.aclose()

    run(main)
    closed = quiet()
    next(closed)
    closed.close()
    assert [each.status for each in runs] == ["cancelled", "cancelled"]


def test_async_generator_that_no_loop_closes_is_cancelled(runs: clew.Recording) -> None:
    @clew.traceable
    async def body() -> AsyncIterator[int]:
        yield 1

    generator: Any = body()
    with pytest.raises(StopIteration):
        generator.asend(None).send(None)
    del generator
    gc.collect()
    assert summary(runs.find(name="body")) == ("body", "cancelled", {}, {"output": [1]})


@on_every_loop
def test_error_is_an_error_with_its_traceback_and_the_chunks(runs: clew.Recording, run: Run) -> None:
    @clew.traceable
    def fails() -> Iterator[int]:
        yield 1
        raise KeyError("here")

    @clew.traceable
    async def fails_async() -> AsyncIterator[int]:
        yield 1
        await pause()
        raise KeyError("here")

    async def main() -> List[int]:
        return [n async for n in fails_async()]

    with pytest.raises(KeyError, match="here"):
        run(main)
    with pytest.raises(KeyError, match="here"):
        list(fails())
    for found in runs:
        assert (found.status, found.outputs) == ("error", {"output": [1]})
        assert found.error is not None
        assert found.error.rstrip().endswith("KeyError: 'here'")
        assert found.error.count("File ") == 1


@on_every_loop
def test_consumer_sees_one_frame_more_at_most(runs: clew.Recording, run: Run) -> None:
    def fails() -> Iterator[int]:
        yield 1
        raise KeyError("here")

    async def fails_async() -> AsyncIterator[int]:
        yield 1
        raise KeyError("here")

    async def read(fn: Any) -> None:
        async for _ in fn():
            pass

    def frames(call: Callable[[], Any]) -> List[str]:
        with pytest.raises(KeyError) as caught:
            call()
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    bare, traced = frames(lambda: list(fails())), frames(lambda: list(clew.traceable(fails)()))
    assert traced == [*bare[:-1], "drive_traced", "fails"]
    bare = frames(lambda: run(lambda: read(fails_async)))
    traced = frames(lambda: run(lambda: read(clew.traceable(fails_async))))
    assert traced[-3:] == ["read", "drive_async_traced", "fails_async"]
    assert len(traced) == len(bare) + 1


def test_values_of_the_consumers_flow_both_ways(runs: clew.Recording) -> None:
    @clew.traceable
    def body() -> Iterator[str]:
        user.set("body")
        yield user.get()
        yield user.get()

    def consume() -> List[str]:
        generator = body()
        found = [next(generator), user.get()]
        user.set("consumer")
        return [*found, next(generator)]

    assert copy_context().run(consume) == ["body", "body", "consumer"]


def test_what_is_yielded_is_reduced_and_processed(runs: clew.Recording) -> None:
    chunks: List[Any] = []

    def reduce(given: List[Any]) -> Dict[str, int]:
        chunks.extend(given)
        return {"sum": sum(given)}

    @clew.traceable(reduce_fn=reduce, process_chunk=lambda n: n * 10, process_outputs=lambda value: {"got": value})
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    assert list(numbers()) == [1, 2]
    assert chunks == [10, 20]
    assert runs.find(name="numbers").outputs == {"got": {"sum": 30}}


def test_reducer_that_fails_leaves_the_list(runs: clew.Recording) -> None:
    def reduce(_: List[Any]) -> Any:
        raise ValueError("no")

    def process(chunk: int) -> Any:
        if chunk == 2:
            raise ValueError("secret")
        return chunk

    before = clew.stats()

    @clew.traceable(reduce_fn=reduce, process_chunk=process)
    def numbers() -> Iterator[int]:
        yield from (1, 2)

    assert list(numbers()) == [1, 2]
    assert runs.find(name="numbers").outputs == {"output": [1, {"clew.dropped": "process_chunk raised ValueError"}]}
    for kind in ("reductions_failed", "payloads_dropped"):
        assert clew.stats()[kind] == before.get(kind, 0) + 1


def test_first_item_is_an_event(runs: clew.Recording) -> None:
    list(count(3))
    found = runs.find(name="count")
    assert [event["name"] for event in found.events] == ["new_token"]
    assert found.end_time_ns is not None
    assert found.start_time_ns <= found.events[0]["time_ns"] <= found.end_time_ns


@pytest.mark.parametrize("item", ["text", 1], ids=["text", "number"])
def test_long_stream_is_cut_and_said_to_be(runs: clew.Recording, monkeypatch: pytest.MonkeyPatch, item: object) -> None:
    monkeypatch.setattr("clew.runs._tree.stream_run.MOST_CHUNKS", 3)

    @clew.traceable
    def repeated(times: int) -> Iterator[object]:
        for _ in range(times):
            yield item

    @clew.traceable
    async def repeated_async(times: int) -> AsyncIterator[object]:
        for _ in range(times):
            yield item

    async def consume(times: int) -> List[object]:
        return [each async for each in repeated_async(times)]

    for times in (3, 4, 9):
        assert list(repeated(times)) == [item] * times
        assert asyncio.run(consume(times)) == [item] * times
    cuts = [[], ["<cut: 4 chunks>"], ["<cut: 9 chunks>"]]
    for name in ("repeated", "repeated_async"):
        assert [run.outputs for run in runs.roots if run.name == name] == [
            {"output": [item, item, item, *cut]} for cut in cuts
        ]


def test_text_among_the_items_is_cut_where_it_is_long(runs: clew.Recording) -> None:
    long = "x" * (MAX_STRING_CHARS + 1)
    items: List[object] = ["a", long, {"b": [long]}, "c", long]

    @clew.traceable
    def texts() -> Iterator[object]:
        yield from items

    assert list(texts()) == items
    assert runs.find(name="texts").outputs == {"output": [copy_value(each) for each in items]}
    assert copy_value(long) != long


@pytest.mark.parametrize("outermost", ["traceable", "context_generator"])
def test_context_generator_and_traceable_go_together(runs: clew.Recording, outermost: str) -> None:
    def body() -> Iterator[str]:
        work(0)
        user.set("body")
        yield user.get()
        work(1)
        yield user.get()

    decorators: List[Any] = [clew.context_generator, clew.traceable]
    if outermost == "context_generator":
        decorators.reverse()
    function = decorators[1](decorators[0](body))
    assert inspect.isgeneratorfunction(function)
    assert [(item, user.get()) for item in function()] == [("body", "nobody"), ("body", "nobody")]
    runs.assert_tree("""
        body
          work
          work
    """)


def test_methods_of_every_kind_are_traced(runs: clew.Recording) -> None:
    class Shop:
        @clew.traceable
        def bound(self, n: int) -> Iterator[int]:
            yield n

        @clew.traceable
        @classmethod
        def of_class(cls, n: int) -> Iterator[int]:
            yield n

        @staticmethod
        @clew.traceable
        def static(n: int) -> Iterator[int]:
            yield n

        @clew.traceable
        def __call__(self, n: int) -> Iterator[int]:
            yield n

    shop = Shop()
    for call in (shop.bound, shop.of_class, Shop.static, shop, clew.traceable(shop.bound)):
        assert list(call(1)) == [1]
    assert {str(run.inputs) for run in runs} == {"{'n': 1}"}
    assert len(runs) == 6


def test_context_manager_of_a_traced_generator_works(runs: clew.Recording) -> None:
    @contextlib.contextmanager
    @clew.traceable
    def opened() -> Iterator[str]:
        work(0)
        yield "value"
        work(1)

    with opened() as value:
        assert value == "value"
    runs.assert_tree("""
        opened
          work
          work
    """)


def test_two_threads_read_two_generators_at_once(runs: clew.Recording) -> None:
    barrier = threading.Barrier(2)

    def read() -> None:
        for _ in count(200):
            pass
        barrier.wait(DEADLINE)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert [len(root.children) for root in runs.roots] == [200, 200]


def test_where_nobody_records_the_generator_is_the_bare_one() -> None:
    generator: Any = count(1)
    assert generator.gi_code.co_name == "count"
    with clew.record() as runs, clew.tracing_context(enabled=False):
        assert list(count(1)) == [0]
    assert len(runs) == 0


def test_nothing_of_an_ended_stream_is_kept(runs: clew.Recording) -> None:
    class Item:
        pass

    @clew.traceable
    def items(first: Item) -> Iterator[Optional[Item]]:
        yield first

    item = Item()
    generator = items(item)
    reference = weakref.ref(item)
    assert next(generator) is item
    del item
    assert list(generator) == []
    assert is_gone(reference)


def test_generator_function_looks_like_the_undecorated_one() -> None:
    def body(a: int, *, b: str = "b") -> Iterator[int]:
        """Say what it does."""
        yield a

    traced = clew.traceable(body)
    assert inspect.signature(traced) == inspect.signature(body)
    assert inspect.isgeneratorfunction(traced)
    assert (traced.__name__, traced.__doc__, traced.__module__) == (body.__name__, body.__doc__, body.__module__)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs asyncio.timeout of 3.11")
def test_timeout_in_the_body_fires(runs: clew.Recording) -> None:
    @clew.traceable
    async def slow() -> AsyncIterator[str]:
        try:
            async with asyncio.timeout(0):  # type: ignore[attr-defined,unused-ignore]
                await asyncio.Event().wait()
        except asyncio.TimeoutError:
            yield "timed out"

    async def main() -> List[str]:
        return [item async for item in slow()]

    assert asyncio.run(main()) == ["timed out"]
    assert runs.find(name="slow").status == "success"


def test_traced_generator_functions_nest(runs: clew.Recording) -> None:
    @clew.traceable(name="outer")
    @clew.traceable(name="inner")
    def body() -> Iterator[int]:
        work(1)
        yield 1

    assert list(body()) == [1]
    runs.assert_tree("""
        outer
          inner
            work
    """)


@pytest.mark.parametrize("reads", [list, next])
def test_run_ends_whatever_its_reducer_does(runs: clew.Recording, reads: Callable[[Any], Any]) -> None:
    def reduce(_: List[Any]) -> Any:
        raise SystemExit(3)

    @clew.traceable(reduce_fn=reduce)
    def body() -> Iterator[int]:
        yield 1
        raise KeyError

    generator = body()
    next(generator)
    with pytest.raises(SystemExit):
        reads(generator)
    assert runs.roots[0].status == "error"
