"""
Two jobs of one request that are inside of their steps at the same time, and ways for them to be.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any, Callable, Iterable, Tuple

import clew
from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._threads import DEADLINE
from tests.foreign._ways import Step, take

Job = Callable[[], None]
Jobs = Tuple[Job, Job]


def two_jobs(step: Step) -> Jobs:
    """Return jobs whose steps overlap: the second is opened in the first, and closed after it."""
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first() -> None:
        with step():
            first_is_in.set()
            assert second_is_in.wait(DEADLINE)
        first_is_out.set()
        take(step)

    def second() -> None:
        assert first_is_in.wait(DEADLINE)
        with step():
            second_is_in.set()
            assert first_is_out.wait(DEADLINE)
        take(step)

    return first, second


def call(job: Job) -> None:
    job()


def run_all(threads: Iterable[Thread]) -> None:
    threads = list(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
        assert not thread.is_alive()


def submitted(pool_class: Any) -> Callable[[Jobs], None]:
    def way(jobs: Jobs) -> None:
        with pool_class(2) as pool:
            for future in [pool.submit(job) for job in jobs]:
                future.result(DEADLINE)

    return way


def mapped(jobs: Jobs) -> None:
    with clew.ContextThreadPoolExecutor(2) as pool:
        list(pool.map(call, jobs))


def mapped_by_a_pool(jobs: Jobs) -> None:
    with ContextThreadPool(2) as pool:
        pool.map_async(call, jobs, chunksize=1).get(DEADLINE)


def in_threads(thread_class: Any) -> Callable[[Jobs], None]:
    return lambda jobs: run_all(thread_class(target=job) for job in jobs)


def in_one_snapshot(jobs: Jobs) -> None:
    snapshot = clew.capture()
    run_all(Thread(target=snapshot.run, args=(job,)) for job in jobs)


def attached(jobs: Jobs) -> None:
    snapshot = clew.capture()

    def attach(job: Job) -> None:
        with snapshot.attached():
            job()

    run_all(Thread(target=attach, args=(job,)) for job in jobs)


def bound_once(jobs: Jobs) -> None:
    bound = clew.bind(call)
    run_all(Thread(target=bound, args=(job,)) for job in jobs)


def installed(way: Callable[[Jobs], None]) -> Callable[[Jobs], None]:
    def installed_way(jobs: Jobs) -> None:
        with clew.installed():
            way(jobs)

    return installed_way


def wrapped(workers: int) -> Any:
    return clew.wrap_executor(ThreadPoolExecutor(workers))


WAYS_AT_ONCE = {
    "submit": submitted(clew.ContextThreadPoolExecutor),
    "map": mapped,
    "pool-map": mapped_by_a_pool,
    "threads": in_threads(clew.ContextThread),
    "wrapped": submitted(wrapped),
    "snapshot": in_one_snapshot,
    "attached": attached,
    "bind": bound_once,
    "installed-submit": installed(submitted(ThreadPoolExecutor)),
    "installed-threads": installed(in_threads(Thread)),
}
