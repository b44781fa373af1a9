"""
T06, T07 and T08: `threading.Thread`, its subclasses that override `run`, and `threading.Timer`.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import weakref
from contextvars import Context, copy_context
from threading import Event, Thread, Timer
from typing import Any, Callable, List

import pytest

import clew
from clew import ContextThread, ContextTimer
from clew.executors._starting import start_in_context
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone, reset_inside, user

inherits = bool(getattr(sys.flags, "thread_inherit_context", 0))


def with_target(base: Any, fn: Callable[[], object]) -> Thread:
    thread: Thread = base(target=fn)
    return thread


def with_own_run(base: Any, fn: Callable[[], object]) -> Thread:
    class Worker(base):  # type: ignore[misc]
        def run(self) -> None:
            fn()

    return Worker()


def with_run_set_on_it(base: Any, fn: Callable[[], object]) -> Thread:
    thread: Any = base()
    thread.run = fn
    return thread  # type: ignore[no-any-return]


def as_timer(base: Any, fn: Callable[[], object]) -> Thread:
    timer: Thread = base(0.001, fn)
    return timer


CASES = [
    pytest.param(with_target, Thread, ContextThread, id="T06-target"),
    pytest.param(with_own_run, Thread, ContextThread, id="T07-run-overridden"),
    pytest.param(with_run_set_on_it, Thread, ContextThread, id="T07-run-assigned"),
    pytest.param(as_timer, Timer, ContextTimer, id="T08-timer"),
]
edges = pytest.mark.parametrize(("make", "bare", "whole"), CASES)


def run(thread: Thread) -> None:
    thread.start()
    thread.join(DEADLINE)
    assert not thread.is_alive()


def seen_by(make: Callable[..., Thread], base: Any) -> object:
    """Set a value *after* the thread was made, start it, and return what it sees."""

    def scenario() -> object:
        found: list[object] = []
        thread = make(base, lambda: found.append(user.get()))
        user.set("ada")
        run(thread)
        return found[0]

    return in_empty_context(scenario)


@edges
def test_bare_thread_starts_empty_unless_threads_inherit(make: Any, bare: Any, whole: Any) -> None:
    assert seen_by(make, bare) == ("ada" if inherits else "nobody")


@edges
def test_thread_sees_the_values_of_its_starter(make: Any, bare: Any, whole: Any) -> None:
    assert seen_by(make, whole) == "ada"


@edges
def test_nothing_comes_back_and_tokens_are_valid_inside(make: Any, bare: Any, whole: Any) -> None:
    found: list[str] = []

    def body() -> None:
        found.append(reset_inside())
        user.set("from inside")

    def scenario() -> object:
        user.set("ada")
        run(make(whole, body))
        return user.get()

    assert in_empty_context(scenario) == "ada"
    assert found == ["ada"]


@edges
def test_run_of_the_thread_nests_under_its_starters(make: Any, bare: Any, whole: Any) -> None:
    def body() -> None:
        with clew.trace("inside"):
            pass

    for base, expected in ((whole, ["outer"]), (bare, ["outer"] if inherits else ["inside", "outer"])):
        with clew.record() as runs, clew.trace("outer"):
            run(make(base, body))
        assert sorted(root.name for root in runs.roots) == expected


@edges
def test_ended_thread_keeps_no_value_alive(make: Any, bare: Any, whole: Any, no_collector: None) -> None:
    def scenario() -> tuple[Thread, weakref.ref[Value]]:
        value = Value()
        user.set(value)
        thread = make(whole, lambda: None)
        run(thread)
        return thread, weakref.ref(value)

    thread, reference = in_empty_context(scenario)
    assert is_gone(reference)
    thread_reference = weakref.ref(thread)
    del thread
    assert is_gone(thread_reference)


@edges
def test_thread_that_cannot_start_keeps_nothing_and_can_start_later(
    make: Any, bare: Any, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    found: list[object] = []

    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("can't start new thread")

    def first_try(thread: Thread) -> weakref.ref[Value]:
        value = Value()
        user.set(value)
        starter = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
        with monkeypatch.context() as patch:
            patch.setattr(threading, starter, refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                thread.start()
        return weakref.ref(value)

    def second_try(thread: Thread) -> None:
        user.set("grace")
        run(thread)

    thread = make(whole, lambda: found.append(user.get()))
    reference = in_empty_context(first_try, thread)
    assert is_gone(reference)
    in_empty_context(second_try, thread)
    assert found == ["grace"]


@pytest.mark.parametrize("method", ["_bootstrap", "_bootstrap_inner"])  # where the new thread is at the interrupt
def test_thread_whose_start_is_interrupted_runs_all_the_same(method: str) -> None:
    class InterruptionError(BaseException):
        pass

    def interrupt(*_: object) -> None:  # as a signal handler does while `start` waits for the new thread
        assert has_begun.wait(DEADLINE)
        raise InterruptionError

    def start() -> None:
        begin = getattr(thread, method)
        setattr(thread, method, lambda: (has_begun.set(), is_undone.wait(DEADLINE), begin()))
        thread._started.wait = interrupt
        Thread.start(thread)

    def target() -> None:
        found.append(user.get())
        has_run.set()

    def scenario() -> None:
        user.set("ada")
        with pytest.raises(InterruptionError):
            start_in_context(thread, start)

    found: List[Any] = []
    has_begun, is_undone, has_run = Event(), Event(), Event()
    thread: Any = ContextThread(target=target)
    in_empty_context(scenario)
    is_undone.set()
    assert has_run.wait(DEADLINE)
    thread.join(DEADLINE)
    assert found == ["ada"]


@edges
def test_errors_are_the_stdlibs(make: Any, bare: Any, whole: Any) -> None:
    def errors(base: Any) -> list[str]:
        found = []
        thread = make(base, lambda: None)
        for call in (thread.join, thread.start, thread.join, thread.start):
            try:
                call()
            except RuntimeError as error:
                found.append(str(error))
        return found

    assert errors(whole) == errors(bare)
    assert len(errors(whole)) == 2


@pytest.mark.parametrize("base", [Thread, ContextThread, Timer, ContextTimer])
def test_forgotten_init_is_told_as_by_the_stdlib(base: Any) -> None:
    class Forgetful(base):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="__init__"):
        Forgetful().start()


def test_exception_reaches_excepthook_with_the_stdlibs_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise LookupError("lost")

    def frames(base: Any) -> list[str]:
        found: list[str] = []

        def hook(args: Any) -> None:
            traceback = args.exc_traceback
            while traceback is not None:
                found.append(traceback.tb_frame.f_code.co_name)
                traceback = traceback.tb_next

        monkeypatch.setattr("threading.excepthook", hook)
        run(base(target=fail))
        return found

    assert frames(ContextThread) == frames(Thread) == ["_bootstrap_inner", "run", "fail"]


def test_profile_and_trace_hooks_see_the_calls_that_the_stdlibs_show() -> None:
    import threading

    def calls(base: Any, install: Callable[[Any], None], before: Any) -> list[str]:
        found: list[str] = []

        def hook(frame: Any, event: str, argument: object) -> None:
            if event == "call":
                found.append(frame.f_code.co_name)

        install(hook)
        try:
            run(base(target=reset_inside))
        finally:
            install(before)  # which may be what counts coverage, in all threads to come
        return found[: found.index("reset_inside") + 1]

    hooks: Any = threading
    for hook in ((hooks.setprofile, hooks._profile_hook), (hooks.settrace, hooks._trace_hook)):
        assert calls(ContextThread, *hook) == calls(Thread, *hook) == ["run", "reset_inside"]


def test_timer_that_was_cancelled_calls_nothing_and_keeps_nothing(no_collector: None) -> None:
    found: list[object] = []

    def scenario() -> tuple[Thread, weakref.ref[Value]]:
        value = Value()
        user.set(value)
        timer = ContextTimer(DEADLINE, found.append, ["fired"])
        timer.start()
        timer.cancel()
        timer.join(DEADLINE)
        return timer, weakref.ref(value)

    timer, reference = in_empty_context(scenario)
    assert not timer.is_alive()
    assert found == []
    assert is_gone(reference)


def test_arguments_are_those_of_the_stdlib() -> None:
    found: list[object] = []

    def body(*args: object, **kwargs: object) -> None:
        found.append((args, kwargs))

    thread = ContextThread(None, body, "worker", (1,), {"two": 2}, daemon=True)
    assert (thread.name, thread.daemon) == ("worker", True)
    run(thread)
    run(ContextTimer(0.001, body, [3], {"four": 4}))
    assert found == [((1,), {"two": 2}), ((3,), {"four": 4})]
    assert isinstance(ContextTimer(1, body), Timer)


def test_run_that_was_put_on_a_thread_stays_there() -> None:
    thread: Any = ContextThread()
    thread.run = reset_inside
    run(thread)
    assert vars(thread)["run"] is reset_inside
    thread = ContextThread()
    run(thread)
    assert "run" not in vars(thread)


def test_given_context_is_shared_and_a_snapshot_is_copied() -> None:
    context = Context()
    run(ContextThread(target=user.set, args=("ada",), context=context))
    assert context[user] == "ada"
    snapshot = context.run(clew.capture)
    run(ContextTimer(0.001, user.set, ["grace"], context=snapshot))
    assert snapshot.run(user.get) == "ada"
    found: list[object] = []
    run(ContextThread(target=lambda: found.append(user.get()), context=snapshot))
    assert found == ["ada"]


def test_context_that_is_in_use_is_a_clear_error_in_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr("threading.excepthook", lambda args: found.append((args.exc_type, str(args.exc_value))))
    context = copy_context()
    context.run(lambda: run(ContextThread(target=print, context=context)))
    [(kind, message)] = found
    assert issubclass(kind, RuntimeError)
    assert kind.__name__ == "ContextInUseError"
    assert "context.copy()" in message


def test_error_of_the_function_itself_is_not_taken_for_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    monkeypatch.setattr("threading.excepthook", lambda args: found.append(str(args.exc_value)))

    def fail() -> None:
        raise RuntimeError("cannot enter the building")

    run(ContextThread(target=fail, context=Context()))
    assert found == ["cannot enter the building"]


@pytest.mark.parametrize("wrong", [{}, "context", 5])
@pytest.mark.parametrize("make", [lambda c: ContextThread(context=c), lambda c: ContextTimer(1, print, context=c)])
def test_context_of_a_wrong_kind_is_refused(make: Any, wrong: object) -> None:
    with pytest.raises(TypeError, match=r"expected a contextvars.Context or a clew.Snapshot"):
        make(wrong)


def test_loop_note_of_sniffio_stays_behind() -> None:
    program = (
        "import anyio, sniffio, clew\n"
        "async def inner(): print('ran')\n"
        "sniffio.current_async_library_cvar.set('asyncio')\n"
        "thread = clew.ContextThread(target=lambda: anyio.run(inner))\n"
        "thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE, check=True)
    assert (done.stdout, done.stderr) == ("ran\n", "")


@pytest.mark.usefixtures("no_collector")
def test_thread_whose_run_is_no_plain_function_is_gone_when_it_has_ended() -> None:
    seen: List[object] = []

    class Partial(ContextThread):
        def work(self, found: List[object]) -> None:
            found.append(user.get())

        run = functools.partialmethod(work, seen)  # type: ignore[assignment]

    thread = Partial()
    thread.start()
    thread.join(DEADLINE)
    reference = weakref.ref(thread)
    del thread
    assert len(seen) == 1
    assert is_gone(reference)
