"""
`wrap_executor`, also around executors of the user's own (T11).
"""

from __future__ import annotations

import asyncio
import pickle
import threading
import weakref
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Callable, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE, Value, as_ada, in_empty_context, is_gone, look, reset_inside, settle, user


class OwnFuture(Future):  # type: ignore[type-arg]
    """Be the future of somebody's own executor."""


class OwnExecutor(Executor):
    """Run each job in a thread of its own, as somebody might who knows nothing of contexts."""

    def __init__(self) -> None:
        self.threads: List[threading.Thread] = []
        self.limit = 5

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = OwnFuture()

        def run() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self.threads.append(threading.Thread(target=run))
        in_empty_context(self.threads[-1].start)
        return future

    def shutdown(self, *args: Any, **kwargs: Any) -> None:
        for thread in self.threads:
            thread.join(DEADLINE)


class MappingExecutor(OwnExecutor):
    """Have a `map` of its own, too."""

    def map(self, fn: Callable[..., Any], *iterables: Any, timeout: Any = None, chunksize: int = 1) -> Iterator[Any]:
        self.mapped = (getattr(fn, "__name__", None), timeout, chunksize)
        return iter([self.submit(fn, *row).result(DEADLINE) for row in zip(*iterables)])


KINDS = [lambda: ThreadPoolExecutor(1), OwnExecutor, MappingExecutor]


