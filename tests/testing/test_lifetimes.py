"""
The assertions about memory: what they pass, what they find, and what their messages show.
"""

from __future__ import annotations

import threading
import tracemalloc
from contextvars import Context, ContextVar, copy_context
from types import SimpleNamespace
from typing import Any, Callable, List

import pytest

import clew.errors
import clew.testing.lifetimes
from clew.testing.lifetimes import assert_flat, assert_released
from tests.edges._threads import DEADLINE


class Payload:
    """Stand for what a program uses for a while."""


def test_assert_released_passes_objects_that_are_gone_and_those_in_a_cycle() -> None:
    def use() -> Payload:
        payload: Any = Payload()
        payload.itself = payload
        return payload

    assert_released(use)


def test_assert_released_shows_what_refers_to_an_object() -> None:
    registry: List[Payload] = []

    def use() -> Payload:
        registry.append(Payload())
        return registry[-1]

    with pytest.raises(clew.errors.LifetimeError, match=r"at most 0 of 7 .* found 7; .*\n- list: \[<"):
        assert_released(use, times=7)
    with pytest.raises(AssertionError):
        assert_released(use, times=7, spare=6)
    assert_released(use, times=7, spare=7)


def test_assert_released_watches_each_object_of_a_tuple() -> None:
    registry: List[object] = []

    def use() -> object:
        kept = Payload()
        registry.append(kept)
        return Payload(), kept

    with pytest.raises(clew.errors.LifetimeError, match=r"at most 0 of 10 objects .* found 5;"):
        assert_released(use, times=5)


@pytest.mark.parametrize("made", [1, (Payload, "text")])
def test_assert_released_refuses_what_has_no_weak_references(made: object) -> None:
    with pytest.raises(clew.errors.ArgumentTypeError, match="weakly referenced"):
        assert_released(lambda: made)


previous: ContextVar[object] = ContextVar("previous")


def chain(length: int, *, refers_back: bool) -> Context:
    """Return the context of the last of some jobs. Each may refer to the context of the one before."""
    context = Context()
    for _ in range(length):
        before = context.copy() if refers_back else None
        context.run(previous.set, before)
        context = context.run(copy_context)
    return context


def test_assert_flat_passes_a_chain_that_does_not_grow() -> None:
    assert_flat(lambda length: chain(length, refers_back=False), spare_bytes=2_000)
    assert not tracemalloc.is_tracing()


def test_assert_flat_finds_a_chain_that_grows_and_shows_its_lines() -> None:
    with pytest.raises(clew.errors.LifetimeError, match=r"(?s)chain of 500 .* one of 50, .*test_lifetimes\.py:"):
        assert_flat(lambda length: chain(length, refers_back=True), short=50, long=500)
    assert not tracemalloc.is_tracing()


def test_assert_flat_waits_for_threads_that_are_ending(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: List[threading.Thread] = []
    may_end = threading.Event()

    def chain(length: int) -> None:
        held = [bytes(1_000) for _ in range(length)]
        threads.append(threading.Thread(target=lambda kept: may_end.wait(DEADLINE), args=(held,)))
        threads[-1].start()

    def sleep(_: float) -> None:
        may_end.set()
        while threads:
            threads.pop().join(DEADLINE)

    monkeypatch.setattr(clew.testing.lifetimes, "time", SimpleNamespace(sleep=sleep))
    assert_flat(chain)
    assert may_end.is_set()


def test_assert_flat_leaves_a_trace_of_the_program_running() -> None:
    tracemalloc.start()
    try:
        assert_flat(lambda length: None, spare_bytes=2_000)
        assert tracemalloc.is_tracing()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: assert_released(Payload, times=0), "ArgumentValueError", "times to be at least 1, got 0"),
        (lambda: assert_released(Payload, spare=-1), "ArgumentValueError", "spare to be at least 0, got -1"),
        (lambda: assert_released(Payload, times=True), "ArgumentTypeError", "times as an int, got bool True"),
        (lambda: assert_flat(print, short=1.5), "ArgumentTypeError", "short as an int, got float 1.5"),
        (lambda: assert_flat(print, short=9, long=9), "ArgumentValueError", "long to be greater than short"),
        (lambda: assert_flat(print, spare_bytes="1"), "ArgumentTypeError", "spare_bytes as an int, got str '1'"),
    ],
)
def test_wrong_options_are_refused(call: Callable[[], None], error: str, message: str) -> None:
    with pytest.raises(getattr(clew.errors, error), match=message):
        call()
