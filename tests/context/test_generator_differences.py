"""
The guide's list of differences from a plain generator: each one is real, and the list names every attribute.
"""

from __future__ import annotations

import asyncio
import gc
import pickle
import re
import sys
import traceback
import types
from contextvars import Context, ContextVar
from pathlib import Path
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Set

import pytest
import trio

import clew
from tests.edges._threads import DEADLINE, user

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "generators-and-streams.md"


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    """Restore the user after each test."""
    token = user.set("nobody")
    yield
    user.reset(token)


def listed() -> Dict[str, str]:
    """Return the first and second column of the guide's table."""
    _, _, section = GUIDE.read_text(encoding="utf-8").partition("## Differences from a plain generator")
    rows = re.findall(r"^\| (.+?) \| (.+?) \|", section, flags=re.MULTILINE)
    return dict(rows[1:])


def inner() -> Iterator[str]:
    yield "item"


def body() -> Iterator[str]:
    yield from inner()


@types.coroutine
def suspend() -> Iterator[str]:
    yield "awaited"


async def body_async() -> AsyncIterator[str]:
    await suspend()
    yield "item"


def start_async(generator: Any) -> Any:
    operation = generator.__anext__()
    operation.send(None)
    return operation


def differing(plain: Any, wrapped: Any) -> Set[str]:
    """Return the names of attributes whose values differ, except for methods."""
    assert dir(plain) == dir(wrapped)
    found = set()
    for name in dir(plain):
        one, other = getattr(plain, name), getattr(wrapped, name)
        if not callable(one) and one != other and not isinstance(one, str):
            found.add(name)
        if isinstance(one, str) and name != "__doc__" and one != other:
            found.add(name)
    return found


def test_listed_attributes_are_all_that_differ() -> None:
    names = {name for key in listed() for name in re.findall(r"`((?:gi|ag)_\w+)`", key)}
    plain, wrapped = body(), clew.wrap_generator(body())
    next(plain)
    next(wrapped)
    plain_async, wrapped_async = body_async(), clew.wrap_async_generator(body_async())
    operations = start_async(plain_async), start_async(wrapped_async)
    found = differing(plain, wrapped) | differing(plain_async, wrapped_async)
    for operation in operations:
        with pytest.raises(StopIteration):
            operation.send(None)
    assert found == names


def stack_of(generator: Any) -> List[str]:
    try:
        next(generator)
    except LookupError as error:
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)][1:]
    raise AssertionError("expected an error")


def fails() -> Iterator[None]:
    raise LookupError
    yield


def test_traceback_has_one_frame_more() -> None:
    assert stack_of(fails()) == ["fails"]
    if sys.implementation.name == "cpython":  # PyPy's `Context.run` has a frame, too
        assert stack_of(clew.wrap_generator(fails())) == ["drive", "fails"]
        assert stack_of(clew.wrap_generator(fails(), isolate=[])) == ["drive", "fails"]


def async_stack_of(operation: Any) -> List[str]:
    try:
        operation.send(None)
        operation.throw(LookupError())
    except LookupError as error:
        return [frame.name for frame in traceback.extract_tb(error.__traceback__)][1:]
    raise AssertionError("expected an error")


async def suspends() -> AsyncIterator[None]:
    await suspend()
    yield


def test_traceback_of_what_is_thrown_into_an_async_body_has_one_frame_more() -> None:
    bare = async_stack_of(suspends().__anext__())
    wrapped = async_stack_of(clew.wrap_async_generator(suspends()).__anext__())
    assert bare == ["suspends", "suspend"]
    if sys.implementation.name == "cpython":
        assert wrapped == ["drive_async", *bare]


def test_variable_set_for_one_consumer_is_set_for_another_and_not_passed_on() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def sets() -> Iterator[str]:
        variable.set("set")
        yield variable.get()
        yield variable.get("unset")

    def consumed_by_two(generator: Any) -> object:
        Context().run(next, generator)
        second = Context()
        return second.run(next, generator), variable in second

    assert consumed_by_two(sets()) == ("unset", False)
    assert consumed_by_two(clew.wrap_generator(sets(), isolate=[])) == ("set", False)


def test_wrapped_stream_is_equal_to_itself_alone() -> None:
    stream = [1]
    wrapped = clew.wrap_stream(stream)
    assert wrapped == wrapped
    assert wrapped != stream


def test_type_of_a_decorated_function_is_another() -> None:
    decorated = clew.context_generator(body)
    assert isinstance(decorated, types.FunctionType)
    assert type(decorated) is not types.FunctionType


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="cloudpickle comes with loky, which is for CPython")
def test_cloudpickle_takes_the_plain_function_of_one_that_it_takes_by_value() -> None:
    import cloudpickle

    @clew.context_generator
    def local() -> Iterator[str]:
        yield "item"

    copy = pickle.loads(cloudpickle.dumps(local))
    assert (type(copy), list(copy())) == (types.FunctionType, ["item"])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs generators to be closed when dropped")
