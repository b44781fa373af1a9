"""
A01 and A02: `loop.run_in_executor` with the default executor and with a pool, and `asyncio.to_thread` on every version.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Tuple

import pytest

import clew
from clew import ContextThreadPoolExecutor
from clew.errors import ArgumentTypeError
from clew.tasks.asyncio import create_task, run_in_executor, to_thread
from tests.context._loops import Main
from tests.edges._generators import Watched, on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, nothing, reset_inside, user

Run = Callable[[Main], Any]
Call = Callable[..., Any]

inherits = bool(getattr(sys.flags, "thread_inherit_context", 0))


class OwnExecutor(ThreadPoolExecutor):
    """Be somebody's own executor."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(fn, *args, **kwargs)


async def in_default(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return await run_in_executor(None, fn, *args, **kwargs)


async def in_thread(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
    return await to_thread(fn, *args, **kwargs)


def in_pool(pool_class: Any) -> Call:
    async def call(fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        with pool_class(1) as pool:
            return await run_in_executor(pool, fn, *args, **kwargs)

    return call


CALLS: Dict[str, Call] = {
    "A01-default": in_default,
    "A01-pool": in_pool(ThreadPoolExecutor),
    "A01-own pool": in_pool(OwnExecutor),
    "A01-context pool": in_pool(ContextThreadPoolExecutor),
    "A02-to_thread": in_thread,
}
calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@on_asyncio
@pytest.mark.parametrize("pool_class", [None, ThreadPoolExecutor])
def test_bare_executor_loses_the_values_and_the_trace(run: Run, pool_class: Any) -> None:
    async def main() -> object:
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            pool = pool_class and stack.enter_context(pool_class(1))
            await loop.run_in_executor(pool, nothing)  # whoever starts the worker is not who is asked about
            user.set("ada")
            with clew.trace("request"):
                await loop.run_in_executor(pool, clew.traceable(nothing))
            return await loop.run_in_executor(pool, user.get)

    with clew.record() as runs:
        # Where threads inherit, a default executor without idle workers has just started another one.
        assert in_empty_context(run, main) == "nobody" or (inherits and pool_class is None)
    assert len(runs.roots) == 2 or inherits


def test_bare_to_thread_is_absent_before_python_3_9() -> None:
    assert hasattr(asyncio, "to_thread") == (sys.version_info >= (3, 9))


@calls
@on_asyncio
def test_callee_sees_the_values_of_the_caller_and_nothing_comes_back(run: Run, call: Call) -> None:
    async def main() -> Tuple[object, ...]:
        user.set("ada")
        seen = await call(reset_inside), await call(user.set, "changed"), await call(user.get)
        return seen[0], seen[2], user.get()

    assert in_empty_context(run, main) == ("ada", "ada", "ada")


@calls
@on_asyncio
def test_run_of_the_callee_nests_under_the_callers(run: Run, call: Call) -> None:
    async def main() -> None:
        with clew.trace("request"):
            await call(clew.traceable(nothing))

    with clew.record() as runs:
        in_empty_context(run, main)
    runs.assert_tree("request\n  nothing")


@calls
@on_asyncio
def test_arguments_results_and_exceptions_are_those_of_the_call(run: Run, call: Call) -> None:
    def describe(*args: object, **kwargs: object) -> object:
        return args, kwargs

    def fail() -> None:
        raise error

    async def main() -> None:
        names = {"fn": 1, "self": 2, "callable": 3, "executor": 4, "func": 5, "context": 6}
        assert await call(describe, 7, None, **names) == ((7, None), names)
        assert await call(describe) == ((), {})
        with pytest.raises(LookupError) as caught:
            await call(fail)
        assert caught.value is error

    error = LookupError("lost")
    run(main)


@calls
@on_asyncio
def test_callee_finds_the_values_of_accessors(run: Run, call: Call) -> None:
    async def main() -> List[object]:
        local.tenant = "ada"
        return [await call(getattr, local, "tenant", None), local.tenant]

    local = threading.local()
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    try:
        assert in_empty_context(run, main) == ["ada", "ada"]
    finally:
        unregister()


@on_asyncio
def test_worker_of_the_default_executor_is_clean_after_a_call(run: Run) -> None:
    async def main() -> List[object]:
        asyncio.get_running_loop().set_default_executor(pool)
        local.tenant = "ada"
        seen = [await to_thread(visit), await to_thread(visit)]
        unregister()
        return [*seen, await to_thread(visit)]

    def visit() -> Tuple[object, object]:
        before = getattr(local, "tenant", None), user.get()
        local.tenant = "changed"
        user.set("changed")
        return before

    local = threading.local()
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    try:
        with ThreadPoolExecutor(1) as pool:
            assert in_empty_context(run, main) == [("ada", "nobody"), ("ada", "nobody"), (None, "nobody")]
    finally:
        unregister()  # also where that loop is not there to run on


@pytest.mark.parametrize("call", [in_default, in_thread])
@on_asyncio
def test_two_calls_at_once_each_have_the_values_of_their_task(run: Run, call: Call) -> None:
    def look() -> object:
        meeting.wait()  # both are inside at once: one shared Context could not be entered twice
        return user.get()

    async def request(name: str) -> object:
        user.set(name)
        return await call(look)

    async def main() -> object:
        return await asyncio.gather(create_task(request("ada")), create_task(request("grace")))

    meeting = threading.Barrier(2, timeout=DEADLINE)
    assert in_empty_context(run, main) == ["ada", "grace"]


@on_asyncio
def test_values_are_those_of_the_call_and_for_to_thread_those_of_the_first_step(run: Run) -> None:
    async def main() -> object:
        user.set("at the call")
        called = run_in_executor(None, user.get), to_thread(user.get)
        user.set("at the first step")
        return [await each for each in called]

    assert in_empty_context(run, main) == ["at the call", "at the first step"]


@pytest.mark.skipif(sys.version_info < (3, 9), reason="3.9 has asyncio.to_thread")
def test_to_thread_sees_what_the_stdlibs_sees() -> None:
    async def main(call: Any) -> object:
        waiting = call(reset_inside)
        user.set("ada")
        return await waiting, user.get()

    assert in_empty_context(asyncio.run, main(to_thread)) == in_empty_context(asyncio.run, main(asyncio.to_thread))


@pytest.mark.parametrize("call", [in_default, in_thread])
@on_asyncio
def test_cancelled_task_does_not_wait_for_the_thread(run: Run, call: Call) -> None:
    async def main() -> object:
        def work() -> None:
            loop.call_soon_threadsafe(started.set)
            go.wait(DEADLINE)

        loop, started = asyncio.get_running_loop(), asyncio.Event()
        task = create_task(call(work))
        await started.wait()
        task.cancel()
        try:
            await asyncio.wait([task])
            return task.cancelled(), go.is_set()
        finally:
            go.set()

    go = threading.Event()
    assert run(main) == (True, False)


@calls
@on_asyncio
@pytest.mark.usefixtures("no_collector")
def test_value_of_the_caller_is_gone_after_the_call(run: Run, call: Call) -> None:
    async def request() -> None:
        user.set(watched.make())
        await call(nothing)

    async def main() -> bool:
        await create_task(request())
        await asyncio.sleep(0)  # the loop itself has what it has called last
        await call(nothing)  # by now, the worker has put away what it ran before
        return watched.is_gone()

    watched = Watched()
    assert in_empty_context(run, main)


def test_what_is_no_executor_is_refused() -> None:
    async def main() -> None:
        for wrong in (5, "pool", ThreadPoolExecutor):
            with pytest.raises(ArgumentTypeError):
                run_in_executor(wrong, int)  # type: ignore[arg-type]

    asyncio.run(main())


def test_call_without_an_event_loop_says_so_and_leaves_no_job() -> None:
    seen: List[object] = []
    with ThreadPoolExecutor(1) as pool:
        for each in (None, pool):
            with pytest.raises(RuntimeError, match="no running event loop"):
                run_in_executor(each, seen.append, "called")
    assert seen == []
