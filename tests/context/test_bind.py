"""
`bind` of plain functions.
"""

from __future__ import annotations

import functools
import inspect
import pickle
import threading
import weakref
from contextvars import ContextVar
from typing import Any, AsyncIterator, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone

var: ContextVar[object] = ContextVar("var", default="default")


def documented(a: int, *, b: str = "x") -> object:
    """Say who is there."""
    return (a, b, var.get())


def bound_with(value: object, fn: Any) -> Any:
    def set_and_bind() -> Any:
        var.set(value)
        return clew.bind(fn)

    return in_empty_context(set_and_bind)


def test_bare_function_in_a_thread_loses_the_value_and_the_bound_one_keeps_it() -> None:
    def seen_in_thread(target: Any) -> object:
        found: List[object] = []
        thread = threading.Thread(target=lambda: found.append(target()))
        in_empty_context(thread.start)  # where threads inherit, there is nothing to inherit
        thread.join(DEADLINE)
        return found[0]

    def scenario(make: Any) -> object:
        var.set("ada")
        return seen_in_thread(make(var.get))

    assert in_empty_context(scenario, lambda fn: fn) == "default"
    assert in_empty_context(scenario, clew.bind) == "ada"


def test_bound_function_passes_arguments_result_and_exception() -> None:
    assert bound_with("ada", documented)(1, b="y") == (1, "y", "ada")
    assert bound_with("ada", lambda *a, **k: (a, k))(1, self=2, callable=3) == ((1,), {"self": 2, "callable": 3})
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'a'"):
        clew.bind(documented)()


def test_bound_function_looks_like_the_function() -> None:
    bound = clew.bind(documented)
    assert inspect.isfunction(bound)
    assert inspect.signature(bound) == inspect.signature(documented)
    assert (bound.__name__, bound.__doc__, bound.__module__) == (documented.__name__, documented.__doc__, __name__)
    assert bound.__wrapped__ is documented  # type: ignore[attr-defined]


def test_bound_function_keeps_its_changes_to_itself_and_each_call_to_itself() -> None:
    def visit() -> object:
        before = var.get()
        var.set("changed")
        return before

    bound = bound_with("ada", visit)
    assert [bound(), bound()] == ["ada", "ada"]
    assert var.get() == "default"


def test_bound_function_is_reentrant() -> None:
    def down(depth: int) -> object:
        return bound(depth - 1) if depth else var.get()

    bound = bound_with("ada", down)
    assert bound(20) == "ada"


def test_binding_a_bound_function_keeps_the_first_capture() -> None:
    first = bound_with("first", var.get)
    assert bound_with("second", first) is first


def test_wrapper_of_a_bound_function_is_not_taken_for_bound() -> None:
    inner = bound_with("first", var.get)

    @functools.wraps(inner)
    def wrapper() -> object:
        return (var.get(), inner())

    assert bound_with("second", wrapper)() == ("second", "first")


class Thing:
    """Be a class with a docstring."""

    def __init__(self) -> None:
        self.seen = var.get()

    def method(self) -> object:
        return (self.seen, var.get())

    def __call__(self) -> object:
        return var.get()


def test_bind_takes_methods_partials_callables_classes_and_builtins() -> None:
    thing = Thing()
    assert bound_with("ada", thing.method)() == ("default", "ada")
    assert bound_with("ada", functools.partial(documented, 1, b="p"))() == (1, "p", "ada")
    assert bound_with("ada", thing)() == "ada"
    assert bound_with("ada", Thing)().seen == "ada"
    assert bound_with("ada", len)("abc") == 3


async def coroutine_function() -> None:
    pass


def generator_function() -> Iterator[None]:
    yield


async def async_generator_function() -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: 5, "expected a callable, got int 5; pass the function itself"),
        (lambda: None, "expected a callable, got NoneType None"),
        (lambda: generator_function(), r"expected a function, got generator object .*bind\(f\), not bind\(f\(\)\)"),
        (lambda: async_generator_function(), "expected a function, got async generator object"),
        (lambda: generator_function, "got generator function .*whose body runs after the call"),
        (lambda: async_generator_function, "got async generator function"),
        (lambda: functools.partial(generator_function), "got generator function"),
    ],
)
def test_bind_refuses_what_it_cannot_carry(make: Any, said: str) -> None:
    with pytest.raises(clew.ClewError, match=said) as caught:
        clew.bind(make())
    assert isinstance(caught.value, TypeError)


def test_bind_refuses_a_coroutine_and_leaves_it_to_its_owner() -> None:
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match=r"expected a function, got coroutine object"):
        clew.bind(coroutine)  # type: ignore[arg-type]
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
    coroutine.close()


@pytest.mark.usefixtures("no_collector")
def test_bound_function_lets_go_of_its_values() -> None:
    value = Value()
    bound, reference = bound_with(value, var.get), weakref.ref(value)
    assert bound() is value
    del value
    assert not is_gone(reference)
    del bound
    assert is_gone(reference)


def test_snapshot_of_values_without_equality_is_no_obstacle() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("compared")

        __hash__ = None  # type: ignore[assignment]

    assert isinstance(bound_with(Odd(), var.get)(), Odd)


def test_errors_survive_pickling() -> None:
    error = clew.ClewError("text")
    assert str(pickle.loads(pickle.dumps(error))) == "text"
