"""
`ContextThreadPool` is the stdlib's `ThreadPool` in everything that is not about the context.
"""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import subprocess
import sys
import threading
import warnings
from multiprocessing import TimeoutError as PoolTimeoutError
from multiprocessing.pool import AsyncResult, IMapIterator, IMapUnorderedIterator, MapResult, ThreadPool
from time import monotonic
from typing import Any, Callable, Iterator, List, Tuple

import pytest

from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._threads import DEADLINE, nothing

BOTH = pytest.mark.parametrize("pool_class", [ThreadPool, ContextThreadPool])
METHODS = ("apply", "apply_async", "imap", "imap_unordered", "map", "map_async", "starmap", "starmap_async")


def fail(*args: object) -> None:
    raise LookupError("no", *args)


def stop(item: int) -> int:
    if item == 2:
        raise StopIteration(item)
    return item


def describe(*args: object, **kwargs: object) -> object:
    return args, kwargs


class OwnList(List[Any]):
    pass


class OwnDict(dict):  # type: ignore[type-arg]
    pass


def numbers(count: int, then_fail: bool = False) -> Iterator[int]:
    yield from range(count)
    if then_fail:
        raise LookupError("while reading")


# What each does with a pool is to come out the same.
SCRIPTS = {
    "apply": lambda p: p.apply(describe, (1,), {"self": 2, "func": 3, "fn": 4, "callable": 5, "context": 6}),
    "apply, nothing": lambda p: p.apply(describe),
    "apply, list": lambda p: p.apply(describe, [1, 2], OwnDict(a=1)),
    "apply, own list": lambda p: p.apply(describe, OwnList([1, 2])),
    "apply, generator": lambda p: p.apply(describe, numbers(3)),
    "apply, string": lambda p: p.apply(describe, "ab"),
    "apply, no arguments at all": lambda p: p.apply(),
    "apply, number": lambda p: p.apply(describe, 5),
    "apply, wrong keywords": lambda p: p.apply(describe, (), {1: 2}),
    "apply, keywords of no mapping": lambda p: p.apply(describe, (), 5),
    "apply, failing generator": lambda p: p.apply(describe, numbers(3, then_fail=True)),
    "apply, not callable": lambda p: p.apply(5),
    "apply, wrong arguments": lambda p: p.apply(abs, (1, 2)),
    "apply, failing": lambda p: p.apply(fail, (1,)),
    "apply, stopping": lambda p: p.apply(stop, (2,)),
    "apply_async, timeout": lambda p: while_waiting(lambda wait: p.apply_async(wait).get(0)),
    "apply_async, not ready": lambda p: while_waiting(lambda wait: p.apply_async(wait).successful()),
    "apply_async, failing": lambda p: p.apply_async(fail).get(DEADLINE),
    "apply_async, no callbacks": lambda p: p.apply_async(describe, (), {}, 0, []).get(DEADLINE),
    "map": lambda p: p.map(abs, [-1, 2, -3]),
    "map, empty": lambda p: p.map(abs, []),
    "map, chunks": lambda p: p.map(abs, range(-9, 9), 4),
    "map, generator": lambda p: p.map(abs, numbers(7), 2),
    "map, string": lambda p: p.map(ord, "abc"),
    "map, set of pairs": lambda p: p.map(describe, [(1, 2), (3, 4)]),
    "map, failing": lambda p: p.map(fail, [1, 2, 3], 1),
    "map, failing in a chunk": lambda p: p.map(fail, [1, 2, 3], 3),
    "map, stopping": lambda p: p.map(stop, range(5), 1),
    "map, stopping in a chunk": lambda p: p.map(stop, range(5), 4),
    "map, not callable": lambda p: p.map(None, [1]),
    "map, not callable and empty": lambda p: p.map(None, []),
    "map, not iterable": lambda p: p.map(abs, 5),
    "map, failing generator": lambda p: p.map(abs, numbers(3, then_fail=True)),
    "map, chunksize of no number": lambda p: p.map(abs, [1], "2"),
    "map_async": lambda p: describe_result(p.map_async(abs, [-1, 2, -3])),
    "map_async, empty": lambda p: describe_result(p.map_async(abs, [], callback=fail)),
    "starmap": lambda p: p.starmap(divmod, [(7, 2), [9, 4]]),
    "starmap, chunks": lambda p: p.starmap(divmod, [(7, 2), [9, 4], iter((8, 3))], 2),
    "starmap, failing": lambda p: p.starmap(fail, [(1, 2)]),
    "starmap, stopping in a chunk": lambda p: p.starmap(stop, [(1,), (2,), (3,)], 3),
    "starmap, number": lambda p: p.starmap(divmod, [(7, 2), 5], 2),
    "starmap, wrong arguments": lambda p: p.starmap(divmod, [(7, 2, 1)]),
    "starmap, failing row": lambda p: p.starmap(describe, [numbers(2, then_fail=True)]),
    "starmap_async": lambda p: describe_result(p.starmap_async(divmod, [(7, 2), (9, 4)], chunksize=1)),
    "imap": lambda p: list(p.imap(abs, numbers(5))),
    "imap, chunks": lambda p: list(p.imap(abs, numbers(5), 2)),
    "imap, empty": lambda p: list(p.imap(abs, ())),
    "imap, stopping": lambda p: list(p.imap(stop, range(5))),
    "imap, stopping in a chunk": lambda p: list(p.imap(stop, range(5), 4)),
    "imap, failing": lambda p: list(p.imap(fail, [1])),
    "imap, failing in a chunk": lambda p: list(p.imap(fail, [1, 2], 2)),
    "imap, failing generator": lambda p: take_each(p.imap(abs, numbers(3, then_fail=True))),
    "imap, failing generator in chunks": lambda p: take_each(p.imap(abs, numbers(5, then_fail=True), 2)),
    "imap, not iterable": lambda p: take_each(p.imap(abs, 5)),
    "imap, not callable": lambda p: take_each(p.imap(5, [1])),
    "imap, chunksize 0": lambda p: p.imap(abs, [1], 0),
    "imap, timeout": lambda p: while_waiting(lambda wait: p.imap(wait, [DEADLINE]).next(0)),
    "imap_unordered": lambda p: sorted(p.imap_unordered(abs, numbers(5))),
    "imap_unordered, chunks": lambda p: sorted(p.imap_unordered(abs, numbers(5), chunksize=2)),
    "imap_unordered, chunksize -1": lambda p: p.imap_unordered(abs, [1], -1),
    "join before close": lambda p: p.join(),
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "repr": repr,
    "enter when closed": lambda p: (p.close(), p.__enter__()),
    **{f"{name} when closed": lambda p, name=name: (p.close(), getattr(p, name)(abs, [])) for name in METHODS},
    **{f"{name} when terminated": lambda p, name=name: (p.terminate(), getattr(p, name)(abs, [])) for name in METHODS},
}


