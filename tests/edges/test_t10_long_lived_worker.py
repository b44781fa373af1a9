"""
T10: a long-lived worker thread fed by a queue, whose items each belong to whoever has put them.
"""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, List

import pytest

import clew
from tests.edges._threads import DEADLINE, in_empty_context, user


def visit() -> object:
    """Return what is there, and leave something else."""
    before = user.get()
    user.set("changed")
    return before


def bare(found: List[object]) -> Any:
    return lambda: found.append(visit())


def bound(found: List[object]) -> Any:
    return clew.bind(lambda: found.append(visit()))


def captured(found: List[object]) -> Any:
    snapshot = clew.capture()
    return lambda: found.append(snapshot.run(visit))


def attached(found: List[object]) -> Any:
    snapshot = clew.capture()

    def work() -> None:
        with snapshot.attached():
            found.append(visit())

    return work


def seen_by_worker(make_item: Callable[[List[object]], Any]) -> List[object]:
    """Return what each of three items saw, and at the end the worker itself."""
    items: queue.Queue[Any] = queue.Queue()
    found: List[object] = []

    def work() -> None:
        for item in iter(items.get, None):
            item()
        found.append(user.get())

    worker = threading.Thread(target=work)
    in_empty_context(worker.start)

    def put(name: str) -> None:
        user.set(name)
        items.put(make_item(found))

    for name in ("ada", "grace", "alan"):
        in_empty_context(put, name)
    items.put(None)
    worker.join(DEADLINE)
    return found


def test_items_of_a_bare_worker_see_what_the_last_one_left() -> None:
    assert seen_by_worker(bare) == ["nobody", "changed", "changed", "changed"]


@pytest.mark.parametrize("make_item", [bound, captured, attached])
def test_items_see_what_was_current_where_they_were_put_and_the_worker_stays_clean(make_item: Any) -> None:
    assert seen_by_worker(make_item) == ["ada", "grace", "alan", "nobody"]
