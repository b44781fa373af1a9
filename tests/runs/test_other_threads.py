"""
Moments at which another thread comes in between, each brought about on purpose.

By chance they are rare: with a GIL they need a switch between two instructions, without one two threads at once.
"""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from threading import Event, Thread
from typing import Any, Callable, Dict, Iterator, List

import pytest

import clew
from clew._shared import locks
from clew._shared.locks import RUNS_WITHOUT_GIL, delete_once
from clew.runs._tree import forks, hooks, recipe
from clew.runs._tree.identity import Identity
from clew.runs._tree.kept import outputs
from clew.runs._tree.kept.sizes import LARGE_BYTES, note, take, totals
from tests._sharing import THREADS, together

IBAN = "DE75 5121 0800 1245 1261 99"


class ChangedMeanwhile:
    """What is hidden, as a thread sees it while another one changes it: after the `read`-th reading of an attribute."""

    def __init__(self, attribute: str, read: int, change: Callable[[], None]) -> None:
        self._native = recipe.hiding
        self._attribute = attribute
        self._left = read
        self._change = change

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._native, name)
        if name == self._attribute:
            self._left -= 1
            if not self._left:
                self._change()
        return found


@pytest.mark.usefixtures("settings_as_they_were")
@pytest.mark.parametrize("read", [1, 2])
def test_name_that_is_hidden_while_a_function_is_first_called_stays_hidden(
    read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    @clew.traceable
    def pay(iban: str) -> None:
        """Take a number that is a secret."""

    changing: Any = ChangedMeanwhile("changes", read, lambda: clew.configure(hide=["iban"]))
    monkeypatch.setattr(recipe, "hiding", changing)
    with clew.record():
        pay(IBAN)
    monkeypatch.undo()
    with clew.record() as runs:
        pay(IBAN)
    assert runs.find(name="pay").inputs == {"iban": "<hidden>"}


@pytest.mark.usefixtures("settings_as_they_were")
@pytest.mark.parametrize("read", [1, 2])
def test_outputs_that_are_hidden_while_a_function_is_decorated_stay_hidden(
    read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing: Any = ChangedMeanwhile("outputs", read, lambda: clew.configure(hide_outputs=True))
    monkeypatch.setattr(outputs, "hiding", changing)

    @clew.traceable
    def find() -> str:
        return IBAN

    monkeypatch.undo()
    with clew.record() as runs:
        find()
    assert runs.find(name="find").outputs == {}


class Forgetful(Identity):
    """The identity of a run whose dotted order an exporter's thread forgets, as soon as it has been read."""

    __slots__ = ("orders",)

    @property
    def _order(self) -> Any:
        return self.orders.pop() if self.orders else None

    @_order.setter
    def _order(self, order: Any) -> None:
        """Forget it."""


def test_dotted_order_is_whole_if_that_of_a_run_above_is_forgotten_meanwhile() -> None:
    with clew.record():
        above = clew.RunTree("above")
        run = above.create_child("middle").create_child("below")
    whole = run.dotted_order
    middle: Any = run._identity.parent
    forgetful: Any = Forgetful()
    forgetful.parent, forgetful._id_text = middle.parent.parent, middle.parent.id_text()
    forgetful.start_time_ns, forgetful.orders = middle.parent.start_time_ns, [whole.split(".")[0]]
    middle.parent = forgetful
    middle._order = run._identity._order = None
    assert run.dotted_order == whole


def test_watcher_that_is_added_while_others_are_called_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watchers(Dict[Any, None]):
        def __iter__(self) -> Iterator[Any]:
            found = list(super().__iter__())
            hooks.add_watcher(added)
            return iter(found)

    def added() -> None:
        """Watch."""

    monkeypatch.setattr(hooks, "quiet_until_ns", 0)
    monkeypatch.setattr(hooks, "_watchers", Watchers())
    hooks.call_watchers(1)
    assert hooks.quiet_until_ns == 0


def test_deletion_that_is_interrupted_can_be_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Claims(Dict[Any, object]):
        is_interrupted = False

        def setdefault(self, key: Any, value: Any = None) -> Any:
            found = super().setdefault(key, value)
            if not Claims.is_interrupted:
                Claims.is_interrupted = True
                raise KeyboardInterrupt
            return found

    class Owner:
        value = 0

    owner = Owner()
    owner.value = 1
    monkeypatch.setattr(locks, "_claims", tuple(Claims() for _ in range(64)))
    with pytest.raises(KeyboardInterrupt):
        delete_once(owner, "value")
    delete_once(owner, "value")
    assert owner.value == 0


def test_bytes_that_threads_take_at_once_are_all_counted() -> None:
    def work(_: int) -> None:
        for _ in range(20_000):
            note(LARGE_BYTES)
            assert take() == LARGE_BYTES

    before = totals.taken
    together(work)
    assert totals.taken - before == THREADS * 20_000 * LARGE_BYTES


def test_fork_does_not_fail_while_other_threads_create_ids() -> None:
    is_over = Event()

    def work(number: int) -> None:
        if number:
            while not is_over.is_set():
                key = object()
                forks._creating[0][key] = 0
                forks._creating[0].pop(key)
            return
        try:
            for _ in range(300):
                forks._before_fork()
        finally:
            is_over.set()

    together(work)


@pytest.mark.skipif(not RUNS_WITHOUT_GIL, reason="needs a Python without a GIL, where two threads can read one slot")
def test_stream_whose_end_two_threads_reach_at_once_ends_once() -> None:
    reduced: List[Any] = []

    def reduce(items: List[int]) -> List[int]:
        reduced.append(items)
        if len(reduced) == 1:
            state._run = run  # the other thread has read it already
            together(lambda _: state.end(StopIteration(), is_closed=False), threads=1)
        return items

    @clew.traceable(reduce_fn=reduce)
    def numbers() -> Iterator[int]:
        return map(int, "12")

    with clew.record() as runs:
        stream: Any = numbers()
        state = stream._clew_context
        run = state._run
        assert list(stream) == [1, 2]
    assert len(reduced) == 1
    assert runs.find(name="numbers").outputs == {"output": [1, 2]}


# 3.13 without a GIL counts no references to most functions, once there was a thread. Under pytest it counts them all.
SHARED = """
import gc, sys, threading, weakref, clew

def plain(): ...
@clew.traceable
def traced(): ...

threading.Thread(target=plain).start()
"""
IS_COUNTED = """
def is_counted(function):
    before = sys.getrefcount(function)
    others = [function] * 10
    return sys.getrefcount(function) != before

assert is_counted(traced) == is_counted(plain)
"""
MADE_IN_A_FUNCTION = """
def make():
    made = clew.traceable(plain)
    made()
    return weakref.ref(made)

made = make()
gc.collect()
assert made() is None
"""
WITH_OPTIONS = """
class Hook:
    def __call__(self, run): ...

def call():
    hook = Hook()
    traced(langsmith_extra={"on_end": hook})
    return weakref.ref(hook)

with clew.record():
    hook = call()
gc.collect()
assert hook() is None
"""


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="needs CPython, which counts references")
def test_threads_share_a_traced_function_of_a_module_as_they_share_the_undecorated_one() -> None:
    subprocess.run([sys.executable, "-c", SHARED + IS_COUNTED], check=True)


@pytest.mark.parametrize("code", [MADE_IN_A_FUNCTION, WITH_OPTIONS])
def test_traced_function_that_is_made_in_a_function_or_for_one_call_is_let_go(code: str) -> None:
    subprocess.run([sys.executable, "-c", SHARED + code], check=True)


def test_view_of_an_ordered_dict_that_another_thread_changes_is_recorded_in_an_object_too() -> None:
    changed: OrderedDict[int, int] = OrderedDict()
    is_over = Event()

    def keep_changing() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            changed[number % 97] = number
            changed.pop((number + 30) % 97, None)

    @clew.traceable
    def look(error: BaseException) -> None:
        """Take an error, which is recorded as its `repr`."""

    thread = Thread(target=keep_changing)
    thread.start()
    try:
        with clew.record() as runs:
            for _ in range(300):
                look(ValueError(changed, changed.keys(), [changed.values()]))
    finally:
        is_over.set()
        thread.join()
    texts: List[Any] = [run.inputs["error"] for run in runs]
    assert [text for text in texts if "cannot be copied" in text] == []
