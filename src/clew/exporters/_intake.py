"""
What traced threads do with a pipeline: they put runs into its queue, and start and wake its thread.

`clew.exporters.pipeline` has what the thread itself does, and the callers that wait for it.

Guarantees:
    - Ending a run appends it to a queue. It never waits for an exporter, and never raises.
    - A run can start and end in a signal handler or in a finaliser, on top of whatever its thread is doing. So these
      functions take no lock of the `threading` module except without waiting.
    - An interrupt after any instruction loses no run that is in the queue, and no wake-up.

Assumes:
    - `append`, `pop` and `popleft` of a deque are atomic, and so are `setdefault` and `pop` of a dict.
"""

from __future__ import annotations

import _thread
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Union

from clew._shared.incidents import report
from clew.exporters import _threads
from clew.exporters._delivery import Delivery
from clew.exporters.protocol import Exporter
from clew.runs._tree.kept.copier import MAX_STRING_CHARS
from clew.runs._tree.kept.sizes import size_of_run
from clew.runs._tree.settings import settings
from clew.runs.run import RunTree

__all__ = ("Intake", "Marker", "Sleep", "open_intakes")

_FEW = 256  # while no more wait, only large runs are measured


class Sleep:
    """
    One sleep of the thread. While a queue is no longer than `quiet_below`, nobody need wake it.
    """

    __slots__ = ("quiet_below",)

    def __init__(self, quiet_below: int) -> None:
        self.quiet_below = quiet_below


class Marker:
    """
    An element of the queue for a caller who waits until all runs before it are delivered.
    """

    __slots__ = ("_passed", "deadline", "is_passed", "is_sent", "keeping")

    def __init__(self, deadline: float = 0.0, keeping: Sequence[Exporter] = ()) -> None:
        self.deadline = deadline
        self.keeping = keeping
        self.is_sent = self.is_passed = False
        self._passed = threading.Lock()
        self._passed.acquire()

    def let_pass(self) -> None:
        self.is_passed = True
        with suppress(RuntimeError):  # it is released already
            self._passed.release()

    def wait(self, deadline: float) -> bool:
        # Signals are handled during this wait, and an exception of a handler ends it, perhaps before the release.
        left = min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)
        if not self.is_passed and self._passed.acquire(timeout=left):
            self._passed.release()  # several callers may wait for one marker
        return self.is_passed


