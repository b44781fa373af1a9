"""
`ContextThreadPoolExecutor` is the stdlib's executor in everything that is not about the context.
"""

from __future__ import annotations

import inspect
import itertools
import subprocess
import sys
import threading
from concurrent.futures import (
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    TimeoutError as PoolTimeoutError,
    as_completed,
    wait,
)
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, Iterator, List, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, nothing

BOTH = pytest.mark.parametrize("pool_class", [ThreadPoolExecutor, ContextThreadPoolExecutor])


def test_it_is_the_stdlibs_executor() -> None:
    assert issubclass(ContextThreadPoolExecutor, ThreadPoolExecutor)
    assert ContextThreadPoolExecutor.__init__ is ThreadPoolExecutor.__init__
    assert ContextThreadPoolExecutor.shutdown is ThreadPoolExecutor.shutdown


@BOTH
def test_submit_passes_every_argument(pool_class: Type[Executor]) -> None:
    def capture(*args: object, **kwargs: object) -> object:
        return args, kwargs

    with pool_class() as pool:
        future = pool.submit(capture, 1, self=2, fn=3, callable=4, context=5)
        assert future.result(DEADLINE) == ((1,), {"self": 2, "fn": 3, "callable": 4, "context": 5})
        with pytest.raises(TypeError):
            pool.submit()  # type: ignore[call-arg]
        with pytest.raises(TypeError, match="not callable"):
            pool.submit(5).result(DEADLINE)  # type: ignore[arg-type]


@BOTH
def test_future_has_the_job_s_own_traceback_and_nothing_of_a_wrapper(pool_class: Type[Executor]) -> None:
    def fail() -> None:
        raise ValueError("here")

    with pool_class() as pool:
        error = pool.submit(fail).exception(DEADLINE)
    assert isinstance(error, ValueError)
    frames = []
    traceback = error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    # From 3.14 on the stdlib has a frame more of its own. clew has none.
    assert frames == (["run", "run", "fail"] if sys.version_info >= (3, 14) else ["run", "fail"])


@BOTH
def test_submit_after_shutdown_says_so(pool_class: Type[Executor]) -> None:
    pool = pool_class()
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        pool.submit(nothing)
    with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
        pool.map(nothing, [1])