def while_waiting(call: Callable[[Any], object]) -> object:
    """Return what `call` returns for a function that waits until it has."""
    go = threading.Event()
    try:
        return call(lambda *_: go.wait(DEADLINE))
    finally:
        go.set()


def describe_result(result: Any) -> object:
    result.wait(DEADLINE)
    return result.ready(), result.successful(), result.get(DEADLINE), type(result)


def take_each(results: Any) -> object:
    """Take one after the other, errors as well, as far as it goes."""
    found: List[object] = []
    for _ in range(10):
        try:
            found.append(next(results))
        except StopIteration:
            return found
        except Exception as error:
            found.append(repr(error))
            if getattr(results, "gi_frame", 0) is None:
                return found
    return found


def outcome(pool_class: Any, script: Callable[[Any], object]) -> Tuple[object, ...]:
    """Return what comes out of a script: the value, or the error and, where the stdlib has it, its traceback."""
    pool = pool_class(1)
    try:
        return "value", script(pool)
    except Exception as error:
        frames = []
        traceback = error.__traceback__
        while traceback is not None:
            frames.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        return type(error), str(error), frames
    finally:
        pool.terminate()
        pool.join()


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_it_does_what_the_stdlibs_does(script: Callable[[Any], object]) -> None:
    bare, whole = outcome(ThreadPool, script), outcome(ContextThreadPool, script)
    assert without_ours(whole) == without_ours(bare)


