"""
Ways for a step of somebody else's trace to get to another thread, by a class of the stdlib or of clew.

Each takes what opens a step, a function that returns a ``with`` block, and returns when the step is over.
"""

from __future__ import annotations

import threading
from concurrent.futures import Executor, Future
from queue import Queue
from threading import Thread
from typing import Any, Callable, ContextManager, List

import clew
from tests.edges._threads import DEADLINE, in_empty_context, settle

Step = Callable[[], ContextManager[None]]
Way = Callable[[Step], None]


def take(step: Step, *_: object) -> None:
    with step():
        pass


# Of concurrent.futures. Workers are somebody else's: where threads inherit, they inherit nothing of the request.


def submit(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        with pool_class(1) as pool:
            settle(pool)
            pool.submit(take, step).result(DEADLINE)

    return way


def map_(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        with pool_class(1) as pool:
            settle(pool)
            assert list(pool.map(take, [step, step])) == [None, None]

    return way


def callback(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        go = threading.Event()
        with pool_class(1) as pool:
            settle(pool)
            pool.submit(go.wait, DEADLINE).add_done_callback(lambda _: take(step))
            go.set()

    return way


class OneThread(Executor):
    """Be an executor as people write them: one thread, and a queue of their own."""

    def __init__(self, workers: int) -> None:
        assert workers == 1
        self._jobs: Queue[Any] = Queue()
        self._thread = Thread(target=self._work, daemon=True)
        in_empty_context(self._thread.start)

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.put((future, fn, args, kwargs))
        return future

    def _work(self) -> None:
        for future, fn, args, kwargs in iter(self._jobs.get, None):
            try:
                future.set_result(fn(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

    def shutdown(self, wait: bool = True, **options: Any) -> None:
        self._jobs.put(None)
        if wait:
            self._thread.join(DEADLINE)


def wrapped(workers: int) -> Executor:
    return clew.wrap_executor(OneThread(workers))


# Of threading.


def run(thread: Thread) -> None:
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def target(base: Any) -> Way:
    return lambda step: run(base(target=take, args=(step,)))


def own_run(base: Any) -> Way:
    class Worker(base):  # type: ignore[misc]
        def __init__(self, step: Step) -> None:
            super().__init__()
            self._step = step

        def run(self) -> None:
            take(self._step)

    return lambda step: run(Worker(step))


def timer(base: Any) -> Way:
    return lambda step: run(base(0.001, take, [step]))


# Of multiprocessing.pool.


def pool_apply(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        with in_empty_context(pool_class, 1) as pool:
            pool.apply(take, (step,))

    return way


def pool_map(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        with in_empty_context(pool_class, 1) as pool:
            pool.map(take, [step, step])

    return way


def pool_callback(pool_class: Any) -> Way:
    def way(step: Step) -> None:
        with in_empty_context(pool_class, 1) as pool:
            pool.apply_async(int, callback=lambda _: take(step)).get(DEADLINE)

    return way


# A thread of one's own, older than the request, that takes jobs from a queue.


def queued(pack: Callable[[Step], Any], unpack: Callable[[Any], None]) -> Way:
    def way(step: Step) -> None:
        jobs: Queue[Any] = Queue()
        errors: List[BaseException] = []

        def work() -> None:
            for job in iter(jobs.get, None):
                try:
                    unpack(job)
                except BaseException as error:
                    errors.append(error)

        thread = Thread(target=work, daemon=True)
        in_empty_context(thread.start)
        jobs.put(pack(step))
        jobs.put(None)
        thread.join(DEADLINE)
        assert not thread.is_alive()
        assert errors == []

    return way


def with_snapshot(step: Step) -> Any:
    return clew.capture(), step


def run_in_snapshot(job: Any) -> None:
    snapshot, step = job
    snapshot.run(take, step)


def attach_snapshot(job: Any) -> None:
    snapshot, step = job
    with snapshot.attached():
        take(step)


def bound(step: Step) -> Any:
    return clew.bind(lambda: take(step))


def installed(way: Way) -> Way:
    def installed_way(step: Step) -> None:
        with clew.installed():
            way(step)

    return installed_way