class Intake(ABC):
    """
    The queue of one pipeline. `Pipeline` is its only subclass.
    """

    def __init__(self, delivery: Delivery, max_queued: int, max_queued_bytes: Optional[int]) -> None:
        self._delivery = delivery
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        # Runs that have ended, and a marker for each caller who waits for all runs before it. Runs that have started
        # have a queue of their own, so that they take no places from these.
        self._queue: Deque[Union[RunTree, Marker]] = deque()
        self._starts: Deque[RunTree] = deque()
        self._start_hook: Callable[[RunTree], object] = (
            self._put_start if self._delivery.wants_starts else self._on_start
        )
        self._end_hook: Callable[[RunTree], object] = self._on_end
        self._after: Optional[Intake] = None  # the one that has replaced this one
        self._reset()

    def _reset(self) -> None:
        self._queue.clear()
        self._starts.clear()
        self._thread: Optional[threading.Thread] = None
        # Empty, or with the claim of the thread or of the call that starts it. The thread takes its claim (a lock) as
        # it begins. A call that fails to start it tries to take the claim first: then the thread never begins.
        self._claims: Dict[None, Any] = {}
        self._wake = threading.Lock()  # released to wake the thread
        self._wake.acquire()
        self._sleep = Sleep(0)
        # The sizes in bytes of the runs that wait or that exporters have now, by the id of the run. While few runs
        # wait, only the large ones are measured. The sum may lack a run that another thread adds, until the next batch.
        self._sizes: Dict[int, int] = {}
        self._bytes = self._start_bytes = 0
        self._measure_from()

    def _renew(self) -> None:
        """
        Begin anew in a forked child: the thread, the runs and the callers who wait are all the parent's.
        """
        self._reset()
        self._delivery.renew()

    @abstractmethod
    def _work(self, claim: Any) -> None:
        """
        Do what the thread of the pipeline does.
        """

    def _on_start(self, run: RunTree) -> None:  # noqa: ARG002  a hook
        # The thread is started here and not when a run ends: a run may end in a finaliser that interrupts `threading`.
        if self._thread is None:
            self._start_thread()

    def _put_start(self, run: RunTree) -> None:
        if self._thread is None:
            self._start_thread()
        starts = self._starts
        if run._size or len(starts) > self._few:
            size = size_of_run(run)
            if self._start_bytes and self._start_bytes + size > self._most_bytes():
                _report_dropped_start()
                return
            self._start_bytes += size
        starts.append(run)
        if len(starts) > self._max_queued:
            with suppress(IndexError):
                newest = starts.pop()
                if self._max_queued or self._after is None:
                    _report_dropped_start()
                else:
                    self._after._start_hook(newest)
        else:
            sleep = self._sleep
            if len(starts) > sleep.quiet_below:
                self._wake_from(sleep)

    def _on_end(self, run: RunTree) -> None:
        try:
            queue = self._queue
            if (run._size or len(queue) > self._few) and not self._has_room(run):
                return
            queue.append(run)
            # Append first, compare second. The thread begins a new sleep first and looks at the queue second, before
            # it waits. So either the thread sees this run, or this call sees that it must wake the thread.
            sleep = self._sleep
            if len(queue) > sleep.quiet_below:
                self._look_after_queue(sleep)
        except BaseException:  # an interrupt: the run may be in the queue, and no other may follow
            self._wake_from(self._sleep)
            raise

    def _has_room(self, run: RunTree) -> bool:
        size = size_of_run(run)
        if not size:
            return True
        if self._bytes and self._bytes + size > self._most_bytes():
            self._drop()
            return False
        self._sizes[id(run)] = size
        self._bytes += size
        return True

    def _measure_from(self) -> None:
        self._few = min(_FEW, self._most_bytes() // (4 * MAX_STRING_CHARS))

    def _most_bytes(self) -> int:
        return settings.max_queued_bytes if self._max_queued_bytes is None else self._max_queued_bytes

    def _drop(self) -> None:
        self._delivery.count_lost(1)
        report(
            "runs_dropped",
            "a run was dropped, as the exporter is slower than the program; record fewer runs, or sample traces",
        )

    def _look_after_queue(self, sleep: Sleep) -> None:
        if len(self._queue) <= self._max_queued:
            self._wake_from(sleep)
            return
        try:
            newest = self._queue.pop()
        except IndexError:  # the thread has emptied the queue meanwhile
            return
        if isinstance(newest, Marker):
            self._queue.append(newest)
            return
        self._sizes.pop(id(newest), None)
        if self._max_queued or self._after is None:
            self._drop()
        else:
            self._after._on_end(newest)

    def _wake_from(self, sleep: Sleep) -> None:
        if self._thread is None:
            self._start_thread()
        with suppress(RuntimeError):  # it is released already
            self._wake.release()
        # Last, as an interrupt may come before. If the thread sleeps again already, that is another sleep.
        sleep.quiet_below = self._max_queued

    def _start_thread(self) -> bool:
        if _threads.is_ending():
            return False  # the runs are delivered by `shutdown`
        claim = threading.Lock()
        try:
            if self._claims.setdefault(None, claim) is not claim:
                return True  # another call starts it
            self._thread = thread = _threads.new_thread(self._work, claim, _wake_all)
            if _threads.is_starting_impossible_here():
                _thread.start_new_thread(self._start_elsewhere, (thread, claim))
            else:
                thread.start()
            return True
        except BaseException as error:  # noqa: BLE001  it is raised there
            return self._fail_to_start(claim, error)

    def _start_elsewhere(self, thread: threading.Thread, claim: Any) -> None:
        try:
            thread.start()
        except BaseException as error:  # noqa: BLE001  as above
            self._fail_to_start(claim, error)

    def _fail_to_start(self, claim: Any, error: BaseException) -> bool:
        # After an interrupt the thread may run all the same, or be about to.
        current: Any = self._claims.get(None)
        if current is claim and claim.acquire(blocking=False):
            self._thread = None
            self._claims.pop(None, None)
        if not isinstance(error, RuntimeError):
            raise error
        # Too many threads, or the interpreter is shutting down.
        if self._queue:
            report("exports_failed", "the thread that exports runs could not be started; they wait", error=error)
        return False

    # Called by the thread.

    def _take(self, ended: List[RunTree], most: int) -> Optional[Marker]:
        """
        Move at most so many runs from the queue to `ended`; stop at a marker and return it.
        """
        for _ in range(most):
            try:
                item = self._queue.popleft()
            except IndexError:
                return None
            if isinstance(item, Marker):
                return item
            ended.append(item)
        return None

    def _take_starts(self) -> List[RunTree]:
        started: List[RunTree] = []
        with suppress(IndexError):  # `_put_start` may take the last one away
            while len(started) < self._max_queued:
                started.append(self._starts.popleft())
        self._start_bytes = 0
        return started


def _report_dropped_start() -> None:
    report("starts_dropped", "an exporter was not told of a run that has started, as it is slower than the program")


# The pipelines that take runs, which begin anew in a forked child. A dict for its order and its atomic operations.
open_intakes: Dict[Intake, None] = {}


def _wake_all() -> None:
    for intake in list(open_intakes):
        with suppress(RuntimeError):  # it is released already
            intake._wake.release()


def _renew_all() -> None:
    for intake in list(open_intakes):
        intake._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
