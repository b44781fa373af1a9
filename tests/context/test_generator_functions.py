"""
Generator functions under `context_generator` and `bind`: their kind and attributes, and the moment of the capture.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import types
import typing
from contextvars import Context, ContextVar
from typing import Any, AsyncIterator, Callable, Generator, Iterator, List

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError
from tests.edges._threads import as_ada, user


@clew.context_generator
def documented(number: int, *, word: str = "w") -> Generator[object, None, str]:
    """Yield the arguments and the current user."""
    yield number, word
    yield user.get()
    return "end"


@clew.context_generator
async def documented_async(number: int, *, word: str = "w") -> AsyncIterator[object]:
    """Yield the arguments and the current user."""
    yield number, word
    yield user.get()


async def collected(items: AsyncIterator[object]) -> List[object]:
    return [item async for item in items]


def all_of(items: Any) -> List[object]:
    """Return the items of a generator or async generator, taken in another context."""
    return Context().run(asyncio.run, collected(items)) if inspect.isasyncgen(items) else Context().run(list, items)


BOTH = pytest.mark.parametrize("function", [documented, documented_async], ids=["sync", "async"])


@BOTH
def test_decorated_function_is_taken_for_the_plain_one(function: Any) -> None:
    plain = inspect.unwrap(function)
    for question in (
        inspect.isfunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        inspect.iscoroutinefunction,
        inspect.isroutine,
        inspect.signature,
        inspect.getsource,
        inspect.getdoc,
        typing.get_type_hints,
        callable,
    ):
        assert question(function) == question(plain), question
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__", "__kwdefaults__", "__code__"):
        assert getattr(function, name) == getattr(plain, name), name
    assert isinstance(function, types.FunctionType)
    with pytest.raises(AttributeError, match="has no attribute 'missing'"):
        function.missing


@BOTH
def test_what_its_call_returns_is_a_real_generator_of_that_name(function: Any) -> None:
    made, plain = function(1), inspect.unwrap(function)(1)
    assert type(made) is type(plain)
    assert (made.__name__, made.__qualname__) == (plain.__name__, plain.__qualname__)


def test_generator_has_the_name_that_its_function_has_by_then() -> None:
    @clew.context_generator
    def before() -> Iterator[None]:
        yield

    before.__name__ = before.__qualname__ = "after"
    assert (before().__name__, before().__qualname__) == ("after", "after")  # type: ignore[attr-defined]


@BOTH
def test_captured_at_the_call_and_not_at_the_first_step(function: Any) -> None:
    made = as_ada(lambda: function(1, word="x"))
    assert all_of(made) == [(1, "x"), "ada"]


@BOTH
def test_arguments_that_do_not_fit_are_refused_at_the_call(function: Any) -> None:
    with pytest.raises(TypeError, match=r"documented(_async)?\(\) missing 1 required positional argument: 'number'"):
        function()


@BOTH
def test_decorated_function_pickles_by_name_and_is_not_copied(function: Any) -> None:
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.copy(function) is copy.deepcopy(function) is function


class Service:
    name = "service"

    @clew.context_generator
    def method(self, word: str) -> Iterator[object]:
        yield self.name, word, user.get()

    @classmethod
    @clew.context_generator
    def of_class(cls, word: str) -> Iterator[object]:
        yield cls.name, word, user.get()

    @clew.context_generator
    @classmethod
    def of_class_outside(cls, word: str) -> Iterator[object]:
        yield cls.name, word, user.get()

    @staticmethod
    @clew.context_generator
    def static(word: str) -> Iterator[object]:
        yield "service", word, user.get()

    @clew.context_generator
    @staticmethod
    def static_outside(word: str) -> Iterator[object]:
        yield "service", word, user.get()

    @clew.context_generator
    async def method_async(self, word: str) -> AsyncIterator[object]:
        yield self.name, word, user.get()

    def __call__(self, word: str) -> Iterator[object]:
        yield self.name, word, user.get()

    def plain(self, word: str) -> Iterator[object]:
        yield self.name, word, user.get()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Service().method,
        lambda: functools.partial(Service.method, Service()),
        lambda: Service.of_class,
        lambda: Service().of_class_outside,
        lambda: Service.static,
        lambda: Service().static_outside,
        lambda: Service().method_async,
        lambda: clew.context_generator(Service()),
        lambda: clew.context_generator(Service().plain),
        lambda: clew.context_generator(functools.partial(Service.plain, Service())),
        lambda: clew.context_generator(lambda word: (yield "service", word, user.get())),
        lambda: clew.bind(Service().plain),
    ],
)
def test_methods_and_other_callables_keep_their_kind(make: Callable[[], Any]) -> None:
    made = as_ada(lambda: make()("w"))
    assert all_of(made) == [("service", "w", "ada")]


def test_generator_based_coroutine_can_be_awaited_in_either_order_of_decorators() -> None:
    @types.coroutine
    @clew.context_generator
    def outside() -> Generator[Any, Any, object]:
        yield from asyncio.sleep(0).__await__()
        return user.get()

    @clew.context_generator
    @types.coroutine
    def inside() -> Generator[Any, Any, object]:
        yield from asyncio.sleep(0).__await__()
        return user.get()

    async def main(both: List[Any]) -> List[object]:
        return [await each for each in both]

    made = as_ada(lambda: [outside(), inside()])
    assert Context().run(asyncio.run, main(made)) == ["ada", "ada"]


@pytest.mark.parametrize("plain", [inspect.unwrap(documented), inspect.unwrap(documented_async)], ids=["sync", "async"])
def test_bound_generator_function_has_the_values_of_when_it_was_bound(plain: Any) -> None:
    bound = as_ada(lambda: clew.bind(plain))
    for question in (inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.isfunction, inspect.signature):
        assert question(bound) == question(plain), question
    assert [all_of(bound(2)), all_of(bound(number=3))] == [[(2, "w"), "ada"], [(3, "w"), "ada"]]
    assert clew.bind(bound) is bound
    assert clew.unwrap(bound) is plain
    anew = Context().run(lambda: clew.capture().bind(bound))
    assert all_of(anew(2)) == [(2, "w"), "nobody"]


@BOTH
def test_bound_function_that_is_decorated_already_is_driven_once(function: Any) -> None:
    bound = as_ada(lambda: clew.bind(function))
    made = bound(2)
    assert clew.unwrap(clew.unwrap(made)) is clew.unwrap(made)
    assert all_of(made) == [(2, "w"), "ada"]


@pytest.mark.parametrize("options", [{"inherit": "live"}, {"isolate": []}])
def test_binding_counts_more_than_the_options_of_the_decoration(options: Any) -> None:
    def sets() -> Iterator[object]:
        yield user.get()
        user.set("set")

    decorated = clew.context_generator(**options)(sets)
    bound = as_ada(lambda: clew.bind(decorated))

    def consume() -> object:
        return [*bound(), user.get()]

    assert Context().run(consume) == ["ada", "nobody"]
    assert clew.unwrap(bound) is decorated


def test_function_that_only_looks_like_one_gives_what_it_gives() -> None:
    class Listing:
        @property
        def __class__(self) -> Any:
            return types.FunctionType

        __code__ = inspect.unwrap(documented).__code__
        __name__ = "listing"

        def __call__(self) -> List[int]:
            return [1]

    listing: Any = Listing()
    assert clew.context_generator(listing)() == clew.bind(listing)() == [1]


def test_defaults_can_be_changed_and_wrappers_take_over_what_they_would() -> None:
    @clew.context_generator
    def with_default(number: int = 1, *, word: str = "a") -> Iterator[object]:
        yield number, word

    changed: Any = with_default
    changed.__defaults__, changed.__kwdefaults__ = (2,), {"word": "b"}
    assert list(with_default()) == [(2, "b")]

    @functools.wraps(with_default)
    def wrapper() -> None:
        pass

    assert [name for name in vars(wrapper) if not name.startswith("__")] == []


def _bound_decorated(fn: Any) -> Any:
    return clew.bind(clew.context_generator(fn))


def _traced_decorated(fn: Any) -> Any:
    return clew.traceable(clew.context_generator(fn))


@pytest.mark.parametrize("name", ["function", "driven", "driver_of", "undecorated", "redecorated"])
@pytest.mark.parametrize(
    "decorate", [clew.context_generator, clew.traceable, clew.bind, _bound_decorated, _traced_decorated]
)
def test_function_may_have_attributes_of_any_name(decorate: Any, name: str) -> None:
    def numbers() -> Iterator[int]:
        yield 1

    setattr(numbers, name, "mine")
    decorated = decorate(numbers)
    assert getattr(decorated, name) == "mine"
    assert list(decorated()) == [1]


def test_generators_of_one_function_keep_apart() -> None:
    @clew.context_generator
    def counting(name: str) -> Iterator[str]:
        user.set(name)
        for number in range(2):
            yield f"{user.get()} {number}"

    assert list(zip(counting("a"), counting("b"))) == [("a 0", "b 0"), ("a 1", "b 1")]


def plain_function() -> None:
    pass


async def coroutine_function() -> None:
    pass


@pytest.mark.parametrize(
    ("decorate", "kind", "said"),
    [
        (lambda: clew.context_generator(plain_function), ArgumentTypeError, "that its call returns to wrap_gen"),
        (lambda: clew.context_generator(coroutine_function), ArgumentTypeError, "call returns to wrap_coroutine"),
        (lambda: clew.context_generator(documented(1)), ArgumentTypeError, "object to wrap_generator or wrap_async"),
        (lambda: clew.context_generator(5), ArgumentTypeError, "got int 5; decorate a function that has a yield"),
        (lambda: clew.context_generator(documented), ArgumentValueError, "not decorated yet, .*pass the options there"),
        (lambda: clew.context_generator(inherit="never"), ArgumentValueError, "inherit='creation' or .*got 'never'"),
        (lambda: clew.context_generator(isolate=user), ArgumentTypeError, "got one: .*pass isolate=\\[it\\]"),
        (lambda: clew.context_generator(isolate=["user"]), ArgumentTypeError, "found str 'user'; pass the variables"),
        (lambda: clew.context_generator(isolate=3), ArgumentTypeError, "a list of ContextVars, got int 3"),
        (
            lambda: clew.context_generator(inherit="live", isolate=[user]),
            ArgumentValueError,
            "expected isolate or inherit='live', got both",
        ),
    ],
)
def test_wrong_function_or_option_is_refused_at_the_decoration(
    decorate: Callable[[], Any], kind: Any, said: str
) -> None:
    with pytest.raises(kind, match=said):
        decorate()


def test_empty_isolate_is_an_ordinary_generator_whose_tokens_stay_valid() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    @clew.context_generator(isolate=[])
    def sets() -> Iterator[None]:
        token = variable.set("set")
        yield
        variable.reset(token)
        yield

    made = sets()
    next(made)
    assert variable.get() == "set"
    next(made)
    assert variable.get("unset") == "unset"
