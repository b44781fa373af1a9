"""
`capture` and `Snapshot`.
"""

from __future__ import annotations

import threading
import weakref
from contextvars import Context, ContextVar, copy_context
from typing import Any, List

import pytest

import clew
from clew.context._stepping import entering as _entering
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone

var: ContextVar[object] = ContextVar("var", default="default")


def captured_with(value: object) -> clew.Snapshot:
    def set_and_capture() -> clew.Snapshot:
        var.set(value)
        return clew.capture()

    return in_empty_context(set_and_capture)


def test_run_sees_the_captured_values_and_returns_the_result() -> None:
    assert captured_with("ada").run(var.get) == "ada"
    assert captured_with("ada").run(lambda *args, **kwargs: (args, kwargs), 1, self=2, fn=3, callable=4) == (
        (1,),
        {"self": 2, "fn": 3, "callable": 4},
    )


def test_run_brings_no_change_back_to_caller_or_snapshot() -> None:
    snapshot = captured_with("ada")
    snapshot.run(var.set, "changed")
    assert var.get() == "default"
    assert snapshot.run(var.get) == "ada"


def test_run_lets_exceptions_through_as_they_are() -> None:
    error = LookupError()

    def fail() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        clew.capture().run(fail)
    assert caught.value is error


def test_snapshot_keeps_the_values_of_its_moment() -> None:
    context = copy_context()
    context.run(var.set, "then")
    snapshot = context.run(clew.capture)
    context.run(var.set, "now")
    assert snapshot.run(var.get) == "then"


def test_run_is_reentrant() -> None:
    snapshot = captured_with("ada")
    assert snapshot.run(snapshot.run, snapshot.run, var.get) == "ada"


def test_run_works_in_many_threads_at_once() -> None:
    snapshot = captured_with("ada")
    meeting = threading.Barrier(8, timeout=DEADLINE)
    found: List[object] = []

    def job(number: int) -> None:
        meeting.wait()
        var.set(number)
        meeting.wait()
        found.append((number, var.get()))

    threads = [threading.Thread(target=snapshot.run, args=(job, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(found) == [(number, number) for number in range(8)]  # type: ignore[type-var]


def test_keywords_reach_the_function_also_where_run_claims_some_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # PyPy's Context.run claims keywords. The workaround must work on every interpreter.
    monkeypatch.setattr(_entering, "_RUN_CLAIMS_KEYWORDS", True)
    kwargs: Any = {"self": 1, "callable": 2, "fn": 3, "context": 4, "carried": 5}
    assert clew.capture().run(dict, **kwargs) == kwargs
    assert clew.bind(dict)(**kwargs) == kwargs
    with clew.ContextThreadPoolExecutor(1) as pool:
        assert pool.submit(dict, **kwargs).result(DEADLINE) == kwargs


def test_a_snapshot_shows_how_much_it_holds() -> None:
    assert repr(captured_with("ada")).startswith("<clew.Snapshot of 1 variables at 0x")


def test_context_is_a_fresh_copy_each_time() -> None:
    snapshot = captured_with("ada")
    first, second = snapshot.context(), snapshot.context()
    assert isinstance(first, Context)
    assert first is not second
    first.run(var.set, "changed")
    assert second[var] == "ada"


@pytest.mark.usefixtures("no_collector")
def test_snapshot_lets_go_of_its_values() -> None:
    value = Value()
    snapshot, reference = captured_with(value), weakref.ref(value)
    snapshot.run(var.get)
    del value
    assert not is_gone(reference)
    del snapshot
    assert is_gone(reference)