@pytest.fixture(params=KINDS, ids=["stdlib", "own", "own map"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with request.param() as executor:
        in_empty_context(executor.submit, int).result(DEADLINE)  # where threads inherit, there is nothing to inherit
        yield executor


def visit(*_: object) -> object:
    """Return what is there, and leave something else."""
    before = user.get()
    user.set("changed")
    return before


def test_bare_executor_loses_the_context_and_the_wrapped_one_keeps_it(executor: Executor) -> None:
    def scenario(executor: Executor) -> List[object]:
        return [
            executor.submit(look).result(DEADLINE),
            executor.submit(reset_inside).result(DEADLINE),
            *executor.map(look, [1, 2]),
        ]

    assert as_ada(lambda: scenario(executor)) == ["nobody"] * 4
    assert as_ada(lambda: scenario(clew.wrap_executor(executor))) == ["ada"] * 4


def test_each_job_has_its_own_copy_and_nothing_comes_back(executor: Executor) -> None:
    def scenario() -> List[object]:
        wrapped = clew.wrap_executor(executor)
        one_by_one = [wrapped.submit(visit).result(DEADLINE) for _ in range(3)]
        return [*one_by_one, *wrapped.map(visit, range(3)), user.get()]

    assert as_ada(scenario) == ["ada"] * 7


def test_arguments_results_and_exceptions_pass(executor: Executor) -> None:
    def fail() -> None:
        raise KeyError("job")

    wrapped = clew.wrap_executor(executor)
    kwargs: Any = {"self": 1, "fn": 2, "callable": 3}
    assert wrapped.submit(dict, [("a", 0)], **kwargs).result(DEADLINE) == {"a": 0, **kwargs}
    with pytest.raises(KeyError, match="job"):
        wrapped.submit(fail).result(DEADLINE)
    with pytest.raises(ZeroDivisionError):
        list(wrapped.map(divmod, [1, 2], [1, 0]))


def test_callbacks_run_where_they_were_registered(executor: Executor) -> None:
    release, called = threading.Event(), threading.Event()
    found: List[object] = []

    def callback(_: Future[Any]) -> None:
        found.append(user.get())
        called.set()

    def scenario(executor: Executor) -> object:
        release.clear()
        called.clear()
        future = executor.submit(release.wait, DEADLINE)
        user.set("registrar")
        future.add_done_callback(callback)
        user.set("later")
        release.set()
        assert called.wait(DEADLINE)
        return found.pop()

    assert as_ada(lambda: scenario(executor)) == "nobody"
    assert as_ada(lambda: scenario(clew.wrap_executor(executor))) == "registrar"


def test_future_stays_of_its_executors_class() -> None:
    with OwnExecutor() as executor:
        future = clew.wrap_executor(executor).submit(int)
        assert isinstance(future, OwnFuture)
        assert type(future).__qualname__ == "OwnFuture"
        assert type(future) is type(clew.wrap_executor(executor).submit(int))


def test_map_is_lazy_with_a_buffersize_where_the_executor_has_no_map_of_its_own() -> None:
    read: List[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    def scenario() -> List[object]:
        wrapped: Any = clew.wrap_executor(executor)
        results = wrapped.map(lambda n: (n, user.get()), numbers(), buffersize=2)
        user.set("later")
        return [next(results), next(results), len(read)]

    with OwnExecutor() as executor:
        assert as_ada(scenario) == [(0, "ada"), (1, "ada"), 4]


def test_lazy_map_does_not_need_the_wrapper_to_be_kept() -> None:
    def scenario() -> List[object]:
        lazily: Any = clew.wrap_executor(executor).map
        results = lazily(look, range(10), buffersize=2)
        del lazily
        return list(results)

    with ThreadPoolExecutor(2) as executor:
        assert as_ada(scenario) == ["ada"] * 10


def test_executors_own_map_is_used_and_gets_its_options() -> None:
    with MappingExecutor() as executor:
        wrapped = clew.wrap_executor(executor)
        assert as_ada(lambda: list(wrapped.map(look, [1], timeout=5, chunksize=2))) == ["ada"]
        assert executor.mapped == ("look", 5, 2)


def test_wrapped_executor_passes_for_what_it_wraps() -> None:
    with OwnExecutor() as executor:
        wrapped = clew.wrap_executor(executor)
        assert isinstance(wrapped, OwnExecutor)
        assert wrapped.limit == 5
        with pytest.raises(AttributeError, match="'OwnExecutor' object has no attribute 'nothing'"):
            wrapped.nothing  # type: ignore[attr-defined]
        assert repr(wrapped) == f"<clew.wrap_executor({executor!r})>"


def test_wrapping_twice_returns_it_as_it_is_and_unwrap_takes_it_off() -> None:
    with ThreadPoolExecutor(1) as executor, clew.ContextThreadPoolExecutor(1) as pool:
        wrapped = clew.wrap_executor(executor)
        assert clew.wrap_executor(wrapped) is wrapped
        assert clew.unwrap(wrapped) is executor
        assert clew.wrap_executor(pool) is pool


def test_wrapped_executor_is_shut_down_with_its_block() -> None:
    with clew.wrap_executor(ThreadPoolExecutor(1)) as wrapped:
        assert wrapped.submit(int).result(DEADLINE) == 0
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        wrapped.submit(int)


def test_asyncio_takes_it_as_its_default_executor() -> None:
    async def main() -> object:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(clew.wrap_executor(ThreadPoolExecutor(1)))
        return await loop.run_in_executor(None, user.get)

    assert as_ada(lambda: asyncio.run(main())) == "ada"


def test_instrumented_submit_of_the_stdlib_sees_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    native, seen = ThreadPoolExecutor.submit, []

    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        seen.append(args)
        return native(self, fn, *args, **kwargs)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with ThreadPoolExecutor(1) as executor:
        assert as_ada(lambda: clew.wrap_executor(executor).submit(user.get).result(DEADLINE)) == "ada"
    assert len(seen) == 1


def test_job_for_another_process_is_pickled_as_its_function_and_its_callbacks_have_their_context() -> None:
    found: List[object] = []

    def scenario() -> List[object]:
        with clew.wrap_executor(ProcessPoolExecutor(1)) as wrapped:
            future = wrapped.submit(pow, 2, 3)
            future.add_done_callback(lambda _: found.append(user.get()))
            with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
                wrapped.submit(lambda: 1).result(DEADLINE)
            return [future.result(DEADLINE), *wrapped.map(abs, [-1, 2], chunksize=2)]

    assert as_ada(scenario) == [8, 1, 2]
    assert found == ["ada"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ThreadPoolExecutor, r"found the class ThreadPoolExecutor; pass an instance: wrap_executor\(Thread"),
        (lambda: look, r"found function <function look at \w+>; for a function there is bind"),
        (lambda: None, "found NoneType None"),
    ],
)
def test_what_is_no_executor_is_refused(make: Any, said: str) -> None:
    with pytest.raises(clew.ClewError, match=said) as caught:
        clew.wrap_executor(make())
    assert isinstance(caught.value, TypeError)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("make", KINDS, ids=["stdlib", "own", "own map"])
def test_nothing_of_a_job_is_alive_after_it(make: Any) -> None:
    value = Value()
    reference = weakref.ref(value)

    def scenario(executor: Executor, value: Value) -> None:
        user.set(value)
        future = executor.submit(look)
        future.add_done_callback(look)
        future.result(DEADLINE)
        list(executor.map(visit, [1]))

    with make() as executor:
        in_empty_context(scenario, clew.wrap_executor(executor), value)
        settle(executor)
        getattr(executor, "threads", []).clear()
        del value
        assert is_gone(reference)
