"""
`bind`, `Snapshot.bind` and `unwrap` with functions of every kind except generator functions.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import sys
import threading
import weakref
from contextvars import ContextVar
from typing import Any, AsyncIterator, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone

var: ContextVar[object] = ContextVar("var", default="default")


def documented(a: int, *, b: str = "x") -> object:
    """Return the arguments and the variable."""
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
        in_empty_context(thread.start)  # in case threads inherit the context
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
    """A class with a docstring."""

    def __init__(self) -> None:
        self.seen = var.get()

    def method(self) -> object:
        return (self.seen, var.get())

    def __call__(self) -> object:
        return var.get()


class Greeter:
    """A class with a method of each kind. Each is bound in the class body."""

    @clew.bind
    def plain(self) -> object:
        return (type(self).__name__, var.get())

    @clew.bind
    @classmethod
    def of_class(cls) -> object:
        return (cls.__name__, var.get())

    @clew.bind
    @staticmethod
    def static(number: int) -> object:
        return (number, var.get())

    @clew.bind
    async def wait(self) -> object:
        await asyncio.sleep(0)
        return (type(self).__name__, var.get())


def run_elsewhere(fn: Any, *args: Any) -> Any:
    """Call `fn` while the variable has another value than the bound one."""

    def call() -> Any:
        var.set("elsewhere")
        return fn(*args)

    return in_empty_context(call)


def test_methods_of_every_kind_can_be_bound_where_they_are_defined() -> None:
    greeter = Greeter()
    assert run_elsewhere(greeter.plain) == ("Greeter", "default")
    assert run_elsewhere(Greeter.of_class) == run_elsewhere(greeter.of_class) == ("Greeter", "default")
    assert run_elsewhere(Greeter.static, 1) == run_elsewhere(greeter.static, 1) == (1, "default")
    assert run_elsewhere(asyncio.run, greeter.wait()) == ("Greeter", "default")
    assert isinstance(vars(Greeter)["of_class"], classmethod)
    assert isinstance(vars(Greeter)["static"], staticmethod)


def test_bound_method_is_a_method_of_the_same_object() -> None:
    thing = Thing()
    bound = bound_with("ada", thing.method)
    assert inspect.ismethod(bound)
    assert bound.__self__ is thing
    assert run_elsewhere(bound) == ("default", "ada")
    assert clew.unwrap(bound) == thing.method


def test_bound_partial_is_a_partial_with_the_same_arguments() -> None:
    bound = bound_with("ada", functools.partial(documented, 1, b="p"))
    assert type(bound) is functools.partial
    assert (bound.args, bound.keywords) == ((1,), {"b": "p"})
    assert run_elsewhere(bound) == (1, "p", "ada")
    assert clew.unwrap(bound).func is documented


class AsyncThing:
    """A callable object whose call returns a coroutine."""

    async def __call__(self, number: int) -> object:
        await asyncio.sleep(0)
        return (number, var.get())


async def visit(number: int) -> object:
    """Return the values before and after an own change, with a suspension in between."""
    before = var.get()
    var.set(number)
    await asyncio.sleep(0)
    return (before, var.get())


def test_bare_coroutine_function_sees_its_caller_and_the_bound_one_what_was_bound() -> None:
    def first(fn: Any) -> Any:
        return run_elsewhere(lambda: asyncio.run(fn(1)))[0]

    assert first(visit) == "elsewhere"
    assert first(bound_with("ada", visit)) == "ada"


@pytest.mark.parametrize(
    "fn",
    [visit, AsyncThing(), functools.partial(visit), AsyncThing().__call__],
    ids=["def", "object", "partial", "method"],
)
def test_bound_coroutine_function_is_one(fn: Any) -> None:
    bound = bound_with("ada", fn)
    inside = bound.func if isinstance(bound, functools.partial) else bound
    assert inspect.iscoroutinefunction(inside)
    if sys.version_info < (3, 14):  # 3.14 deprecates it
        assert asyncio.iscoroutinefunction(inside)
    coroutine = bound(2)
    assert inspect.iscoroutine(coroutine)
    assert "ada" in run_elsewhere(asyncio.run, coroutine)


def test_bound_coroutines_have_one_context_each_and_keep_their_changes_to_it() -> None:
    bound = bound_with("ada", visit)

    async def main() -> object:
        var.set("main")
        return await asyncio.gather(bound(1), bound(2)), await bound(3), var.get()

    assert in_empty_context(asyncio.run, main()) == ([("ada", 1), ("ada", 2)], ("ada", 3), "main")


def test_bound_coroutine_runs_in_the_task_that_awaits_it() -> None:
    async def current() -> object:
        return asyncio.current_task()

    async def main() -> bool:
        return await clew.bind(current)() is asyncio.current_task()

    assert asyncio.run(main())


def test_bound_coroutine_that_is_cancelled_before_it_starts_leaves_nothing_unawaited() -> None:
    started = []

    async def body() -> None:
        started.append(1)

    async def main() -> None:
        task = asyncio.ensure_future(clew.bind(body)())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())  # a "never awaited" warning would fail the test
    assert started == []


def test_bound_function_that_returns_an_awaitable_under_a_coroutines_mark_is_awaited_in_the_context() -> None:
    class Awaitable:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return var.get()

    class Marked:
        _is_coroutine = getattr(asyncio.coroutines, "_is_coroutine", None)

        async def __call__(self) -> object:
            return await Awaitable()

    assert run_elsewhere(asyncio.run, bound_with("ada", Marked())()) == "ada"


def test_snapshot_binds_anew_what_was_bound() -> None:
    first = bound_with("first", var.get)

    def rebind() -> Any:
        var.set("second")
        return clew.capture().bind(first)

    second = in_empty_context(rebind)
    assert (first(), second()) == ("first", "second")
    assert clew.unwrap(second) == var.get


def test_unwrap_gives_back_what_was_bound_and_leaves_the_rest_alone() -> None:
    @functools.wraps(clew.bind(documented))
    def wrapper() -> None: ...

    class AnyAttribute:
        def __getattr__(self, name: str) -> Any:
            return self

        __hash__ = None  # type: ignore[assignment]

    odd = AnyAttribute()
    assert clew.unwrap(clew.bind(documented)) is documented
    assert clew.unwrap(clew.bind(visit)) is visit
    assert clew.unwrap(documented) is documented
    assert clew.unwrap(wrapper) is wrapper
    assert clew.unwrap(odd) is odd
    assert clew.unwrap(None) is None
    unwrapped = clew.unwrap(vars(Greeter)["of_class"])
    assert isinstance(unwrapped, classmethod)
    assert clew.unwrap(unwrapped.__func__) is unwrapped.__func__


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
