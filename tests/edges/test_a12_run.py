"""
A12: `asyncio.run` with a context that is given, on every version, with its debug mode and loops of one's choice.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
import threading
import weakref
from contextvars import Context, copy_context
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, List, Tuple

import pytest

import clew
from clew.errors import ArgumentTypeError, ContextInUseError
from clew.tasks.asyncio import create_task, run, run_in_executor
from tests.context._loops import run_on_uvloop
from tests.edges._generators import Watched, as_user, complaints
from tests.edges._threads import DEADLINE, Value, in_empty_context, in_use_by_a_thread, is_gone, user


async def sets(value: object) -> object:
    before = user.get()
    await asyncio.sleep(0)
    user.set(value)
    return before


def test_bare_run_takes_no_context_and_brings_nothing_back() -> None:
    assert "context" not in inspect.signature(asyncio.run).parameters
    context = as_user("ada")
    assert context.run(asyncio.run, sets("grace")) == "ada"
    assert context[user] == "ada"


def test_run_shares_the_context_that_it_is_given() -> None:
    def scenario() -> Tuple[object, ...]:
        user.set("of the caller")
        context = as_user("ada")
        return run(sets("grace"), context=context), context[user], user.get()

    assert in_empty_context(scenario) == ("ada", "grace", "of the caller")


def test_run_without_a_context_or_with_a_snapshot_has_a_copy() -> None:
    def scenario() -> Tuple[object, ...]:
        user.set("of the caller")
        seen = run(sets("grace")), run(sets("grace"), context=snapshot), run(sets("grace"), context=snapshot)
        return (*seen, snapshot.run(user.get), user.get())

    snapshot = as_user("ada").run(clew.capture)
    assert in_empty_context(scenario) == ("of the caller", "ada", "ada", "ada", "of the caller")


def test_one_context_goes_through_several_runs() -> None:
    context = as_user("ada")
    assert [run(sets(value), context=context) for value in "ab"] == ["ada", "a"]


def test_what_main_starts_has_its_values_and_its_runs_nest() -> None:
    async def main() -> List[object]:
        seen = [await create_task(sets("changed")), await run_in_executor(None, clew.traceable(user.get, name="job"))]
        with clew.trace("step"):
            return [*seen, user.get()]

    def request() -> Context:
        user.set("ada")
        with clew.trace("request"):
            return copy_context()

    with clew.record() as runs:
        context = in_empty_context(request)
        assert run(main(), context=context) == ["ada"] * 3
    runs.assert_tree("request\n  job\n  step")


CONTEXTS: Dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "context": lambda: as_user("ada"),
    "snapshot": lambda: as_user("ada").run(clew.capture),
}
contexts = pytest.mark.parametrize("make_context", CONTEXTS.values(), ids=CONTEXTS)


@contexts
@pytest.mark.parametrize("debug", [None, False, True])
def test_loop_is_in_debug_mode_if_asked_for(make_context: Any, debug: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    for factory in (None, asyncio.new_event_loop):
        for default in (False, True):
            monkeypatch.setattr(asyncio.coroutines, "_is_debug_mode", lambda: default)  # noqa: B023  used at once
            expected = default if debug is None else debug
            assert run(main(), context=make_context(), debug=debug, loop_factory=factory) is expected


@contexts
def test_loop_is_made_by_the_factory_and_closed(make_context: Any) -> None:
    async def main() -> Tuple[object, object]:
        return asyncio.get_running_loop(), user.get()

    def factory() -> Any:
        loops.append(asyncio.SelectorEventLoop())
        return loops[-1]

    loops: List[Any] = []
    context = make_context()
    seen = in_empty_context(lambda: run(main(), context=context, loop_factory=factory))
    assert seen == (loops[0], "ada" if context else "nobody")
    assert loops[0].is_closed()
    assert len(loops) == 1


@contexts
def test_run_goes_on_uvloop(make_context: Any) -> None:
    async def nothing() -> None:
        pass

    run_on_uvloop(nothing)  # which skips where there is none
    import uvloop

    context = make_context()
    expected = "ada" if context else "nobody"
    assert in_empty_context(lambda: run(sets("grace"), context=context, loop_factory=uvloop.new_event_loop)) == expected
    assert not isinstance(context, Context) or context[user] == "grace"


def ends(main: Callable[[List[object]], Any], run_main: Callable[[Any], Any]) -> Tuple[List[object], object]:
    """Return what main and those that it leaves behind have noted, and how it all ended."""
    seen: List[object] = []
    with complaints() as found:
        try:
            result: object = run_main(main(seen))
        except BaseException as error:
            result = type(error), error.args
    assert found == []
    return seen, result


async def left_behind(seen: List[object]) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await asyncio.sleep(0)
        seen.append("task cleaned up")


async def generates(seen: List[object]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await asyncio.sleep(0)
        seen.append("generator cleaned up")


async def leaves_much_behind(seen: List[object]) -> str:
    seen.extend((asyncio.ensure_future(left_behind(seen)), generates(seen)))
    await seen[1].__anext__()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    del seen[0]
    return "result"


async def fails(seen: List[object]) -> None:
    await leaves_much_behind(seen)
    raise LookupError("lost")


async def is_interrupted(seen: List[object]) -> None:
    await leaves_much_behind(seen)
    raise KeyboardInterrupt


async def exits(seen: List[object]) -> None:
    await leaves_much_behind(seen)
    raise SystemExit(3)


async def is_cancelled(seen: List[object]) -> None:
    await leaves_much_behind(seen)
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    await asyncio.sleep(0)


async def gets_a_signal(seen: List[object]) -> None:
    await leaves_much_behind(seen)
    try:
        # Before 3.11 it is raised right here; since then, main is cancelled.
        signal.raise_signal(signal.SIGINT)
        await asyncio.get_running_loop().create_future()
    finally:
        seen.append("main cleaned up")


ENDS = {
    leaves_much_behind: "result",
    fails: (LookupError, ("lost",)),
    is_interrupted: (KeyboardInterrupt, ()),
    exits: (SystemExit, (3,)),
    is_cancelled: (asyncio.CancelledError, ()),
    gets_a_signal: (KeyboardInterrupt, ()),
}


@contexts
@pytest.mark.parametrize("factory", [None, asyncio.new_event_loop], ids=["default", "factory"])
@pytest.mark.parametrize("main", ENDS)
@pytest.mark.usefixtures("interruptible")
def test_run_ends_as_the_bare_one(main: Any, factory: Any, make_context: Any) -> None:
    seen, expected = ends(main, asyncio.run)
    noted = [each for each in seen if isinstance(each, str)]
    assert expected == ENDS[main]
    assert {"task cleaned up", "generator cleaned up"} <= set(noted)

    seen, result = ends(main, lambda coroutine: run(coroutine, context=make_context(), loop_factory=factory))
    assert ([each for each in seen if isinstance(each, str)], result) == (noted, expected)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(sys.version_info < (3, 9), reason="3.9 waits for the default executor")
@contexts
def test_default_executor_is_waited_for(make_context: Any) -> None:
    def work() -> None:
        go.wait(DEADLINE)
        ended.append(True)

    async def main() -> None:
        run_in_executor(None, work)
        asyncio.get_running_loop().call_soon(go.set)

    go = threading.Event()
    ended: List[bool] = []
    with complaints() as found:
        run(main(), context=make_context(), loop_factory=asyncio.new_event_loop)
    assert ended == [True]
    assert found == []


def in_use_on_another_thread(context: Context, attempt: Callable[[], None]) -> None:
    with in_use_by_a_thread(context):
        attempt()


def in_use_by_the_caller(context: Context, attempt: Callable[[], None]) -> None:
    context.run(attempt)


def in_use_further_out(context: Context, attempt: Callable[[], None]) -> None:
    context.run(Context().run, attempt)


@pytest.mark.parametrize("use", [in_use_on_another_thread, in_use_by_the_caller, in_use_further_out])
def test_context_in_use_is_an_error_that_says_so(use: Any) -> None:
    def attempt() -> None:
        with pytest.raises(ContextInUseError, match=r"pass context\.copy\(\)"):
            run(sets("grace"), context=context)

    context = as_user("ada")
    with complaints() as found:
        use(context, attempt)
    assert found == []
    assert context[user] == "ada"
    assert run(sets("grace"), context=context) == "ada"


@contexts
def test_run_in_a_running_loop_is_refused_and_main_closed(make_context: Any) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"asyncio\.run\(\) cannot be called from a running event loop"):
            run(sets("grace"), context=make_context())

    with complaints() as found:
        asyncio.run(main())
    assert found == []


@pytest.mark.parametrize("wrong", [{}, 5, "context"])
def test_wrong_context_is_refused_and_main_closed(wrong: Any) -> None:
    with complaints() as found, pytest.raises(ArgumentTypeError, match=r"contextvars\.Context or a clew\.Snapshot"):
        run(sets("grace"), context=wrong)
    assert found == []


@contexts
@pytest.mark.parametrize("wrong", [sets, 5, None])
def test_what_is_no_coroutine_is_refused(make_context: Any, wrong: Any) -> None:
    with complaints() as found, pytest.raises((TypeError, ValueError), match="coroutine"):
        run(wrong, context=make_context())
    assert found == []


def test_factory_that_fails_closes_main() -> None:
    def factory() -> Any:
        raise LookupError("no loop today")

    for make_context in CONTEXTS.values():
        with complaints() as found, pytest.raises(LookupError, match="no loop today"):
            run(sets("grace"), context=make_context(), loop_factory=factory)
        assert found == []


@contexts
@pytest.mark.usefixtures("no_collector")
def test_nothing_is_alive_after_the_run(make_context: Any) -> None:
    async def main() -> Value:
        user.set(watched.make())
        await asyncio.sleep(0)
        return Value()

    watched = Watched()
    coroutine = main()
    references: List[Any] = [weakref.ref(coroutine)]
    references.append(weakref.ref(in_empty_context(partial(run, context=make_context()), coroutine)))
    del coroutine
    assert [is_gone(each) for each in references] == [True, True]
    assert watched.is_gone()


@pytest.mark.skipif(sys.version_info >= (3, 11), reason="up to 3.10: asyncio.Runner leaves the policy's loop alone")
def test_loop_of_a_factory_is_the_policys_during_the_run() -> None:
    async def main() -> object:
        return asyncio.get_event_loop_policy().get_event_loop()

    loop = asyncio.new_event_loop()
    assert run(main(), loop_factory=lambda: loop) is loop
