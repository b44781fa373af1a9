"""
Threads share one object of clew's, on Pythons without a GIL too.

`CLEW_SHARING_SECONDS=300` makes the stress longer, and so does the nox session `sharing`.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict, deque
from typing import Any, Dict, Tuple

import pytest

import clew
from clew._shared.locks import delete_once
from clew._shared.one_use import EnteredOnce
from clew.errors import AlreadyEnteredError
from clew.exporters.memory import MemoryExporter
from clew.runs._tree.settings import settings
from tests._sharing import KINDS, share, together

SECONDS = float(os.environ.get("CLEW_SHARING_SECONDS", "1")) / len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("settings_as_they_were")
def test_threads_that_share_one_object_break_nothing(kind: str) -> None:
    assert share(kind, SECONDS) > 0


def test_run_that_two_threads_end_at_once_ends_once() -> None:
    ended = []
    with clew.record() as runs:
        shared = [clew.RunTree("shared") for _ in range(200)]
        for run in shared:
            run.post()
            run._call_at_end(ended.append)
        before = clew.stats().get("runs_changed_after_end", 0)
        together(lambda _: [run.end() for run in shared], threads=2)
    assert len(ended) == len(shared)
    assert clew.stats()["runs_changed_after_end"] - before == len(shared)
    assert {run.status for run in runs} == {"success"}


def test_deletion_succeeds_in_one_thread() -> None:
    class Slot:
        __slots__ = ("value",)

    def delete(slots: Any) -> int:
        deleted = 0
        for slot in slots:
            try:
                delete_once(slot, "value")
                deleted += 1
            except AttributeError:
                pass
        return deleted

    slots = [Slot() for _ in range(1_000)]
    for slot in slots:
        slot.value = 1  # type: ignore[attr-defined]  # it has no annotation
    assert sum(together(lambda _: delete(slots))) == len(slots)


def test_block_that_two_threads_enter_at_once_is_entered_by_one() -> None:
    blocks = [EnteredOnce() for _ in range(1_000)]

    def enter(_: int) -> int:
        entered = 0
        for block in blocks:
            try:
                block._enter_once("a")
                entered += 1
            except AlreadyEnteredError:
                pass
        return entered

    assert sum(together(enter)) == len(blocks)


@pytest.mark.usefixtures("settings_as_they_were")
def test_trace_begins_by_the_sampler_before_or_the_one_after() -> None:
    rounds = 300
    with clew.record() as runs:
        clew.configure(sampler=0.0)
        before = clew.stats().get("samplers_failed", 0)

        def work(number: int) -> None:
            for _ in range(rounds):
                if number:
                    with clew.trace("never recorded"):
                        pass
                else:
                    clew.configure(sampler=lambda root: 0.0)
                    clew.configure(sampler=0.0)

        together(work)
    assert (len(runs), clew.stats().get("samplers_failed", 0) - before) == (0, 0)


def test_sampler_that_is_removed_while_a_trace_begins_records_it() -> None:
    assert settings.sampling is None
    assert type(settings.decide("root", "chain")) is str


def test_memory_exporter_is_read_and_cleared_while_it_gets_runs() -> None:
    exporter = MemoryExporter()
    with clew.record() as runs, clew.trace("kept"):
        pass
    found = tuple(runs) * 20

    def work(number: int) -> None:
        for _ in range(500):
            if number == 0:
                exporter.export(found)
            elif number == 1:
                exporter.clear()
            else:
                assert {run.name for run in exporter.runs} <= {"kept"}

    together(work)
    exporter.clear()
    assert exporter.runs == ()


class OwnDeque(deque):  # type: ignore[type-arg]  # 3.8
    """A deque whose copy runs code of the program."""

    def __init__(self, items: Any = (), maxlen: int = 50) -> None:
        super().__init__(items, maxlen)


def change_set(value: Any, number: int) -> None:
    value.add(number % 97)
    value.discard((number + 30) % 97)


def change_dict(value: Any, number: int) -> None:
    value[number % 97] = number
    value.pop((number + 30) % 97, None)


def change_list(value: Any, number: int) -> None:
    value.append(number)
    del value[: max(0, len(value) - 50)]


def change_deque(value: Any, number: int) -> None:
    value.append(number)


CHANGED: Dict[str, Tuple[Any, Any, type]] = {
    "set": (set(), change_set, list),
    "dict": ({}, change_dict, dict),
    "ordered dict": (OrderedDict(), change_dict, dict),
    "list": ([], change_list, list),
    "deque": (deque(maxlen=50), change_deque, list),
    "own deque": (OwnDeque(), change_deque, list),
}


@pytest.mark.parametrize("kind", CHANGED)
@pytest.mark.parametrize("shown", ["itself", "keys"])
def test_payload_that_another_thread_changes_is_recorded(kind: str, shown: str) -> None:
    value, change, copied = CHANGED[kind]
    keys = getattr(value, "keys", None) if shown == "keys" else None
    is_over = threading.Event()

    @clew.traceable
    def look(value: object) -> None:
        """Take a value."""

    def keep_changing() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            change(value, number)

    def keep_looking() -> None:
        try:
            for _ in range(100):
                look(value if keys is None else keys())
        finally:
            is_over.set()

    with clew.record() as runs:
        together(lambda number: keep_changing() if number else keep_looking(), threads=2)
    assert {type(run.inputs["value"]) for run in runs} == {copied if keys is None else list}
