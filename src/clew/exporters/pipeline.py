"""
The way from the end of a run to the exporters: a bounded queue and one thread.

How an exporter is called is in `clew.exporters._delivery`; which exporters there are, in
`clew.exporters.configuration`.

Guarantees:
    - Ending a run appends it to a queue. It never waits for an exporter, and never raises.
    - A run can start and end in a signal handler or in a finaliser, on top of whatever its thread is doing. So the
      functions that traced threads call take no lock of the `threading` module except without waiting.
    - An interrupt after any instruction of these functions loses no run that is in the queue, and no wake-up.
    - `flush` and `shutdown` return by their deadline.

Assumes:
    - `append`, `pop` and `popleft` of a deque are atomic, and so are `setdefault` and `pop` of a dict.
"""

from __future__ import annotations

import _thread
import os
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from time import monotonic
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple, Union

from clew._shared.incidents import report
from clew.exporters import _threads
from clew.exporters._delivery import Delivery, ForkedError
from clew.exporters.protocol import Exporter
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import ScopeOptions, current_options
from clew.runs._tree.kept.copier import MAX_STRING_CHARS
from clew.runs._tree.kept.sizes import size_of_run
from clew.runs._tree.settings import settings
from clew.runs.run import RunTree

__all__ = ("Pipeline",)

_TOO_LATE = "they were not delivered before the deadline of a shutdown"
_FEW = 256  # while no more wait, only large runs are measured