@BOTH
def test_broken_initializer_breaks_the_pool(pool_class: Any, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("no")

    with pool_class(1, initializer=fail) as pool:
        assert isinstance(pool.submit(nothing).exception(DEADLINE), BrokenThreadPool)
        with pytest.raises(BrokenThreadPool, match="initializer failed"):
            pool.submit(nothing)
    assert "Exception in initializer:" in caplog.text


@BOTH
def test_cancelled_futures_behave(pool_class: Any) -> None:
    go, ran = threading.Event(), []
    with pool_class(1) as pool:
        running = pool.submit(go.wait, DEADLINE)
        waiting = pool.submit(ran.append, 1)
        assert waiting.cancel()
        go.set()
        assert running.result(DEADLINE)
        assert not running.cancel()
        with pytest.raises(CancelledError):
            waiting.result(DEADLINE)
    assert not ran


@pytest.mark.skipif(sys.version_info < (3, 9), reason="needs shutdown(cancel_futures=) of 3.9")
@BOTH
def test_shutdown_cancels_what_has_not_started(pool_class: Any) -> None:
    go, begun = threading.Event(), threading.Event()
    pool = pool_class(1)
    running = pool.submit(lambda: (begun.set(), go.wait(DEADLINE)))
    assert begun.wait(DEADLINE)
    waiting = [pool.submit(nothing) for _ in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    go.set()
    assert running.result(DEADLINE)
    assert all(future.cancelled() for future in waiting)


@BOTH
def test_wait_and_as_completed_take_the_futures(pool_class: Type[Executor]) -> None:
    with pool_class() as pool:
        futures = [pool.submit(int, number) for number in range(5)]
        assert wait(futures, DEADLINE).done == set(futures)
        assert sorted(future.result() for future in as_completed(futures, DEADLINE)) == list(range(5))
        assert all(isinstance(future, Future) for future in futures)


@BOTH
def test_threads_are_named_as_asked(pool_class: Any) -> None:
    with pool_class(1, thread_name_prefix="mine") as pool:
        assert pool.submit(lambda: threading.current_thread().name).result(DEADLINE) == "mine_0"
    with pool_class(1) as pool:
        assert pool.submit(lambda: threading.current_thread().name).result(DEADLINE).startswith("ThreadPoolExecutor-")


def test_subclass_that_overrides_submit_sees_the_jobs_of_map() -> None:
    class Counting(ContextThreadPoolExecutor):
        jobs = 0

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            self.jobs += 1
            return super().submit(fn, *args, **kwargs)

    with Counting(2) as pool:
        assert list(pool.map(int, range(3))) == [0, 1, 2]
        assert list(pool.map(int, range(4), buffersize=1)) == [0, 1, 2, 3]
        assert pool.jobs == 7


# map, held against the stdlib's


@BOTH
def test_map_gives_results_in_order_and_errors_in_their_place(pool_class: Type[Executor]) -> None:
    with pool_class() as pool:
        results = pool.map(divmod, [4, 5, 6], [2, 0, 3])
        assert next(results) == (2, 0)
        with pytest.raises(ZeroDivisionError):
            next(results)
        assert list(results) == []


@BOTH
def test_map_submits_everything_before_it_returns(pool_class: Type[Executor]) -> None:
    done: List[int] = []
    with pool_class() as pool:
        pool.map(done.append, range(10))
    assert sorted(done) == list(range(10))


@BOTH
def test_map_iterator_is_a_generator_as_some_close_it(pool_class: Type[Executor]) -> None:
    with pool_class() as pool:
        assert inspect.isgenerator(pool.map(int, [1]))


@BOTH
def test_map_timeout_counts_from_the_call(pool_class: Type[Executor]) -> None:
    go = threading.Event()
    with pool_class() as pool:
        results = pool.map(go.wait, [DEADLINE], timeout=0)
        with pytest.raises(PoolTimeoutError):
            next(results)
        go.set()


def test_map_cancels_the_job_that_timed_out_and_those_after_it() -> None:
    go, ran = threading.Event(), []
    with ContextThreadPoolExecutor(1) as pool:
        blocker = pool.submit(go.wait, DEADLINE)
        results = pool.map(ran.append, [1, 2, 3], timeout=0)
        with pytest.raises(PoolTimeoutError):
            next(results)
        go.set()
        assert blocker.result(DEADLINE)
    assert ran == []


def test_map_lets_an_error_of_the_iterable_out_where_it_is_read() -> None:
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        raise LookupError("in the iterable")

    with ContextThreadPoolExecutor() as pool:
        with pytest.raises(LookupError):
            pool.map(int, numbers())
        results = pool.map(int, numbers(), buffersize=1)
        assert next(results) == 1
        with pytest.raises(LookupError):
            next(results)


@pytest.mark.parametrize("buffersize", ["foo", 2.0, [3]])
def test_map_refuses_a_buffersize_that_is_no_integer(buffersize: Any) -> None:
    with ContextThreadPoolExecutor() as pool:
        with pytest.raises(TypeError, match=r"^buffersize must be an integer or None, got .*; pass how many") as caught:
            pool.map(str, range(4), buffersize=buffersize)
        assert isinstance(caught.value, clew.ClewError)


@pytest.mark.parametrize("buffersize", [0, -1])
def test_map_refuses_a_buffersize_below_one(buffersize: int) -> None:
    with ContextThreadPoolExecutor() as pool:
        with pytest.raises(ValueError, match=r"^buffersize must be None or > 0, got (0|-1); pass how many") as caught:
            pool.map(str, range(4), buffersize=buffersize)
        assert isinstance(caught.value, clew.ClewError)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="needs the stdlib's buffersize of 3.14")
@pytest.mark.parametrize("buffersize", [1, 2, 5])
def test_map_reads_and_submits_exactly_as_3_14_does(buffersize: int) -> None:
    def script(pool_class: Any) -> list[object]:
        log: list[object] = []

        def numbers() -> Iterator[int]:
            for number in range(7):
                log.append(("read", number))
                yield number

        with pool_class(1) as pool:
            for result in pool.map(int, numbers(), buffersize=buffersize):
                log.append(("result", result))
        return log

    assert script(ContextThreadPoolExecutor) == script(ThreadPoolExecutor)


# under load, and at the end of the process


def test_many_threads_submit_at_once() -> None:
    from contextvars import ContextVar

    var: ContextVar[int] = ContextVar("var")

    def producer(pool: Executor, number: int) -> list[int]:
        var.set(number)
        return [future.result(DEADLINE) for future in [pool.submit(var.get) for _ in range(200)]]

    with ContextThreadPoolExecutor(4) as pool, ThreadPoolExecutor(8) as producers:
        found = list(producers.map(producer, itertools.repeat(pool), range(8)))
    assert found == [[number] * 200 for number in range(8)]


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs tracemalloc, which PyPy has not")
def test_five_thousand_jobs_leave_nothing_behind() -> None:
    import tracemalloc

    with ContextThreadPoolExecutor(2) as pool:

        def work(jobs: int) -> None:
            for _ in pool.map(nothing, range(jobs), buffersize=64):
                pass

        work(2_000)
        tracemalloc.start()
        try:
            work(1_000)
            before = tracemalloc.get_traced_memory()[0]
            work(5_000)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
    assert grown < 20_000  # 4 bytes a job, and no object is as small


AT_EXIT = """
import atexit, sys, threading, weakref
from contextvars import ContextVar
from clew import ContextThreadPoolExecutor
var = ContextVar("var", default="lost")
pool = ContextThreadPoolExecutor(2)
go = threading.Event()
var.set("kept")
pool.submit(lambda: (go.wait(30), sys.stdout.write("job " + var.get() + "\\n")))
{how}
go.set()
sys.stdout.write("main\\n")
"""


@pytest.mark.parametrize(
    "how", ["", "del pool", "pool.shutdown(wait=False)"], ids=["left open", "dropped", "shut down"]
)
def test_jobs_finish_before_the_interpreter_does(how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_EXIT.format(how=how)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    assert sorted(done.stdout.split()) == [b"job", b"kept", b"main"]
    assert done.returncode == 0


@pytest.mark.skipif(sys.version_info < (3, 9), reason="needs 3.9, before which exit does not close pools first")
def test_submit_at_interpreter_exit_says_so() -> None:
    code = (
        "import atexit\nfrom clew import ContextThreadPoolExecutor\npool = ContextThreadPoolExecutor(1)\n"
        "def late():\n    try:\n        pool.submit(int)\n    except RuntimeError as error:\n        print(error)\n"
        "atexit.register(late)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout.strip() == b"cannot schedule new futures after interpreter shutdown"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs os.fork")
def test_forked_child_can_use_a_pool_of_its_own() -> None:
    code = (
        "import os, sys\nfrom contextvars import ContextVar\nimport clew\nvar = ContextVar('var')\nvar.set('kept')\n"
        "with clew.ContextThreadPoolExecutor(1) as pool:\n    pool.submit(int).result(30)\npid = os.fork()\n"
        "with clew.ContextThreadPoolExecutor(1) as pool:\n    assert pool.submit(var.get).result(30) == 'kept'\n"
        "if pid:\n    assert os.waitpid(pid, 0)[1] == 0\n    print('both')\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout.strip() == b"both"
