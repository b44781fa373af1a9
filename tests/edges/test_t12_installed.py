"""
`install`, `uninstall` and `installed`: code that is not edited (T12), and what is left of it afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import queue
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from multiprocessing.pool import ThreadPool
from typing import Any, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE, as_ada, in_empty_context, look, user

PLACES = [
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (ThreadPoolExecutor, "map"),
    (ThreadPool, "apply_async"),
    (ThreadPool, "map_async"),
    (ThreadPool, "starmap_async"),
    (ThreadPool, "_guarded_task_generation"),
]
INHERITS = bool(getattr(sys.flags, "thread_inherit_context", False))


def stdlib() -> List[object]:
    """Return what stands in the classes that are patched, None for what they inherit."""
    return [vars(owner).get(name) for owner, name in PLACES]


@pytest.fixture(autouse=True)
def left_as_found() -> Iterator[None]:
    before = stdlib()
    yield
    assert stdlib() == before
    with pytest.raises(clew.ClewError, match="found none left to undo"):
        clew.uninstall()


class OverridingThread(threading.Thread):
    """Be a thread as people write it who want its result."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: object = None

    def run(self) -> None:
        self.seen = user.get()


def finish(thread: threading.Thread) -> None:
    thread.start()
    thread.join(DEADLINE)


def pool_with_a_worker() -> ThreadPoolExecutor:
    """Return a pool whose one worker was there before: where threads inherit, it has nothing to inherit."""
    pool = ThreadPoolExecutor(1)
    in_empty_context(pool.submit, int).result(DEADLINE)
    return pool


def by_thread() -> object:
    found: List[object] = []
    finish(threading.Thread(target=lambda: found.append(user.get())))
    return found[0]


def by_overriding_thread() -> object:
    thread = OverridingThread()
    finish(thread)
    return thread.seen


def by_timer() -> object:
    found: List[object] = []
    finish(threading.Timer(0, lambda: found.append(user.get())))
    return found[0]


def by_submit() -> object:
    with pool_with_a_worker() as pool:
        return pool.submit(user.get).result(DEADLINE)


def by_map() -> object:
    with pool_with_a_worker() as pool:
        return next(pool.map(lambda _: user.get(), [1]))


def by_callback() -> object:
    found: List[object] = []
    release, called = threading.Event(), threading.Event()

    def callback(_: Future[Any]) -> None:
        found.append(user.get())
        called.set()

    with pool_with_a_worker() as pool:
        pool.submit(release.wait, DEADLINE).add_done_callback(callback)
        release.set()
        assert called.wait(DEADLINE)
    return found[0]


def by_default_executor() -> object:
    async def main() -> object:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(pool_with_a_worker())
        return await loop.run_in_executor(None, user.get)

    return asyncio.run(main())


def old_pool_with_a_worker() -> Any:
    return in_empty_context(ThreadPool, 1)


def by_old_apply() -> object:
    with old_pool_with_a_worker() as pool:
        return pool.apply(user.get)


def by_old_map() -> object:
    with old_pool_with_a_worker() as pool:
        [found] = {*pool.map(look, [1, 2]), *pool.starmap(look, [(1,)]), *pool.imap(look, [1])}
        return found


def by_old_callback() -> object:
    found: List[object] = []
    with old_pool_with_a_worker() as pool:
        for start in (pool.map_async, pool.starmap_async):
            start(look, [(1,)], callback=lambda _: found.append(user.get())).wait(DEADLINE)
        pool.apply_async(look, (1,), {}, lambda _: found.append(user.get())).wait(DEADLINE)
        pool.close()
        pool.join()
    assert len(found) == 3
    [seen] = {*found}
    return seen


BY_THREAD = [by_thread, by_overriding_thread, by_timer]
BY_POOL = [by_submit, by_map, by_callback, by_default_executor, by_old_apply, by_old_map, by_old_callback]


@pytest.mark.parametrize("edge", [*BY_THREAD, *BY_POOL])
def test_stdlib_propagates_while_installed_and_neither_before_nor_after(edge: Any) -> None:
    bare = "ada" if INHERITS and edge in BY_THREAD else "nobody"
    assert as_ada(edge) == bare
    with clew.installed():
        assert as_ada(edge) == "ada"
    assert as_ada(edge) == bare


def test_workers_start_empty_and_stay_so() -> None:
    found: List[object] = []

    def scenario() -> None:
        with ThreadPoolExecutor(1, initializer=lambda: found.append(user.get())) as pool:
            found.append(pool.submit(user.get).result(DEADLINE))
            found.append(in_empty_context(pool.submit, user.get).result(DEADLINE))
        with ThreadPool(1, initializer=lambda: found.append(user.get())) as old:
            found.append(old.apply(user.get))
            found.append(in_empty_context(old.apply, user.get))

    with clew.installed():
        as_ada(scenario)
    assert found == ["nobody", "ada", "nobody"] * 2