def without_ours(outcome: Any) -> Any:
    if len(outcome) == 2:
        return [text_of(part) for part in outcome]
    kind, message, frames = outcome
    # The stdlib's own frame around a chunk is not there; ours is, where arguments are no tuple. The
    # overridden methods stand before super's. PyPy's `Context.run` has a frame.
    gone = {"mapstar", "starmapstar", "start_job", "_call"}
    if sys.implementation.name == "pypy":
        gone |= {"run", "_run_binding_keywords"}
        # The function that it names is another one: keywords are bound first there.
        message = message[message.find("keywords must be") :] if "keywords must be" in message else message
    frames = [name for name in frames if name not in gone]
    return kind, text_of(message), [name for i, name in enumerate(frames) if [name] != frames[i - 1 : i]]


def text_of(value: object) -> str:
    text = str(value).replace(f"{ContextThreadPool.__module__}.ContextThreadPool", "multiprocessing.pool.ThreadPool")
    return text.replace("ContextThreadPool.", "Pool.").split(" object at 0x")[0]


def test_it_is_the_stdlibs_pool() -> None:
    assert issubclass(ContextThreadPool, ThreadPool)
    assert inspect.signature(ContextThreadPool).parameters.keys() == inspect.signature(ThreadPool).parameters.keys()
    for name in (*METHODS, "__init__"):
        bare, whole = (inspect.signature(getattr(pool, name)) for pool in (ThreadPool, ContextThreadPool))
        assert [(p.name, p.kind, p.default) for p in bare.parameters.values()] == [
            (p.name, p.kind, p.default) for p in whole.parameters.values()
        ]


@BOTH
def test_results_are_of_the_stdlibs_own_classes(pool_class: Any) -> None:
    with pool_class(1) as pool:
        assert type(pool.apply_async(nothing)) is AsyncResult
        assert type(pool.map_async(nothing, [1])) is MapResult
        assert type(pool.starmap_async(nothing, [(1,)])) is MapResult
        assert type(pool.imap(nothing, [1])) is IMapIterator
        assert type(pool.imap_unordered(nothing, [1])) is IMapUnorderedIterator
        assert inspect.isgenerator(pool.imap(nothing, [1], 2))


