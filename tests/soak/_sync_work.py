"""
The random work of a soak outside of coroutines.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Callable, Dict, Iterator

import trio

import clew
from clew.runs.headers import inject
from tests.soak._plan import Here, Work, value

DEADLINE = 60.0


class Boom(Exception):
    """The error by which a piece of work fails."""


def only_key(inputs: Dict[str, Any]) -> Dict[str, Any]:
    """Record the key of a run alone."""
    return {"key": inputs["key"]}


def attempt(fn: Callable[..., object], *args: object) -> None:
    """Call a function that may fail on purpose."""
    with suppress(Boom):
        fn(*args)


# What a piece of work is


def run_children(work: Work, here: Here) -> None:
    here.check(f"before the work in {work.kind}")
    for child in work.children:
        reach(child, here)
        here.check(f"after {child.kind} by {child.sync_edge}, in {work.kind}")
    if work.collects:
        gc.collect()
        here.check(f"after a collection, in {work.kind}")


def run_with_value(key: object, work: Work, here: Here) -> None:
    """Set the program's variable around the work, as a plain function does."""
    token = value.set(key)
    try:
        run_children(work, here.inside(value=key))
    finally:
        value.reset(token)
    if work.end == "error":
        raise Boom


@clew.traceable(process_inputs=only_key)
def call(key: object, work: Work, here: Here) -> None:
    run_with_value(key, work, here)


def items(key: object, work: Work, here: Here) -> Iterator[int]:
    for child in work.children:
        here.check(f"before a step of {work.kind}")
        reach(child, here)
        yield 1
        here.check(f"after a step of {work.kind}")
    if work.end == "error":
        raise Boom
    yield 2
    yield 3


traced_items = clew.traceable(process_inputs=only_key)(items)


@clew.traceable(process_inputs=only_key)
def returned_items(key: object, work: Work, here: Here) -> Iterator[int]:
    return items(key, work, here)


@clew.context_generator
def items_in_context(key: object, work: Work, here: Here) -> Iterator[int]:
    value.set(work)
    yield from items(key, work, here.inside(value=work))


class Cycle:
    """Keep a generator in a reference cycle, so that the collector finds it."""

    def __init__(self, generator: object) -> None:
        self.generator = generator
        self.itself = self


def read(stream: Any, work: Work, here: Here) -> None:
    for _ in stream:
        here.check(f"between the steps of {work.kind}")
        if work.end == "break":
            break
        if work.end == "close":
            stream.close()
            break
        if work.end == "drop":
            Cycle(stream)
            break


def status_of(work: Work) -> str:
    if work.end == "error":
        return "error"
    return "cancelled" if "generator" in work.kind and work.end != "success" else "success"


def do(work: Work, here: Here) -> None:
    """Do a piece of work in the current context."""
    here.check(f"at {work.kind}")
    if work.kind == "plain":
        attempt(run_with_value, work, work, here)
        return
    if work.kind == "context generator":
        attempt(read, items_in_context(None, work, here), work, here)
        return
    key = here.enter(status_of(work))
    inner = here.inside(key=key, parent_id=None) if here.is_recorded else here
    if work.kind == "call":
        attempt(call, key, work, inner)
    elif work.kind == "block":
        attempt(do_block, key, work, inner)
    elif work.kind == "by hand":
        attempt(do_by_hand, key, work, inner)
    else:
        # Until its first step, a generator that is dropped makes no run; `read` makes one.
        attempt(read, (traced_items if work.kind == "generator" else returned_items)(key, work, inner), work, here)


def do_block(key: object, work: Work, here: Here) -> None:
    with clew.trace("block", inputs={"key": key}):
        run_with_value(key, work, here)


def do_by_hand(key: object, work: Work, here: Here) -> None:
    with started_by_hand(key, work, here):
        run_with_value(key, work, here)


@contextmanager
def started_by_hand(key: object, work: Work, here: Here) -> Iterator[None]:
    """Start a run by hand and make it current. Two threads end it at the same time."""
    if not here.is_recorded:
        yield
        return
    above = clew.get_current_run_tree()
    run = (clew.RunTree if above is None else above.create_child)("by hand", inputs={"key": key})
    run.post()
    both = threading.Barrier(2)

    def end() -> None:
        both.wait(DEADLINE)
        run.end(error="boom" if work.end == "error" else None)

    try:
        with clew.tracing_context(parent=run):
            yield
    finally:
        threads = [threading.Thread(target=end) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)


# How a piece of work is reached


