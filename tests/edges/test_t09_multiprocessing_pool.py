"""
T09: `multiprocessing.pool.ThreadPool`: the jobs of `apply`, `map`, `starmap` and `imap`, and their iterables.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from multiprocessing.pool import ThreadPool
from typing import Any, Callable, Iterator, List, Type

import pytest

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._pool_ways import ITEMS, Fn, ways
from tests.edges._threads import DEADLINE, in_empty_context, nothing, reset_inside, user


def outcome(pool_class: Type[ThreadPool], way: Any, fn: Fn, workers: int = 2) -> List[Any]:
    """Return what `fn` returns for each item where "ada" asks for it, in a pool that somebody else has made."""

    def scenario(pool: ThreadPool) -> List[Any]:
        user.set("ada")
        found: List[Any] = way(pool, fn, ITEMS)
        assert user.get() == "ada"
        return found

    with in_empty_context(pool_class, workers) as pool:
        return in_empty_context(scenario, pool)


def see_and_leave(item: object) -> object:
    before = user.get()
    user.set(f"of {item}")
    return before


@ways
def test_bare_job_does_not_see_its_caller(way: Any) -> None:
    assert outcome(ThreadPool, way, lambda _: user.get()) == ["nobody"] * len(ITEMS)


@ways
def test_job_sees_its_caller_and_tokens_are_valid_inside(way: Any) -> None:
    assert outcome(ContextThreadPool, way, lambda _: reset_inside()) == ["ada"] * len(ITEMS)


@ways
def test_bare_job_sees_what_the_one_before_it_left(way: Any) -> None:
    found = outcome(ThreadPool, way, see_and_leave, workers=1)
    assert sorted(found) == ["nobody", *(f"of {item}" for item in ITEMS[:-1])]


@ways
@pytest.mark.parametrize("workers", [1, 3])
def test_no_job_sees_what_another_one_left(way: Any, workers: int) -> None:
    assert outcome(ContextThreadPool, way, see_and_leave, workers) == ["ada"] * len(ITEMS)


@ways
def test_runs_of_the_jobs_nest_under_their_caller(way: Any) -> None:
    def scenario(pool: ThreadPool) -> None:
        with clew.trace("request"):
            way(pool, clew.traceable(nothing), range(2))

    for pool_class, roots in ((ThreadPool, ["nothing", "nothing", "request"]), (ContextThreadPool, ["request"])):
        with in_empty_context(pool_class, 1) as pool, clew.record() as runs:
            in_empty_context(scenario, pool)
        assert sorted(str(root.name) for root in runs.roots) == roots
    runs.assert_tree("request\n  nothing\n  nothing")


def test_all_jobs_of_a_call_may_run_at_once_and_call_again() -> None:
    together = threading.Barrier(4)

    def job(pool: ThreadPool, number: int) -> List[object]:
        together.wait(DEADLINE)
        return [reset_inside(), *pool.map(lambda _: reset_inside(), range(3), 1)]

    def scenario() -> List[List[object]]:
        user.set("ada")
        with ContextThreadPool(4) as inner, ContextThreadPool(4) as pool:
            return pool.starmap(job, [(inner, number) for number in range(8)], chunksize=1)

    assert in_empty_context(scenario) == [["ada"] * 4] * 8


@pytest.mark.parametrize("method", ["imap", "imap_unordered"])
@pytest.mark.parametrize("chunksize", [1, 2])
def test_imap_gives_late_items_the_context_of_the_call(method: str, chunksize: int) -> None:
    has_moved_on = threading.Event()

    def numbers() -> Iterator[int]:
        yield from range(2)
        assert has_moved_on.wait(DEADLINE)
        yield from range(2)

    def scenario() -> List[object]:
        with ContextThreadPool(1) as pool:
            user.set("at the call")
            results = getattr(pool, method)(lambda _: reset_inside(), numbers(), chunksize)
            found = [next(results)]
            user.set("later")
            has_moved_on.set()
            return [*found, *results]

    assert in_empty_context(scenario) == ["at the call"] * 4


# the iterable


class Sized:
    """Be an iterable that has a length, and that somebody wrote."""

    def __init__(self, numbers: Callable[[], Iterator[int]]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[int]:
        return self._numbers()


LATE = {
    "map": lambda pool, numbers: pool.map(lambda _: user.get(), Sized(numbers)),
    "starmap, in chunks": lambda pool, numbers: pool.starmap(lambda *_: user.get(), zip_sized(numbers), 3),
    "imap": lambda pool, numbers: list(pool.imap(lambda _: user.get(), numbers())),
    "imap, sized and in chunks": lambda pool, numbers: list(pool.imap(lambda _: user.get(), Sized(numbers), 3)),
    "imap_unordered": lambda pool, numbers: list(pool.imap_unordered(lambda _: user.get(), numbers(), 2)),
}
late = pytest.mark.parametrize("read", LATE.values(), ids=LATE)


def zip_sized(numbers: Callable[[], Iterator[int]]) -> Sized:
    return Sized(lambda: zip(numbers()))  # type: ignore[arg-type, return-value]


def reading(pool_class: Type[ThreadPool], read: Any) -> Any:
    """Read four numbers twice on a thread of the pool; return what the reading sees, and what the jobs do."""
    seen: List[object] = []

    def numbers() -> Iterator[int]:
        assert threading.current_thread() is not caller
        for number in range(4):
            seen.append(user.get())
            user.set(number)
            yield number

    def scenario() -> Any:
        user.set("ada")
        jobs = [*read(pool, numbers), *read(pool, numbers)]
        assert user.get() == "ada"
        return seen, jobs

    caller = threading.current_thread()
    with in_empty_context(pool_class, 1) as pool:
        return in_empty_context(scenario)


@late
def test_bare_iterable_is_read_without_its_caller_and_finds_what_another_left(read: Any) -> None:
    assert reading(ThreadPool, read) == (["nobody", 0, 1, 2, 3, 0, 1, 2], ["nobody"] * 8)


@late
def test_iterable_is_read_in_one_copy_of_its_own(read: Any) -> None:
    assert reading(ContextThreadPool, read) == (["ada", 0, 1, 2] * 2, ["ada"] * 8)


@pytest.mark.parametrize("method", ["map", "map_async", "starmap", "starmap_async"])
@pytest.mark.parametrize("pool_class", [ThreadPool, ContextThreadPool])
def test_iterable_without_a_length_is_read_in_the_callers_own_context(pool_class: Any, method: str) -> None:
    def scenario() -> object:
        with pool_class(1) as pool:
            getattr(pool, method)(nothing, (user.set(number) and [number] for number in range(4)))
            return user.get()

    assert in_empty_context(scenario) == 3


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs CPython, where objects are counted")
@pytest.mark.parametrize(
    ("pool_class", "expected"),
    [
        # Without a GIL, the thread that made the generator finalises it, some time later.
        *([] if RUNS_WITHOUT_GIL else [(ThreadPool, "nobody")]),
        (ContextThreadPool, "ada"),
    ],
)
def test_generator_is_closed_where_it_was_read_when_the_pool_is_terminated(pool_class: Any, expected: str) -> None:
    found: List[object] = []

    def numbers() -> Iterator[int]:
        token = user.set("reading")
        try:
            yield 1
            pool.terminate()
            yield 2
        finally:
            found.append(user.get())
            user.reset(token)
            found.append(user.get())

    def scenario() -> None:
        user.set("ada")
        pool.imap(nothing, numbers())
        pool._task_handler.join(DEADLINE)

    pool: Any = in_empty_context(pool_class, 1)
    in_empty_context(scenario)
    assert found == ["reading", expected]


# what is not in ContextVars


@ways
def test_value_of_an_accessor_is_there_for_each_item_and_no_longer(way: Any) -> None:
    local = threading.local()
    local.tenant = "ada"
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))

    def job(item: object) -> object:
        before, local.tenant = local.tenant, item
        return before

    try:
        with ContextThreadPool(1) as pool:
            assert way(pool, job, ITEMS) == ["ada"] * len(ITEMS)
            assert ThreadPool.apply_async(pool, lambda: vars(local)).get(DEADLINE) == {}
    finally:
        unregister()


def test_value_of_an_accessor_is_there_while_the_iterable_is_read() -> None:
    local = threading.local()
    local.tenant = "ada"
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))

    def numbers() -> Iterator[object]:
        for number in range(3):
            before, local.tenant = local.tenant, number
            yield before

    try:
        with ContextThreadPool(1) as pool:
            found = list(pool.imap(lambda read: (read, local.tenant), numbers()))
        assert found == [("ada", "ada"), (0, "ada"), (1, "ada")]
    finally:
        unregister()


@pytest.mark.parametrize("call", ["apply(run)", "map(run, [1])", "starmap(run, [[1]])", "imap(run, numbers())"])
def test_loop_note_of_sniffio_stays_behind(call: str) -> None:
    program = (
        "import anyio, sniffio\n"
        "from clew.executors.multiprocessing_pool import ContextThreadPool\n"
        "async def inner(): print('ran')\n"
        "def run(*args): anyio.run(inner)\n"
        "def numbers():\n    run()\n    yield 1\n"
        "sniffio.current_async_library_cvar.set('asyncio')\n"
        f"with ContextThreadPool(1) as pool: list(pool.{call} or ())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert (done.stdout, done.stderr) == ("ran\n" * (2 if "numbers" in call else 1), "")
