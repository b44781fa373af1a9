"""
Traced functions under and on top of what else there is: other decorators, classes, pickles, and consumers that are odd.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import functools
import inspect
import pickle
import threading
import typing
from typing import Any, Callable, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE


@clew.traceable
def numbers(stop: int) -> Iterator[int]:
    yield from range(stop)


@clew.traceable
def number(stop: int) -> int:
    return stop


@clew.traceable
async def number_later(stop: int) -> int:
    return stop


class Shop:
    @clew.traceable
    def streams(self, stop: int) -> Iterator[int]:
        yield from range(stop)

    @clew.traceable
    def works(self, stop: int) -> Any:
        return stop

    streams_three = functools.partialmethod(streams, 3)
    works_on_three = functools.partialmethod(works, 3)


@pytest.mark.parametrize("fn", [numbers, number, number_later, Shop.streams, Shop.works])
def test_function_is_pickled_and_copied_by_its_name(fn: Any) -> None:
    assert pickle.loads(pickle.dumps(fn)) is fn
    assert copy.copy(fn) is fn
    assert copy.deepcopy(fn) is fn


def test_method_of_a_copied_object_is_traced() -> None:
    for copied in (copy.deepcopy(Shop()).streams, pickle.loads(pickle.dumps(Shop().streams))):
        with clew.record() as runs:
            assert list(copied(2)) == [0, 1]
        assert runs.roots[0].inputs == {"stop": 2}


def test_partial_methods_are_traced() -> None:
    with clew.record() as runs:
        assert list(Shop().streams_three()) == [0, 1, 2]
        assert Shop().works_on_three() == 3
    assert [run.inputs for run in runs] == [{"stop": 3}, {"stop": 3}]


@pytest.mark.parametrize("fn", [numbers, number, number_later])
def test_function_can_be_looked_into(fn: Any) -> None:
    inner = inspect.unwrap(fn)
    assert inner is fn.__wrapped__
    assert inner is not fn
    assert typing.get_type_hints(fn) == typing.get_type_hints(inner)
    assert inspect.getsource(fn) == inspect.getsource(inner)


def test_method_that_is_overridden_nests_under_the_one_that_calls_it() -> None:
    class Market(Shop):
        @clew.traceable
        def streams(self, stop: int) -> Iterator[int]:
            yield -1
            yield from super().streams(stop)

        @clew.traceable
        def works(self, stop: int) -> Any:
            return super().works(stop)

    with clew.record() as runs:
        assert list(Market().streams(2)) == [-1, 0, 1]
        assert Market().works(5) == 5
    runs.assert_tree("streams\n  streams\nworks\n  works")


def test_abstract_methods_stay_abstract() -> None:
    class Abstract(abc.ABC):
        @clew.traceable
        @abc.abstractmethod
        def streams(self) -> Iterator[int]:
            yield 1

        @abc.abstractmethod
        @clew.traceable
        def works(self) -> None: ...

        @clew.traceable
        @classmethod
        @abc.abstractmethod
        def makes(cls) -> None: ...

    assert Abstract.__abstractmethods__ == {"streams", "works", "makes"}


def test_other_decorators_of_functools_go_with_it() -> None:
    @functools.singledispatch
    @clew.traceable
    def dispatches(given: object) -> Iterator[str]:
        yield "any"

    @dispatches.register(int)
    @clew.traceable(name="of int")
    def _(given: int) -> Iterator[str]:
        yield "int"

    @clew.traceable
    @functools.lru_cache(maxsize=None)
    def cached(given: int) -> int:
        return given

    class Cached:
        @functools.cached_property
        @clew.traceable
        def once(self) -> int:
            return 1

    with clew.record() as runs:
        assert [*dispatches(1), *dispatches("a")] == ["int", "any"]
        assert [cached(1), cached(1)] == [1, 1]
        shop = Cached()
        assert shop.once + shop.once == 2
    assert [run.name for run in runs] == ["of int", "dispatches", "cached", "cached", "once"]


@pytest.mark.parametrize("passed", [(), (None,)])
def test_what_is_traced_twice_gets_the_run_that_is_current_in_it(runs: clew.Recording, passed: Any) -> None:
    def plain(run_tree: Any) -> Any:
        assert run_tree is clew.get_current_run_tree()
        return "done"

    def stream(run_tree: Any) -> Any:
        assert run_tree is clew.get_current_run_tree()
        yield "done"

    twice: Any = clew.traceable(name="outer")(clew.traceable(name="inner")(plain))
    assert twice(*passed) == "done"
    assert list(clew.traceable(name="outer")(clew.traceable(name="inner")(stream))(*passed)) == ["done"]
    runs.assert_tree("""
        outer
          inner
        outer
          inner
    """)


def test_context_manager_that_is_a_decorator_makes_a_run_each_time() -> None:
    @contextlib.contextmanager
    @clew.traceable
    def around() -> Iterator[None]:
        yield

    @around()
    def works() -> int:
        return number(1)

    with clew.record() as runs:
        assert [works(), works()] == [1, 1]
    # The with block is the consumer's, and is not in the run of the generator.
    assert sorted(run.name for run in runs.roots) == ["around", "around", "number", "number"]


def test_two_threads_that_take_turns_are_one_consumer() -> None:
    @clew.traceable
    def steps() -> Iterator[int]:
        for turn in range(4):
            number(turn)
            yield turn

    found: List[int] = []
    with clew.record() as runs:
        stream = steps()
        for _ in range(5):
            thread = threading.Thread(target=lambda: found.extend(item for item in [next(stream, -1)]))
            thread.start()
            thread.join(DEADLINE)
    assert found == [0, 1, 2, 3, -1]
    assert [(root.name, root.status, len(root.children)) for root in runs.roots] == [("steps", "success", 4)]


def test_delegation_passes_all_on_and_nests() -> None:
    def script(decorate: Callable[[Any], Any]) -> List[Any]:
        @decorate
        def inner() -> Iterator[Any]:
            got: List[Any] = []
            while "stop" not in got:
                try:
                    got.append((yield len(got)))  # type: ignore[misc]
                except ValueError as error:
                    got.append(repr(error))
            return got

        @decorate
        def outer() -> Iterator[Any]:
            result = yield from inner()
            yield result

        stream = outer()
        steps = [next(stream), stream.send("a"), stream.throw(ValueError("b")), stream.send("stop")]
        return [*steps, *stream]

    with clew.record() as runs:
        assert script(clew.traceable) == script(lambda fn: fn)
    runs.assert_tree("outer\n  inner")


def test_stream_belongs_to_whoever_recorded_at_its_first_step() -> None:
    unheard = numbers(2)
    with clew.record() as runs:
        assert list(unheard) == [0, 1]
        heard = numbers(3)
        next(heard)
        later = numbers(2)
    assert [run.status for run in runs] == ["pending"]
    assert list(heard) == [1, 2]
    assert list(later) == [0, 1]
    assert [(run.status, run.outputs) for run in runs] == [("success", {"output": [0, 1, 2]})]


@pytest.mark.parametrize(
    ("reduce", "expected"),
    [
        (lambda chunks: chunks.append(3) or chunks, {"output": [1, 2, 3]}),
        (tuple, {"output": [1, 2]}),
        (sum, {"output": 3}),
        (lambda chunks: dict.fromkeys(map(str, chunks)), {"1": None, "2": None}),
        (lambda: None, {"output": [1, 2]}),
    ],
)
def test_reducer_may_be_anything_that_is_called(reduce: Any, expected: Any) -> None:
    @clew.traceable(reduce_fn=reduce)
    def stream() -> Iterator[int]:
        yield from (1, 2)

    with clew.record() as runs:
        assert list(stream()) == [1, 2]
    assert runs.roots[0].outputs == expected


class Nasty:
    """Refuse to be looked at."""

    __hash__ = None  # type: ignore[assignment]

    def __refuse(self, *_: object) -> Any:
        raise RuntimeError("looked at")

    __repr__ = __str__ = __eq__ = __ne__ = __bool__ = __len__ = __iter__ = __getattr__ = __refuse


def test_item_that_refuses_to_be_looked_at_comes_through() -> None:
    @clew.traceable
    def stream(given: Nasty) -> Iterator[object]:
        yield given
        yield [given]

    given = Nasty()
    with clew.record() as runs:
        first, second = stream(given)
    assert first is given
    assert second[0] is given
    assert runs.roots[0].status == "success"


async def later(value: Any) -> Any:
    return value


def in_parts(value: Any) -> Iterator[Any]:
    yield value


HOOKS = {"number": 5, "text": "name", "coroutine": later, "generator": in_parts, "partial": functools.partial(later)}


@pytest.mark.parametrize("hook", HOOKS.values(), ids=HOOKS)
@pytest.mark.parametrize("option", ["process_inputs", "process_outputs", "process_chunk", "reduce_fn"])
def test_hook_that_cannot_be_called_for_its_value_is_refused(option: str, hook: Any) -> None:
    with pytest.raises(clew.errors.ArgumentTypeError, match=f"expected {option} as a plain function, got "):
        clew.traceable(**{option: hook})(number)


def test_class_is_refused_with_the_remedy() -> None:
    for decorate in (clew.traceable, clew.traceable(name="shop")):
        with pytest.raises(clew.errors.ArgumentTypeError, match=r"would no longer be a class; decorate its methods"):
            decorate(type("Shop", (), {}))


def test_function_that_makes_a_context_manager_is_refused_with_the_remedy() -> None:
    def around() -> Iterator[None]:
        yield

    async def around_async() -> Any:
        yield

    class Shop:
        method = contextlib.contextmanager(around)

    named: List[Any] = [
        (contextlib.contextmanager(around), r"contextlib\.contextmanager"),
        (contextlib.asynccontextmanager(around_async), r"contextlib\.asynccontextmanager"),
        (functools.partial(contextlib.contextmanager(around)), r"contextlib\.contextmanager"),
        (staticmethod(contextlib.contextmanager(around)), r"contextlib\.contextmanager"),
        (Shop().method, r"contextlib\.contextmanager"),
    ]
    for fn, name in named:
        for decorate in (clew.traceable, clew.traceable(run_type="tool")):
            with pytest.raises(clew.errors.ArgumentTypeError, match=name + r".*leave out @traceable.*clew\.trace\('"):
                decorate(fn)


def test_block_in_a_context_manager_is_the_remedy() -> None:
    @contextlib.contextmanager
    def session() -> Iterator[None]:
        with clew.trace("session"):
            number(1)
            yield

    with clew.record() as runs, session():
        number(2)
    runs.assert_tree("""
        session
          number
          number
    """)


def test_trace_is_no_decorator_and_says_so() -> None:
    def fn() -> None:
        pass

    with pytest.raises(clew.errors.ArgumentTypeError, match=r"@clew\.traceable\(name='fetch'\)$"):
        clew.trace("fetch")(fn)
    with pytest.raises(clew.errors.ArgumentTypeError, match=r"decorate it: @clew\.traceable$"):
        clew.trace(fn)  # type: ignore[arg-type]


def test_tracing_context_is_no_decorator_and_says_so() -> None:
    with pytest.raises(clew.errors.ArgumentTypeError, match=r"write the block inside the function$"):
        clew.tracing_context(tags=["batch"])(number)


def test_name_given_as_run_type_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    before = clew.stats().get("run_types_unknown", 0)
    for known in ("chain", "embedding", "llm", "parser", "prompt", "retriever", "tool"):
        clew.traceable(known)(number)
    clew.traceable(run_type="of my own")(number)
    assert clew.stats().get("run_types_unknown", 0) == before
    with clew.record() as runs:
        assert clew.traceable("look up")(number)(1) == 1
    assert [(run.name, run.run_type) for run in runs.roots] == [("number", "look up")]
    assert clew.stats()["run_types_unknown"] == before + 1
    if not before:  # only the first one is logged
        assert "traceable(name='look up')" in caplog.text


def test_options_without_a_type_make_a_chain() -> None:
    for decorate in (clew.traceable(), clew.traceable(None), clew.traceable(run_type=None)):
        with clew.record() as runs:
            decorate(number)(1)
        assert runs.roots[0].run_type == "chain"