class Pipeline:
    """
    Hand the runs that end in this process to exporters, in batches, in a daemon thread of its own.

    Ending a run puts it into a queue and does no more. Exporters are called in the thread, in an empty context in
    which nothing is recorded, so that an exporter can be traced code.

    Context:
        *When*: nothing is captured. *What the callee sees*: exporters see an empty context. *What comes back*:
        nothing. Thread-safe.

    Args:
        exporters: each of them gets all runs.
        before: the pipeline that this one replaces. An exporter of both is called by the two in turn.
        max_queued: how many runs may wait. A run that ends while that many wait is dropped, and counted as
            ``runs_dropped``. Runs that have started wait in a queue of the same size; one that finds it full is
            counted as ``starts_dropped``, and its end is exported all the same.
        max_queued_bytes: about how many bytes the runs that wait may take together; by default what `clew.configure`
            has set. A run that ends while there is no room for it is dropped and counted, too, unless no other waits.
        max_batch: how many runs an exporter gets at once, at most.
        delay: the seconds that a run waits for others to make a batch.
        attempts: how often a batch is tried before it is given up and counted as ``runs_lost``.
        back_off: the seconds to wait after the first failure, more or less; after each further one, twice as long.
    """

    def __init__(
        self,
        exporters: Sequence[Exporter],
        *,
        before: Optional[Pipeline] = None,
        max_queued: int = 20_000,
        max_queued_bytes: Optional[int] = None,
        max_batch: int = 512,
        delay: float = 0.5,
        attempts: int = 5,
        back_off: float = 0.5,
    ) -> None:
        self._delivery: Delivery = Delivery(
            exporters,
            lambda seconds: self._wake.acquire(timeout=seconds),  # somebody who waits for runs cuts the pause short
            before=None if before is None else before._delivery,
            attempts=attempts,
            back_off=back_off,
        )
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._max_batch = max_batch
        self._delay = delay
        # Runs that have ended, and a marker for each caller who waits for all runs before it. Runs that have started
        # have a queue of their own, so that they take no places from these.
        self._queue: Deque[Union[RunTree, _Marker]] = deque()
        self._starts: Deque[RunTree] = deque()
        self._start_hook: Callable[[RunTree], object] = (
            self._put_start if self._delivery.wants_starts else self._on_start
        )
        self._end_hook: Callable[[RunTree], object] = self._on_end
        self._after: Optional[Pipeline] = None  # the one that has replaced this one
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
        self._sleep = _Sleep(0)
        self._flushes: Dict[_Marker, None] = {}
        # The bytes of runs that wait or that exporters have now, by the id of the run: of large ones, and of all while
        # many wait. The sum may miss a run that another thread adds meanwhile, until the next batch.
        self._sizes: Dict[int, int] = {}
        self._bytes = self._start_bytes = 0
        self._measure_from()
        self._in_flight = 0  # the size of the batch that exporters have now
        self._lasts: Dict[None, _Marker] = {}  # empty, or with the marker of the first `shutdown`
        self._lost_at_last_flush = 0

    def _renew(self) -> None:
        """
        Begin anew in a forked child: the thread, the runs and the callers who wait are all the parent's.
        """
        self._reset()
        self._delivery.renew()

    def open(self, before: Optional[Pipeline] = None) -> None:
        """
        Start to take runs, in place of another pipeline if there is one. This switches recording on.

        Each run goes to one of the two: those that the other one gets once it is closed are passed on.
        """
        _open_pipelines[self] = None
        self._after = None
        if before is not None:
            before._after = self
        _hooks.exchange_hooks(
            self._start_hook, self._end_hook, () if before is None else (before._start_hook, before._end_hook)
        )

    def flush(self, timeout: float) -> bool:
        """
        Wait until all runs that have ended by now are delivered, for `timeout` seconds at most.

        Returns:
            Whether they are delivered and no run was dropped or lost since the last call. Always False in the
            thread of the pipeline, which would wait for itself.
        """
        deadline = monotonic() + timeout
        if self._is_own_thread():
            return False
        lost_before = self._lost_at_last_flush
        marker = self._lasts.get(None)
        if marker is None and (self._queue or self._thread is not None):
            marker = _Marker()
            if not self._send(marker):
                return False
        if marker is not None and not marker.wait(deadline):
            return False
        self._lost_at_last_flush = lost = self._delivery.lost
        return lost == lost_before

    def shutdown(self, timeout: float, *, keeping: Sequence[Exporter] = ()) -> bool:
        """
        Take no more runs, deliver those that wait, and shut the exporters down, in `timeout` seconds at most.

        Runs that are not delivered by then are given up, and counted as ``runs_lost``.

        Args:
            timeout: in seconds.
            keeping: exporters that are not shut down, as another pipeline uses them.

        Returns:
            As `flush`.
        """
        deadline = monotonic() + timeout
        last, is_first = self.stop(deadline, keeping)
        if not last.is_sent:
            # There is no thread, and none can be started any more. In most cases there is nothing to deliver either.
            if _threads.is_ending():
                Context().run(self._deliver_here)
            is_delivered = not self._queue
            Context().run(self._shut_down_here)
            last.is_sent = True
            last.let_pass()
        elif self._is_own_thread():
            return False
        else:
            is_delivered = last.wait(deadline)
        if is_first and not is_delivered:
            self._give_up()
        lost_before, self._lost_at_last_flush = self._lost_at_last_flush, self._delivery.lost
        return is_delivered and self._lost_at_last_flush == lost_before

    def stop(self, deadline: float, keeping: Sequence[Exporter]) -> Tuple[_Marker, bool]:
        """
        Do what `shutdown` does, without waiting for the delivery. An interrupted call can be repeated.

        Returns:
            The marker of the first call, and whether this was the first one. The marker's `is_sent` is False if no
            thread can be started.
        """
        _hooks.remove_start_hook(self._start_hook)
        _hooks.remove_end_hook(self._end_hook)
        _open_pipelines.pop(self, None)
        marker = _Marker(deadline, keeping)
        last = self._lasts.setdefault(None, marker)
        if not last.is_sent:
            last.is_sent = self._send(last)  # a marker that is sent twice does no harm
        return last, last is marker

    def _is_own_thread(self) -> bool:
        thread = self._thread
        return thread is not None and thread.ident == get_ident()

    # Called by traced threads.

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

    def _look_after_queue(self, sleep: _Sleep) -> None:
        if len(self._queue) <= self._max_queued:
            self._wake_from(sleep)
            return
        try:
            newest = self._queue.pop()
        except IndexError:  # the thread has emptied the queue meanwhile
            return
        if isinstance(newest, _Marker):
            self._queue.append(newest)
            return
        self._sizes.pop(id(newest), None)
        if self._max_queued or self._after is None:
            self._drop()
        else:
            self._after._on_end(newest)

    def _wake_from(self, sleep: _Sleep) -> None:
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

    # Called by those who wait.

    def _send(self, marker: _Marker) -> bool:
        if self._thread is None and not self._start_thread():
            return False
        try:
            self._flushes[marker] = None
            self._queue.append(marker)
            self._wake_from(self._sleep)
        except BaseException:  # an interrupt: nobody waits for this marker
            self._flushes.pop(marker, None)
            raise
        return True

    def _give_up(self) -> None:
        self._delivery.is_abandoned = True
        self._close()
        self._delivery.lose(self._in_flight, _TOO_LATE)
        self._wake_from(self._sleep)

    def _close(self) -> None:
        # A thread that read the tuple of hooks before they were removed may still add a run; 0 makes it look after it.
        self._max_queued = 0
        self._sleep = _Sleep(0)
        self._starts.clear()
        self._sizes.clear()
        left: List[RunTree] = []
        with suppress(IndexError):  # the end of the queue
            while True:
                item = self._queue.popleft()
                if isinstance(item, RunTree):
                    left.append(item)
        if self._after is None or self._delivery.is_abandoned:
            self._delivery.lose(len(left), _TOO_LATE)
        else:
            for run in left:
                self._after._on_end(run)

    # Called by the thread.

    def _work(self, claim: Any) -> None:
        if not claim.acquire(blocking=False):
            return  # the call that has started this thread was interrupted, and has given it up
        _record_nothing()
        is_last = False
        with suppress(ForkedError):  # the thread of the child has nothing more to do
            while not is_last:
                if not self._wait_for_runs():
                    self._leave()
                    return
                is_last = self._pass_batch()

    def _leave(self) -> None:
        self._thread = None
        self._claims.clear()
        if self._queue:  # a run was added meanwhile, by a call that still saw a thread
            self._start_thread()

    def _wait_for_runs(self) -> bool:
        """
        Sleep until there is something to do, and then until there is a batch or `delay` is over.

        Returns:
            False if this thread must end so that the process can.
        """
        while not self._has_waiting(0) and not self._delivery.is_abandoned:
            self._sleep = _Sleep(0)
            if self._has_waiting(0):
                break
            if not _threads.sleep(self._wake):
                return self._has_waiting(0)
        missing = min(self._max_batch, self._max_queued) - 1
        if not self._has_waiting(missing) and not self._flushes:
            self._sleep = _Sleep(missing)
            if not self._has_waiting(missing) and not self._flushes:
                self._wake.acquire(timeout=self._delay)
        self._sleep.quiet_below = self._max_queued
        return True

    def _has_waiting(self, more_than: int) -> bool:
        return len(self._queue) > more_than or len(self._starts) > more_than

    def _pass_batch(self) -> bool:
        ended: List[RunTree] = []
        marker = self._take(ended)
        started = self._take_starts()
        self._in_flight = len(ended)
        try:
            for first in range(0, len(started), self._max_batch):
                self._delivery.deliver_starts(started[first : first + self._max_batch])
            self._delivery.deliver(ended)
        except ForkedError:
            raise
        except BaseException as error:  # noqa: BLE001  out of memory, for example; no other thread would take over
            report("exports_failed", "a batch of runs could not be handed to an exporter", error=error)
            self._delivery.lose(self._in_flight, "they could not be handed to an exporter")
        self._in_flight = 0
        if self._sizes:
            for run in ended:
                self._sizes.pop(id(run), None)
            if not self._queue:
                self._sizes.clear()  # also of a run that an interrupt has kept out of the queue
        self._bytes = sum(list(self._sizes.values()))
        self._measure_from()  # `clew.configure` may have changed the bound
        is_last = self._delivery.is_abandoned or (marker is not None and marker is self._lasts.get(None))
        if is_last:
            self._shut_down_exporters()
        if marker is not None:
            self._flushes.pop(marker, None)
            marker.let_pass()
        return is_last

    def _deliver_here(self) -> None:
        _record_nothing()
        with suppress(ForkedError):
            while self._queue:
                self._pass_batch()

    def _shut_down_here(self) -> None:
        _record_nothing()
        with suppress(ForkedError):
            self._shut_down_exporters()

    def _shut_down_exporters(self) -> None:
        last = self._lasts.get(None) or _Marker()
        self._delivery.shut_down(lambda: max(0.0, last.deadline - monotonic()), last.keeping)
        self._close()

    def _take(self, ended: List[RunTree]) -> Optional[_Marker]:
        """
        Move one batch from the queue to `ended`; stop at a marker and return it.
        """
        for _ in range(self._max_batch):
            try:
                item = self._queue.popleft()
            except IndexError:
                return None
            if isinstance(item, _Marker):
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


def _record_nothing() -> None:
    current_options.set(ScopeOptions(None, is_enabled=False))


class _Sleep:
    """
    One sleep of the thread. While a queue is no longer than `quiet_below`, nobody need wake it.
    """

    __slots__ = ("quiet_below",)

    def __init__(self, quiet_below: int) -> None:
        self.quiet_below = quiet_below


class _Marker:
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


# The pipelines that begin anew in a forked child, in a dict for its order and its atomic operations.
_open_pipelines: Dict[Pipeline, None] = {}


def _wake_all() -> None:
    for pipeline in list(_open_pipelines):
        with suppress(RuntimeError):  # it is released already
            pipeline._wake.release()


def _renew_all() -> None:
    for pipeline in list(_open_pipelines):
        pipeline._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