class Inline(Executor):
    """Run each job at once, with futures of a class of its own."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        class OwnFuture(Future):  # type: ignore[type-arg]  # as in the package
            pass

        future: Any = OwnFuture()
        future.set_result(fn(*args, **kwargs))
        return future


def in_thread(fn: Callable[[], object], make: Any = threading.Thread) -> None:
    thread = make(target=fn)
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def by_pool(fn: Callable[[], object]) -> None:
    with clew.ContextThreadPoolExecutor(1) as pool:
        pool.submit(fn).result(DEADLINE)


def by_map(fn: Callable[[], object]) -> None:
    with clew.ContextThreadPoolExecutor(1) as pool:
        list(pool.map(lambda _: fn(), "1", buffersize=1))


def by_callback(fn: Callable[[], object]) -> None:
    with clew.ContextThreadPoolExecutor(1) as pool:
        pool.submit(int).add_done_callback(lambda _: fn())


def by_timer(fn: Callable[[], object]) -> None:
    timer = clew.ContextTimer(0, fn)
    timer.start()
    timer.join(DEADLINE)


def by_attached(fn: Callable[[], object]) -> None:
    snapshot = clew.capture()

    def job() -> None:
        with snapshot.attached():
            fn()

    in_thread(job)


def by_wrapped(fn: Callable[[], object]) -> None:
    clew.wrap_executor(Inline()).submit(fn).result(DEADLINE)


def by_thread_pool(fn: Callable[[], object]) -> None:
    with clew.ContextThreadPool(1) as pool:
        pool.map_async(lambda _: fn(), "1").get(DEADLINE)
    pool.join()


def by_installed(fn: Callable[[], object]) -> None:
    with clew.installed():
        in_thread(fn)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(int).result(DEADLINE)


def by_generator(fn: Callable[[], object], **options: Any) -> None:
    @clew.context_generator(**options)
    def body() -> Iterator[int]:
        yield 1
        fn()
        yield 2

    for _ in body():
        pass


EDGES: Dict[str, Callable[[Callable[[], object]], object]] = {
    "here": lambda fn: fn(),
    "pool": by_pool,
    "map": by_map,
    "callback": by_callback,
    "thread": lambda fn: in_thread(fn, clew.ContextThread),
    "timer": by_timer,
    "bound": lambda fn: in_thread(clew.bind(fn)),
    "snapshot": lambda fn: in_thread(partial(clew.capture().run, fn)),
    "attached": by_attached,
    "wrapped executor": by_wrapped,
    "thread pool": by_thread_pool,
    "installed": by_installed,
    "live": lambda fn: by_generator(fn, inherit="live"),
    "isolated": lambda fn: by_generator(fn, isolate=[ContextVar("isolated")]),
}


def reach(work: Work, here: Here) -> None:
    """Do a piece of work in a place where the context must arrive."""
    edge = work.sync_edge
    if edge in EDGES:
        EDGES[edge](lambda: do(work, here))
    elif edge in ("asyncio", "trio"):
        reach_in_loop(work, here)
    elif edge == "late":
        snapshot = clew.capture()

        def job() -> None:
            assert here.late.may_run.wait(DEADLINE)
            do(work, here)

        thread = threading.Thread(target=snapshot.run, args=(job,))
        thread.start()
        here.late.threads.append(thread)
    else:
        reach_in_block(work, here)


def reach_in_block(work: Work, here: Here) -> None:
    edge = work.sync_edge
    if edge == "detached":
        with clew.detached():
            do(work, here.inside(key=None, parent_id=None))
    elif edge == "tracing_context":
        with clew.tracing_context(tags=["soak"], metadata={"number": 1}):
            do(work, here)
    elif edge == "baggage":
        with clew.baggage(tenant="soak"):
            do(work, here)
            assert clew.get_baggage("tenant") == "soak"
    elif edge == "not enabled":
        with clew.tracing_context(enabled=False):
            do(work, here.inside(is_recorded=False))
    else:
        headers: Dict[str, str] = {}
        inject(headers)

        def serve() -> None:
            value.set(here.value)
            with clew.tracing_context(parent=headers or None, enabled=here.is_recorded):
                do(work, here)

        in_thread(serve)


def reach_in_loop(work: Work, here: Here) -> None:
    from tests.soak._async_work import do_async

    def run() -> None:
        if work.sync_edge == "trio":
            trio.run(do_async, work, here.inside(loop="trio"))
        else:
            asyncio.run(do_async(work, here.inside(loop="asyncio")))

    if here.loop:  # this thread has a loop already
        in_thread(run, clew.ContextThread)
    else:
        copy_context().run(run)