def test_body_that_ignores_its_closing_is_closed_twice_when_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    closings: List[object] = []

    def ignores() -> Iterator[None]:
        for _ in range(3):
            try:
                yield
            except GeneratorExit:
                closings.append(user.get())

    def closings_of(make: Callable[[], Any]) -> List[object]:
        closings.clear()
        generator = Context().run(lambda: (user.set("ada"), make())[1])
        next(generator)
        del generator
        return list(closings)

    assert closings_of(ignores) == ["nobody"]
    assert closings_of(clew.context_generator(ignores)) == ["ada", "nobody"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs generators to be closed when dropped")
def test_traced_body_that_is_collected_is_closed_in_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: List[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: failures.append(str(args.exc_value)))

    @clew.traceable
    def body() -> Iterator[None]:
        token = user.set("body")
        try:
            yield
        finally:
            user.reset(token)

    def left(*, in_a_cycle: bool) -> str:
        user.set("ada")
        held: List[object] = [body()]
        next(held[0])  # type: ignore[call-overload]
        if in_a_cycle:
            held.append(held)
        del held
        gc.collect()
        return user.get()

    with clew.record():
        assert (Context().run(left, in_a_cycle=False), failures) == ("ada", [])
        assert Context().run(left, in_a_cycle=True) == "body"
    assert len(failures) == 1
    assert "was created in a different Context" in failures[0]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="PyPy refuses it at once")
def test_what_is_no_exception_is_refused_before_it_comes_to_the_body() -> None:
    caught: List[str] = []

    def delegates() -> Iterator[str]:
        try:
            yield from inner()
        except TypeError as error:
            caught.append(str(error))

    for wrap in (lambda generator: generator, clew.wrap_generator):
        generator = wrap(delegates())
        next(generator)
        with pytest.raises((TypeError, StopIteration)):
            generator.throw(5)
        caught.append("next")
    assert [said == "next" for said in caught] == [False, True, True]


def test_token_is_good_on_the_side_that_took_it_alone() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def resets(token: Any) -> Iterator[None]:
        variable.reset(token)
        yield

    next(resets(variable.set("plain")))
    with pytest.raises(ValueError, match="different Context"):
        next(clew.wrap_generator(resets(variable.set("wrapped")), isolate=[]))


def test_unsetting_reaches_the_context_that_it_was_set_for_alone() -> None:
    variable: ContextVar[str] = ContextVar("variable")

    def sets() -> Iterator[object]:
        token = variable.set("set")
        yield
        variable.reset(token)
        yield

    generator = clew.wrap_generator(sets(), isolate=[])
    first, second = Context(), Context()
    first.run(next, generator)
    second.run(variable.set, "set")
    second.run(next, generator)
    assert (first[variable], second[variable]) == ("set", "set")


def test_live_reset_brings_back_what_was_there_at_the_setting_for_one_step() -> None:
    def sets() -> Iterator[object]:
        token = user.set("own")
        yield user.get()
        user.reset(token)
        yield user.get()
        yield user.get()

    def take(generator: Any) -> Iterator[object]:
        for name in "abc":
            user.set(name)
            yield next(generator)

    assert list(take(clew.wrap_generator(sets(), inherit="live"))) == ["own", "a", "c"]


def test_live_body_that_sets_what_its_consumer_has_has_not_set_it() -> None:
    def sets() -> Iterator[object]:
        user.set(user.get())
        yield
        yield user.get()

    user.set("before")
    generator = clew.wrap_generator(sets(), inherit="live")
    next(generator)
    user.set("after")
    assert next(generator) == "after"


def test_from_thread_run_sees_the_bodys_values() -> None:
    async def look() -> str:
        return user.get()

    def in_thread() -> str:
        user.set("thread's")
        return trio.from_thread.run(look)

    async def agen() -> AsyncIterator[str]:
        yield await trio.to_thread.run_sync(in_thread)

    async def main(make: Callable[[], Any]) -> object:
        user.set("body's")
        with trio.fail_after(DEADLINE):
            generator = make()
            item = await generator.__anext__()
            await generator.aclose()
            return item

    assert trio.run(main, agen) == "thread's"
    assert trio.run(main, clew.context_generator(agen)) == "body's"


def test_loop_names_the_drivers_module() -> None:
    async def main() -> List[str]:
        made = [body_async(), clew.wrap_async_generator(body_async())]
        return [each.ag_frame.f_globals["__name__"] for each in made]  # type: ignore[attr-defined]

    assert asyncio.run(main()) == [__name__, "clew.context._stepping.async_drivers"]


def test_every_row_of_the_list_is_known_here() -> None:
    """A new row in the guide needs a test here. The tests of the last three rows are in other modules."""
    assert len(listed()) == 19