@BOTH
def test_constructor_refuses_what_the_stdlibs_refuses(pool_class: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pool_class(0)
    with pytest.raises(TypeError, match="initializer must be a callable"):
        pool_class(1, initializer=5)


@BOTH
def test_initializer_gets_its_arguments_once_in_each_worker(pool_class: Any) -> None:
    found: List[Tuple[object, str]] = []
    together = threading.Barrier(3)

    def initialize(*args: object) -> None:
        found.append((args, threading.current_thread().name))

    with pool_class(processes=3, initializer=initialize, initargs=(1, 2)) as pool:
        pool.map(lambda _: together.wait(DEADLINE), range(3), 1)
    assert [args for args, _ in found] == [(1, 2)] * 3
    assert len({name for _, name in found}) == 3


@BOTH
def test_close_and_join_wait_for_what_was_started(pool_class: Any) -> None:
    go = threading.Event()
    pool = pool_class(1)
    results = [pool.apply_async(go.wait, (DEADLINE,)), pool.map_async(abs, [-1])]
    late = pool.imap(abs, numbers(3))
    pool.close()
    go.set()
    pool.join()
    assert [result.ready() for result in results] == [True, True]
    assert list(late) == [0, 1, 2]


@BOTH
def test_with_terminates(pool_class: Any) -> None:
    with pool_class(2) as pool:
        workers = list(pool._pool)
        pool.map(nothing, range(4))
    pool.join()
    assert not any(worker.is_alive() for worker in workers)
    assert f".{pool_class.__name__} state=TERMINATE pool_size=2>" in repr(pool)


def collect() -> None:
    for _ in range(3):  # PyPy calls the `__del__` of what it has found only the next time
        gc.collect()


@BOTH
def test_pool_that_nobody_closed_is_warned_of(pool_class: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pool = pool_class(1)
        assert pool.apply(abs, (-1,)) == 1
        [worker] = pool._pool
        del pool
        deadline = monotonic() + DEADLINE
        while not caught and monotonic() < deadline:  # the thread that has set the result may still refer to it
            collect()
    messages = [str(warning.message) for warning in caught if warning.category is ResourceWarning]
    assert [message.split(" <")[0] for message in messages] == ["unclosed running multiprocessing pool"]
    caught.clear()  # the warning had the pool
    collect()
    worker.join(DEADLINE)
    assert not worker.is_alive()


@BOTH
def test_iterable_of_a_map_without_a_length_is_read_before_it_returns(pool_class: Any) -> None:
    read = []
    go = threading.Event()
    with pool_class(1) as pool:
        pool.apply_async(go.wait, (DEADLINE,))
        result = pool.map_async(abs, (read.append(number) or number for number in range(5)))
        assert read == list(range(5))
        go.set()
        assert result.get(DEADLINE) == list(range(5))


@BOTH
def test_arguments_are_taken_when_the_job_runs(pool_class: Any) -> None:
    go = threading.Event()
    with pool_class(1) as pool:
        pool.apply_async(go.wait, (DEADLINE,))
        args, kwds = [1], {"a": 1}
        results = [pool.apply_async(describe, args), pool.apply_async(describe, (), kwds)]
        args.append(2)
        kwds["b"] = 2
        go.set()
        assert [result.get(DEADLINE) for result in results] == [((1, 2), {}), ((), {"a": 1, "b": 2})]


def test_subclass_may_override_what_it_likes() -> None:
    class Own(ContextThreadPool):
        def __init__(self, name: str) -> None:
            self.calls: List[str] = []
            super().__init__(2)
            self.name = name

        def apply_async(self, func: Any, *args: Any, **kwargs: Any) -> Any:
            self.calls.append("apply_async")
            return super().apply_async(func, *args, **kwargs)

        def _map_async(self, *args: Any, **kwargs: Any) -> Any:
            self.calls.append("_map_async")
            return super()._map_async(*args, **kwargs)  # type: ignore[misc]

        @staticmethod
        def Process(*args: Any, **kwds: Any) -> Any:
            worker = ContextThreadPool.Process(*args, **kwds)
            worker.name = "own"
            return worker

    with Own("mine") as pool:
        assert pool.name == "mine"
        assert pool.apply(abs, (-1,)) == 1
        assert pool.map(abs, [-1]) == [1]
        assert pool.starmap_async(abs, [(-1,)]).get(DEADLINE) == [1]
        assert pool.calls == ["apply_async", "_map_async", "_map_async"]
        assert pool.apply(lambda: threading.current_thread().name) == "own"
    assert "Own state=TERMINATE pool_size=2" in repr(pool)


@BOTH
def test_callback_that_raises_ends_the_pools_thread_and_says_so(pool_class: Any) -> None:
    # Which is what the stdlib's does, and no better: the result never comes.
    program = (
        "import threading\n"
        f"from {pool_class.__module__} import {pool_class.__name__} as Pool\n"
        "done = threading.Event()\n"
        "threading.excepthook = lambda args: (print(args.exc_type.__name__), done.set())\n"
        "pool = Pool(1)\n"
        "result = pool.apply_async(int, callback=lambda value: 1 / 0)\n"
        f"print(done.wait({DEADLINE}), result.ready())\n"
        "import os, sys; sys.stdout.flush(); os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert done.stdout.split() == ["ZeroDivisionError", "True", "False"]


@BOTH
def test_timeout_error_is_that_of_multiprocessing(pool_class: Any) -> None:
    go = threading.Event()
    with pool_class(1) as pool:
        result = pool.apply_async(go.wait, (DEADLINE,))
        with pytest.raises(PoolTimeoutError):
            result.get(0)
        go.set()
        assert result.get(DEADLINE)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs CPython, as PyPy's `Context.run` has a frame")
@pytest.mark.parametrize("name", ["apply, failing", "imap, failing", "map, failing in a chunk", "starmap, failing"])
def test_traceback_of_a_job_has_nothing_of_ours(name: str) -> None:
    frames: Any = outcome(ContextThreadPool, SCRIPTS[name])[2]
    assert frames[-2:] == ["worker", "fail"]