class SeeingHandler(logging.Handler):
    """Note the user of whatever thread handles a record."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: List[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(user.get())


def test_threads_that_serve_the_stdlib_start_empty() -> None:
    handler = SeeingHandler()

    def scenario() -> None:
        records: queue.Queue[Any] = queue.Queue()
        listener = logging.handlers.QueueListener(records, handler)
        listener.start()
        records.put(logging.makeLogRecord({}))
        listener.stop()

    with clew.installed():
        as_ada(scenario)
    assert handler.seen == ["nobody"]


def test_installs_are_counted_and_blocks_may_overlap() -> None:
    before = stdlib()
    first, second = clew.installed(), clew.installed()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert as_ada(by_submit) == "ada"
    assert stdlib() != before
    second.__exit__(None, None, None)
    assert stdlib() == before
    with pytest.raises(clew.ClewError, match=r"expected each installed\(\) block to be entered once"):
        first.__enter__()


def test_installing_from_many_threads_at_once_ends_as_it_began() -> None:
    meeting = threading.Barrier(8, timeout=DEADLINE)
    found: List[object] = []

    def job() -> None:
        for _ in range(20):
            meeting.wait()
            with clew.installed():
                found.append(as_ada(by_thread))

    threads = [clew.ContextThread(target=job) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert found == ["ada"] * 160


def test_uninstall_without_install_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"expected an install\(\) before each uninstall\(\)"):
        clew.uninstall()


def test_patch_on_top_stays_and_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pools: Any = ThreadPoolExecutor
    native = pools.submit
    before = clew.stats().get("patches_left_behind", 0)
    seen: List[object] = []
    clew.install()
    ours = pools.submit

    def on_top(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        seen.append(fn)
        return ours(self, fn, *args, **kwargs)

    try:
        pools.submit = on_top
        with caplog.at_level(logging.WARNING, logger="clew"):
            clew.uninstall()
        assert pools.submit is on_top
        assert as_ada(by_submit) == "nobody"
        with clew.installed():  # on top of that in its turn
            assert as_ada(by_submit) == "ada"
        assert pools.submit is on_top
        assert len(seen) == 4
    finally:
        pools.submit = native
    assert clew.stats()["patches_left_behind"] == before + 1
    if before == 0:
        assert "concurrent.futures.thread.ThreadPoolExecutor.submit was patched by somebody else" in caplog.text


def test_map_that_somebody_has_patched_before_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    native = ThreadPoolExecutor.map
    seen: List[object] = []

    def patched(self: Any, fn: Any, *iterables: Any, **options: Any) -> Any:
        seen.append(fn)
        return native(self, fn, *iterables, **options)

    monkeypatch.setattr(ThreadPoolExecutor, "map", patched)
    with clew.installed():
        assert as_ada(by_map) == "ada"
    assert len(seen) == 1


def test_clews_own_classes_and_wrappers_do_what_they_did() -> None:
    def scenario() -> List[object]:
        found: List[object] = []
        finish(clew.ContextThread(target=lambda: found.append(user.get())))
        with clew.ContextThreadPoolExecutor(1) as pool, clew.wrap_executor(ThreadPoolExecutor(1)) as wrapped:
            for executor in (pool, wrapped):
                future = executor.submit(user.get)
                future.add_done_callback(lambda _: found.append(user.get()))
                found.append(future.result(DEADLINE))
                found.extend(executor.map(lambda _: user.get(), [1]))
        with clew.ContextThreadPool(1) as old:
            old.apply_async(look, (), {}, lambda _: found.append(user.get())).wait(DEADLINE)
            found.extend(old.map(look, [1]))
            old.close()
            old.join()
        return found

    with clew.installed():
        assert as_ada(scenario) == ["ada"] * 9


def test_patched_methods_look_like_the_native_ones() -> None:
    def looks() -> List[object]:
        return [(getattr(owner, name).__qualname__, getattr(owner, name).__doc__) for owner, name in PLACES]

    native = looks()
    with clew.installed():
        assert looks() == native


def test_target_without_a_module_is_no_obstacle() -> None:
    class Target:
        seen: object = None

        @property
        def __module__(self) -> str:  # type: ignore[override]
            raise LookupError("of a proxy")

        def __call__(self) -> None:
            self.seen = user.get()

    target = Target()
    with clew.installed():
        as_ada(lambda: finish(threading.Thread(target=target, name="named")))
    assert target.seen == "ada"


def test_errors_are_the_stdlibs() -> None:
    with clew.installed():
        pool: Any = ThreadPoolExecutor(1)
        with pytest.raises(TypeError, match="positional argument"):
            pool.submit()
        pool.shutdown()
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            pool.submit(int)
        thread = threading.Thread()
        finish(thread)
        with pytest.raises(RuntimeError, match="threads can only be started once"):
            thread.start()


@pytest.mark.skipif(sys.version_info >= (3, 9), reason="needs 3.8, where fn may be a keyword")
def test_function_given_by_keyword_has_the_context_too() -> None:
    with clew.installed(), pool_with_a_worker() as bare, pytest.deprecated_call():
        pool: Any = bare
        assert as_ada(lambda: pool.submit(fn=user.get).result(DEADLINE)) == "ada"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="needs 3.14, where a thread may be given a context")
def test_thread_that_was_given_a_context_has_that_one() -> None:
    found: List[object] = []
    thread_class: Any = threading.Thread

    def scenario() -> None:
        given = copy_context()
        given.run(user.set, "given")
        for context in (given, Context()):
            finish(thread_class(target=lambda: found.append(user.get()), context=context))

    with clew.installed():
        as_ada(scenario)
    assert found == ["given", "nobody"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="needs 3.14, which has buffersize")
def test_lazy_map_captures_once() -> None:
    def lazily() -> List[object]:
        with ThreadPoolExecutor(1) as bare:
            pool: Any = bare
            results = pool.map(lambda _: user.get(), [1, 2], buffersize=1)
            user.set("later")
            return list(results)

    with clew.installed():
        assert as_ada(lazily) == ["ada", "ada"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="needs 3.14, which has a pool of interpreters")
def test_pool_of_interpreters_is_left_alone() -> None:
    import concurrent.futures

    futures: Any = concurrent.futures
    with clew.installed(), futures.InterpreterPoolExecutor(1) as pool:
        assert pool.submit(abs, -1).result(DEADLINE) == 1
        assert list(pool.map(abs, [-2])) == [2]
        assert clew.wrap_executor(pool).submit(abs, -3).result(DEADLINE) == 3
