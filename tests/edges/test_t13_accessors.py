"""
Accessors: thread-locals that travel with what is captured (T13), and what happens when they fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Optional

import pytest

import clew
from tests.edges._threads import DEADLINE, Value, is_gone

if TYPE_CHECKING:
    from clew.context.accessors import Accessor

local = threading.local()


@pytest.fixture
def tenant() -> Iterator[None]:
    """Have the attribute `tenant` of the thread-local travel, and be "ada" on this thread."""
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    local.tenant = "ada"
    yield
    unregister()
    local.__dict__.clear()


def seen() -> object:
    return getattr(local, "tenant", "nobody")


def change() -> object:
    """Return what was there, and leave something else."""
    before = seen()
    local.tenant = "changed"
    return before


def by_submit(pool_class: Any, fn: Callable[[], object]) -> List[object]:
    """Return what a job has returned, and then what its worker was left with."""
    with pool_class(1) as pool:
        found = pool.submit(fn).result(DEADLINE)
        # By the stdlib's own submit: the bare worker.
        return [found, ThreadPoolExecutor.submit(pool, seen).result(DEADLINE)]


def by_map(pool_class: Any, fn: Callable[[], object]) -> List[object]:
    with pool_class(1) as pool:
        found = list(pool.map(lambda _: fn(), [1]))
        return [*found, ThreadPoolExecutor.submit(pool, seen).result(DEADLINE)]


def by_map_lazily(pool_class: Any, fn: Callable[[], object]) -> List[object]:
    """Change the value between the call of `map` and the submission of the second item."""
    with pool_class(1) as pool:
        results = pool.map(lambda _: fn(), [1, 2], buffersize=1)
        local.tenant = "later"
        return list(results)


def by_thread(thread_class: Any, fn: Callable[[], object]) -> List[object]:
    found: List[object] = []

    def target() -> None:
        found.append(fn())

    thread = thread_class(target=target)
    thread.start()
    thread.join(DEADLINE)
    return found


def by_timer(timer_class: Any, fn: Callable[[], object]) -> List[object]:
    found: List[object] = []
    timer = timer_class(0, lambda: found.append(fn()))
    timer.start()
    timer.join(DEADLINE)
    return found


def in_bare_thread(fn: Callable[[], object]) -> List[object]:
    return by_thread(threading.Thread, fn)


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("edge", [by_submit, by_map], ids=["T01", "T02"])
def test_thread_local_is_lost_to_a_bare_pool_and_travels_with_ours_whose_worker_stays_clean(edge: Any) -> None:
    assert edge(ThreadPoolExecutor, change) == ["nobody", "changed"]
    assert edge(clew.ContextThreadPoolExecutor, change) == ["ada", "nobody"]
    assert edge(lambda n: clew.wrap_executor(ThreadPoolExecutor(n)), change) == ["ada", "nobody"]
    with clew.installed():
        assert edge(ThreadPoolExecutor, change)[0] == "ada"
    assert seen() == "ada"


@pytest.mark.usefixtures("tenant")
def test_thread_local_is_captured_once_by_a_lazy_map() -> None:
    assert by_map_lazily(clew.ContextThreadPoolExecutor, seen) == ["ada", "ada"]


@pytest.mark.usefixtures("tenant")
def test_thread_local_is_there_in_a_callback_as_it_was_at_its_registration() -> None:
    found: List[object] = []
    called = threading.Event()
    release = threading.Event()

    def callback(_: Any) -> None:
        found.append(seen())
        called.set()

    with clew.ContextThreadPoolExecutor(1) as pool:
        future = pool.submit(release.wait, DEADLINE)
        local.tenant = "registrar"
        future.add_done_callback(callback)
        local.tenant = "later"
        release.set()
        assert called.wait(DEADLINE)
    assert found == ["registrar"]


@pytest.mark.usefixtures("tenant")
def test_thread_local_travels_to_threads_and_timers() -> None:
    assert by_thread(threading.Thread, seen) == by_timer(threading.Timer, seen) == ["nobody"]
    assert by_thread(clew.ContextThread, seen) == by_timer(clew.ContextTimer, seen) == ["ada"]
    with clew.installed():
        assert by_thread(threading.Thread, seen) == by_timer(threading.Timer, seen) == ["ada"]
    shared = [*by_thread(lambda target: clew.ContextThread(target=target, context=copy_context()), seen)]
    snapshot = clew.capture()
    local.tenant = "later"
    copied = [*by_thread(lambda target: clew.ContextThread(target=target, context=snapshot), seen)]
    assert (shared, copied) == (["ada"], ["ada"])


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize(
    "carry",
    [
        lambda fn: clew.bind(fn),
        lambda fn: clew.capture().bind(fn),
        lambda fn: partial(clew.capture().run, fn),
        lambda fn: partial(run_coroutine, clew.bind(as_coroutine_function(fn))),
    ],
    ids=["bind", "Snapshot.bind", "Snapshot.run", "coroutine"],
)
def test_thread_local_travels_with_what_is_bound_and_the_thread_is_left_as_it_was(carry: Any) -> None:
    carried = carry(change)

    def job() -> object:
        local.tenant = "the thread's own"
        return [carried(), seen()]

    assert in_bare_thread(job) == [["ada", "the thread's own"]]
    assert in_bare_thread(lambda: [carried(), seen()]) == [["ada", "nobody"]]


def run_coroutine(fn: Callable[[], Any]) -> object:
    return asyncio.run(fn())


def as_coroutine_function(fn: Callable[[], object]) -> Any:
    async def call() -> object:
        return fn()

    return call


@pytest.mark.usefixtures("tenant")
def test_thread_local_is_back_after_a_job_that_raised() -> None:
    def fail() -> None:
        change()
        raise KeyError("job")

    bound = clew.bind(fail)

    def job() -> object:
        local.tenant = "the thread's own"
        with pytest.raises(KeyError, match="job"):
            bound()
        return seen()

    assert in_bare_thread(job) == ["the thread's own"]


@pytest.mark.usefixtures("tenant")
def test_missing_value_is_missing_in_the_job_and_none_is_none() -> None:
    del local.tenant
    missing = clew.bind(seen)
    local.tenant = None
    none = clew.bind(seen)

    def job() -> object:
        local.tenant = "the thread's own"
        return [missing(), none(), seen()]

    assert in_bare_thread(job) == [["nobody", None, "the thread's own"]]


class Suspension:
    def __await__(self) -> Any:
        yield


@pytest.mark.usefixtures("tenant")
def test_stepped_coroutine_keeps_its_thread_local_from_step_to_step_and_to_itself() -> None:
    found: List[object] = []

    async def body() -> None:
        found.append(change())
        await Suspension()
        found.append(seen())
        del local.tenant
        await Suspension()
        found.append(seen())

    coroutine = clew.wrap_coroutine(body(), copy_context())
    local.tenant = "consumer"
    coroutine.send(None)
    assert seen() == "consumer"
    in_bare_thread(lambda: coroutine.send(None))
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
    assert (found, seen()) == (["ada", "changed", "nobody"], "consumer")


@pytest.mark.usefixtures("tenant")
def test_attached_block_has_the_thread_local_and_puts_it_back() -> None:
    snapshot = clew.capture()
    local.tenant = "here"
    with snapshot.attached():
        assert change() == "ada"
    assert seen() == "here"


def test_detached_clears_what_was_registered_so() -> None:
    unregister = [
        clew.register_accessor("span", clew.thread_local_accessor(local, "span"), clear_when_detached=True),
        clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant")),
    ]
    local.span, local.tenant = "span", "ada"
    snapshot = clew.capture()
    try:
        with clew.detached():
            assert (hasattr(local, "span"), local.tenant) == (False, "ada")
        with snapshot.attached(link=True):
            assert (hasattr(local, "span"), local.tenant) == (False, "ada")
        assert (local.span, local.tenant) == ("span", "ada")
    finally:
        for undo in unregister:
            undo()
        local.__dict__.clear()


class Recorder:
    """Be an accessor over a dict per thread that notes its calls, and fails in the hooks it is told to."""

    def __init__(self, failing: str = "", value: Optional[object] = "ada") -> None:
        self.values: Dict[int, object] = {threading.get_ident(): value}
        self.calls: List[object] = []
        self.failing = failing

    def note(self, name: str, *args: object) -> None:
        self.calls.append((name, *args))
        if name in self.failing.split():
            raise ValueError(name)

    def get(self) -> Any:
        self.note("get")
        return self.values.get(threading.get_ident())

    def set(self, value: Any, /) -> None:
        self.note("set", value)
        self.values[threading.get_ident()] = value

    def clear(self) -> None:
        self.note("clear")
        self.values.pop(threading.get_ident(), None)

    def restore(self, previous: Any, /) -> None:
        self.note("restore", previous)
        self.values[threading.get_ident()] = previous


def registered(recorder: Accessor, fn: Callable[[], Any]) -> Any:
    unregister = clew.register_accessor("recorder", recorder)
    try:
        return fn()
    finally:
        unregister()


def test_hooks_are_called_in_order() -> None:
    recorder = Recorder()

    def scenario() -> None:
        bound = clew.bind(lambda: None)
        in_bare_thread(bound)
        recorder.values[threading.get_ident()] = "here"
        bound()

    registered(recorder, scenario)
    there = [("get",), ("set", "ada"), ("get",), ("clear",)]
    here = [("get",), ("set", "ada"), ("get",), ("restore", "here")]
    assert recorder.calls == [("get",), *there, *here]


def test_hook_of_a_value_that_is_the_same_on_both_sides_has_nothing_to_set() -> None:
    recorder = Recorder()
    registered(recorder, lambda: clew.bind(lambda: None)())
    assert recorder.calls == [("get",)] * 3


@pytest.mark.parametrize("failing", ["get", "set", "clear", "restore", "get set clear restore"])
@pytest.mark.parametrize("value", ["ada", None])
def test_accessor_that_raises_costs_the_job_nothing_and_is_counted(
    failing: str, value: Optional[str], caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(failing, value)
    before = clew.stats().get("accessors_failed", 0)

    def scenario() -> object:
        def there() -> object:
            recorder.values[threading.get_ident()] = "there"
            return bound(1)

        bound = clew.bind(lambda number: number)
        with caplog.at_level(logging.WARNING, logger="clew"):
            return in_bare_thread(lambda: [in_bare_thread(lambda: bound(0)), there()])

    assert registered(recorder, scenario) == [[[0], 1]]
    raised = sum(1 for call in recorder.calls if isinstance(call, tuple) and call[0] in failing.split())
    assert clew.stats().get("accessors_failed", 0) - before == raised


def test_thread_is_put_back_even_if_what_is_there_cannot_be_read_after_the_job() -> None:
    recorder = Recorder()

    def scenario() -> object:
        def fail_from_now_on() -> None:
            recorder.failing = "get"

        bound = clew.bind(fail_from_now_on)

        def there() -> object:
            recorder.values[threading.get_ident()] = "there"
            bound()
            return recorder.values[threading.get_ident()]

        return in_bare_thread(there)

    assert registered(recorder, scenario) == ["there"]


def test_interrupt_in_a_hook_reaches_the_program_and_the_other_values_are_put_back() -> None:
    class Interrupted(Recorder):
        def set(self, value: Any, /) -> None:
            raise KeyboardInterrupt

    local.tenant = "ada"
    undo = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))

    def scenario() -> object:
        bound = clew.bind(lambda: None)

        def there() -> object:
            with pytest.raises(KeyboardInterrupt):
                bound()
            return seen()

        return in_bare_thread(there)

    try:
        assert registered(Interrupted(), scenario) == ["nobody"]
    finally:
        undo()
        local.__dict__.clear()


def test_object_that_is_no_threading_local_works_as_well() -> None:
    class Local(threading.local):
        """Have an `__init__`, which runs on each thread, and an attribute that is computed."""

        def __init__(self) -> None:
            self._tenant = "initial"

        @property
        def tenant(self) -> str:
            return self._tenant

        @tenant.setter
        def tenant(self, value: str) -> None:
            self._tenant = value.lower()

        @tenant.deleter
        def tenant(self) -> None:
            self._tenant = "cleared"

    mine = Local()
    mine.tenant = "ADA"
    unregister = clew.register_accessor("mine", clew.thread_local_accessor(mine, "tenant"))
    try:
        bound = clew.bind(lambda: mine.tenant)
        assert in_bare_thread(lambda: (bound(), mine.tenant)) == [("ada", "initial")]
    finally:
        unregister()


@pytest.mark.usefixtures("tenant")
def test_registering_the_same_again_changes_nothing_and_unregistering_ends_it() -> None:
    again = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    assert in_bare_thread(clew.bind(seen)) == ["ada"]
    again()
    again()  # undone already
    assert in_bare_thread(clew.bind(seen)) == ["ada"]


def test_accessor_is_gone_once_each_registration_was_undone() -> None:
    accessor = clew.thread_local_accessor(local, "tenant")
    first, second = clew.register_accessor("tenant", accessor), clew.register_accessor("tenant", accessor)
    local.tenant = "ada"
    first()
    second()
    assert in_bare_thread(clew.bind(seen)) == ["nobody"]
    local.__dict__.clear()


def test_thread_whose_value_cannot_be_read_keeps_it() -> None:
    recorder = Recorder()

    def scenario() -> object:
        bound = clew.bind(lambda: None)
        recorder.values[threading.get_ident()] = "here"
        recorder.failing = "get"
        bound()
        return recorder.values[threading.get_ident()]

    assert registered(recorder, scenario) == "here"


@pytest.mark.usefixtures("tenant")
def test_conflict_names_both_parties_and_where_they_are() -> None:
    other = clew.thread_local_accessor(threading.local(), "name")
    with pytest.raises(clew.ClewError, match="expected 'tenant' to be registered for one accessor") as caught:
        clew.register_accessor("tenant", other)
    assert isinstance(caught.value, ValueError)
    assert "'tenant')" in str(caught.value)
    assert "'name')" in str(caught.value)
    assert str(caught.value).count("test_t13_accessors.py:") == 2
    assert in_bare_thread(clew.bind(seen)) == ["ada"]


def test_what_is_no_accessor_is_refused() -> None:
    with pytest.raises(TypeError, match=r"found no clear and no restore on .*thread_local_accessor"):
        clew.register_accessor("bad", type("Half", (), {"get": len, "set": len})())
    with pytest.raises(TypeError, match="expected the name of an attribute as a string, got 5"):
        clew.thread_local_accessor(local, 5)  # type: ignore[arg-type]


def test_keywords_travel_with_carried_values() -> None:
    kwargs: Any = {"self": 1, "fn": 2, "each": 3, "value": 4, "callable": 5}
    assert registered(Recorder(), lambda: clew.capture().run(dict, **kwargs)) == kwargs


@pytest.mark.usefixtures("tenant", "no_collector")
def test_nothing_carried_is_alive_after_the_job() -> None:
    value = Value()
    reference = weakref.ref(value)
    local.tenant = value
    in_bare_thread(clew.bind(seen)).clear()
    by_submit(clew.ContextThreadPoolExecutor, seen).clear()
    by_thread(clew.ContextThread, seen).clear()
    coroutine = clew.wrap_coroutine(as_coroutine_function(seen)(), Context())
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
    del local.tenant, value, coroutine
    assert is_gone(reference)
