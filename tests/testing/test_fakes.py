"""
The clock that stands still and the ids that are counted: for whom they hold, for how long, and what they leave behind.
"""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Callable, Iterator, List
from uuid import UUID

import pytest

import clew
import clew.errors
from clew.runs import headers, run as run_module
from clew.runs._tree import ids
from clew.runs._tree.settings import settings
from clew.testing.fakes import CountedIds, FakeClock
from tests.edges._threads import DEADLINE

SECOND = 1_000_000_000
FAKED = ("now_ns", "new_id_text", "new_random_digits", "next_random_number")


def placed() -> List[Any]:
    """Return what each module has under the names that are faked."""
    return [
        (name, faked, vars(module)[faked])
        for name, module in sorted(sys.modules.items())
        if name.startswith("clew.")
        for faked in FAKED
        if faked in vars(module)
    ]


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    before = placed()
    assert len(before) >= 5
    yield
    assert placed() == before
    assert ids.now_ns is run_module.now_ns is headers.now_ns is time.time_ns


def test_the_clock_stands_still_until_it_is_told_otherwise() -> None:
    with FakeClock(start_ns=7) as clock, clew.record() as runs:
        with clew.trace("outer") as outer:
            clock.advance(1.5)
            with clew.trace("inner"):
                outer.add_event("told")
            clock.set(20 * SECOND)
        assert clock.now_ns == 20 * SECOND
    outer_run, inner_run = runs
    assert (outer_run.start_time_ns, outer_run.end_time_ns) == (7, 20 * SECOND)
    assert (inner_run.start_time_ns, inner_run.end_time_ns) == (7 + 3 * SECOND // 2,) * 2
    assert outer_run.events == ({"time_ns": 7 + 3 * SECOND // 2, "name": "told"},)
    assert repr(clock) == "<clew.testing.fakes.FakeClock at 20000000000 ns>"


def test_a_clock_that_is_put_back_ends_no_run_before_its_start() -> None:
    with FakeClock() as clock, clew.record() as runs, clew.trace("outer"):
        start = clock.now_ns
        clock.set(start - SECOND)
        with clew.trace("inner"):
            clock.set(0)
    assert {(run.start_time_ns, run.end_time_ns) for run in runs} == {(start, start)}


def test_the_clock_is_of_all_threads_and_loses_no_step_of_any() -> None:
    with FakeClock(start_ns=0) as clock, clew.record() as runs:

        def advance(_: int) -> None:
            with clew.trace("step"):
                for _ in range(500):
                    clock.advance(0.001)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(advance, range(8), timeout=DEADLINE))
    assert clock.now_ns == 4 * SECOND
    assert all(0 <= run.start_time_ns < (run.end_time_ns or 0) <= 4 * SECOND for run in runs)


def test_blocks_that_overlap_have_the_clock_of_the_one_entered_last() -> None:
    first, second = FakeClock(start_ns=1), FakeClock(start_ns=2)
    assert clew.RunTree("before").start_time_ns > 2
    first.__enter__()
    assert clew.RunTree("one").start_time_ns == 1
    second.__enter__()
    assert clew.RunTree("two").start_time_ns == 2
    first.__exit__(None, None, None)
    assert clew.RunTree("still two").start_time_ns == 2
    second.__exit__(None, None, None)
    assert clew.RunTree("after").start_time_ns > 2


def test_a_module_that_is_loaded_in_the_block_does_not_keep_the_fake(monkeypatch: pytest.MonkeyPatch) -> None:
    late = ModuleType("clew.late")
    with FakeClock() as clock, CountedIds():
        late.__dict__.update(now_ns=ids.now_ns, new_id_text=ids.new_id_text)
        monkeypatch.setitem(sys.modules, "clew.late", late)
        assert vars(late)["now_ns"]() == clock.now_ns
    assert vars(late)["now_ns"] is time.time_ns
    assert vars(late)["new_id_text"] is ids.new_id_text
    monkeypatch.undo()


def test_what_somebody_else_has_put_in_the_clocks_place_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs() -> int:
        return 1

    monkeypatch.setattr(run_module, "now_ns", theirs)
    with FakeClock():
        assert run_module.now_ns is theirs
    assert run_module.now_ns is theirs
    monkeypatch.undo()


def test_a_block_that_fails_leaves_nothing_behind() -> None:
    with pytest.raises(ZeroDivisionError), FakeClock(), CountedIds():
        1 / 0
    assert clew.RunTree("after").id.int > 1 << 100


def test_ids_are_counted_in_the_order_in_which_they_are_asked_for() -> None:
    with CountedIds() as ids, clew.record() as runs, clew.trace("outer") as outer, clew.trace("inner") as inner:
        assert inner.id == UUID("00000000-0000-7000-8000-000000000001") == ids.nth(1)
        assert inner.trace_id == outer.id == ids.nth(2)
        assert inner.to_headers()["traceparent"] == "00-00000000000070008000000000000002-8000000000000001-03"
    assert runs.find(name="outer").id == ids.nth(2)
    assert outer.id.version == 7
    assert ids.nth(10**15).int & (1 << 62) - 1 == 10**15
    assert repr(ids) == "<clew.testing.fakes.CountedIds, 2 given>"


def test_ids_that_were_there_before_stay_and_those_of_afterwards_are_random() -> None:
    before = clew.RunTree("before")
    known = before.id
    asked_late = clew.RunTree("asked late")
    with CountedIds() as ids:
        assert before.id == known
        assert asked_late.id == ids.nth(1)
    assert asked_late.id == ids.nth(1)
    assert clew.RunTree("after").id.int > 1 << 100


def test_dotted_orders_are_known_to_the_letter() -> None:
    with FakeClock(), CountedIds(), clew.record(), clew.trace("outer"), clew.trace("inner") as inner:
        assert inner.dotted_order == (
            "20200101T000000000000Z00000000-0000-7000-8000-000000000001"
            ".20200101T000000000000Z00000000-0000-7000-8000-000000000002"
        )


def test_no_two_threads_get_the_same_id() -> None:
    with CountedIds() as ids:

        def make(_: int) -> List[UUID]:
            return [clew.RunTree("one").id for _ in range(250)]

        with ThreadPoolExecutor(4) as pool:
            found = [each for made in pool.map(make, range(8), timeout=DEADLINE) for each in made]
    assert sorted(found) == [ids.nth(number) for number in range(1, 2001)]


def test_counted_ids_are_the_lowest_to_a_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    with CountedIds() as ids, clew.record() as runs:
        for ratio in (0.999, 1.0):
            monkeypatch.setattr(settings, "sampler", ratio)
            with clew.trace(f"one of {ratio}"):
                pass
    monkeypatch.undo()
    assert [(run.name, run.id) for run in runs] == [("one of 1.0", ids.nth(2))]


def test_a_trace_that_nobody_records_and_began_before_keeps_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "sampler", 0.0)
    with clew.record(), clew.trace("root") as root:
        before = root.id
        with CountedIds():
            assert root.id == before
    monkeypatch.undo()


@pytest.mark.parametrize("make", [FakeClock, CountedIds])
def test_an_instance_is_for_one_block(make: Callable[[], Any]) -> None:
    fake = make()
    with fake, pytest.raises(clew.errors.AlreadyEnteredError, match="new"):
        fake.__enter__()
    with pytest.raises(clew.errors.AlreadyEnteredError, match="new"):
        fake.__enter__()


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (
            lambda: FakeClock(start_ns=1.5),
            TypeError,
            r"expected a time in nanoseconds as an int, got float 1\.5; .*int\(",
        ),
        (lambda: FakeClock(start_ns=-1), ValueError, "expected nanoseconds since 1970, got -1"),
        (lambda: FakeClock().set(True), TypeError, "got bool True"),
        (lambda: FakeClock().advance("1"), TypeError, "expected seconds as a number, got str '1'"),
        (lambda: FakeClock().advance(True), TypeError, "got bool True"),
        (lambda: FakeClock().advance(-1), ValueError, r"got -1; a clock that is put back is clock\.set"),
        (lambda: FakeClock().advance(float("nan")), ValueError, "got nan"),
        (lambda: FakeClock().advance(float("inf")), ValueError, "got inf"),
        (lambda: CountedIds().nth(0), ValueError, "got 0; the first one is 1"),
        (lambda: CountedIds().nth("1"), TypeError, "got str '1'"),
    ],
)
def test_a_wrong_use_says_what_to_do(use: Callable[[], Any], error: type, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        use()
    assert isinstance(raised.value, clew.ClewError)


def test_the_fakes_need_no_pytest() -> None:
    code = "import sys, clew.testing.fakes; print('pytest' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=DEADLINE, check=True)
    assert ran.stdout.split() == ["False"]
