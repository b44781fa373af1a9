"""
The way from the end of a run to the exporters: a bounded queue, one thread, deadlines that are kept.

What an exporter does with the runs is its own matter; which ones there are, `clew.exporters.configuration`'s.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import suppress
from contextvars import Context
from threading import get_ident
from time import monotonic
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple, Union

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.errors import RunsRefusedError
from clew.exporters.protocol import Exporter
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import Ambient, ambient
from clew.runs.finished import Run
from clew.runs.run import RunTree

__all__ = ("Pipeline",)

_TOO_LATE = "they were not delivered before the deadline of a shutdown"
_LONGEST_BACK_OFF = 30.0
_LOOK_EVERY = 0.5


class Pipeline:
    """
    Hand the runs that end in this process to exporters, in batches, in a daemon thread of its own.

    Ending a run puts it into a queue and does no more; what an exporter raises, and how long it takes, stays in the
    thread. It runs in an empty context in which nothing is recorded, so that an exporter can be traced code.

    Everything that the traced threads call takes no lock of Python's own `threading` module: a run can end in a
    signal handler or in a finaliser, on top of whatever this thread was doing.

    Context:
        *When*: nothing is captured. *What the callee sees*: exporters, an empty context. *What comes back*: nothing.
        Thread-safe.

    Args:
        exporters: who gets the runs, each all of them.
        before: the pipeline that this one is to replace. An exporter of both is called by the two in turn.
        max_queued: how many runs may wait. What ends when so many do is dropped, and counted as ``runs_dropped``. So is
            the news that a run has started, counted as ``starts_dropped``; its end is not affected.
        max_batch: how many runs an exporter is handed at most at once.
        delay: for how many seconds a run waits for others to make a batch.
        attempts: how often a batch is tried, before it is given up and counted as ``runs_lost``.
        back_off: for how many seconds, more or less, to wait after the first failure; after each further one, twice
            as long.
    """

    __slots__ = (
        "_attempts",
        "_back_off",
        "_delay",
        "_end_hook",
        "_exporters",
        "_flushes",
        "_in_flight",
        "_is_over",
        "_last",
        "_lost",
        "_lost_told",
        "_max_batch",
        "_max_queued",
        "_queue",
        "_quiet_below",
        "_start_hook",
        "_starters",
        "_starting",
        "_starts",
        "_thread",
        "_turns",
        "_wake",
    )

    def __init__(
        self,
        exporters: Sequence[Exporter],
        *,
        before: Optional[Pipeline] = None,
        max_queued: int = 20_000,
        max_batch: int = 512,
        delay: float = 0.5,
        attempts: int = 5,
        back_off: float = 0.5,
    ) -> None:
        self._exporters = tuple(exporters)
        self._starters: Tuple[Any, ...] = tuple(
            exporter for exporter in exporters if hasattr(exporter, "export_starts")
        )
        self._max_queued = max_queued
        self._max_batch = max_batch
        self._delay = delay
        self._attempts = attempts
        self._back_off = back_off
        # Runs that have ended, and who waits for everything before; and, apart, so that they take no room from these,
        # runs that have started.
        self._queue: Deque[Union[RunTree, _Marker]] = deque()
        self._starts: Deque[RunTree] = deque()
        self._start_hook: Callable[[RunTree], object] = self._put_start if self._starters else self._on_start
        self._end_hook: Callable[[RunTree], object] = self._on_end
        self._renew()
        if before is not None:
            self._turns.update({key: turn for key, turn in before._turns.items() if key in self._turns})

    def _renew(self) -> None:
        # At first, and in a forked child: the thread and those who wait are the parent's, and so are the runs.
        self._queue.clear()
        self._starts.clear()
        # By its id, as an exporter may have no hash. Held while it is called.
        self._turns: Dict[int, threading.Lock] = {id(exporter): threading.Lock() for exporter in self._exporters}
        self._thread: Optional[threading.Thread] = None
        self._starting = threading.Lock()  # held from when somebody starts the thread
        self._wake = threading.Lock()  # released to wake the thread
        self._wake.acquire()
        self._quiet_below = 0  # a queue that is longer than this needs more than an append
        self._flushes: Deque[_Marker] = deque()
        self._in_flight = 0
        self._is_over = False  # nobody waits any more for what is not delivered
        self._last: Optional[_Marker] = None
        self._lost = self._lost_told = 0

    def open(self) -> None:
        """
        Begin to take runs, which switches recording on.
        """
        global _open_pipelines
        with _guard.lock:
            _open_pipelines = (*_open_pipelines, self)
        _hooks.add_end_hook(self._end_hook)
        _hooks.add_start_hook(self._start_hook)

    def flush(self, timeout: float) -> bool:
        """
        Wait until all runs that have ended by now are delivered, for `timeout` seconds at most.

        Returns:
            Whether they are, and no run was dropped or lost since the last call. In the thread of an exporter, which
            would wait for itself, always False.
        """
        deadline = monotonic() + timeout
        if self._is_own_thread():
            return False
        lost_told = self._lost_told
        marker = self._last
        if marker is None and (self._queue or self._thread is not None):
            marker = _Marker()
            if not self._send(marker):
                return False
        if marker is not None and not marker.wait(deadline):
            return False
        self._lost_told = lost = self._lost
        return lost == lost_told

    def shutdown(self, timeout: float, *, keeping: Sequence[Exporter] = ()) -> bool:
        """
        Take no more runs, deliver those that there are, and shut the exporters down: in `timeout` seconds at most.

        What is not delivered by then is given up, and counted as ``runs_lost``.

        Args:
            timeout: in seconds.
            keeping: exporters that others go on to use.

        Returns:
            As `flush`.
        """
        global _open_pipelines
        deadline = monotonic() + timeout
        _hooks.remove_start_hook(self._start_hook)
        _hooks.remove_end_hook(self._end_hook)
        with _guard.lock:
            _open_pipelines = tuple(other for other in _open_pipelines if other is not self)
            is_first = self._last is None
            if self._last is None:
                self._last = _Marker(deadline, keeping)
        if is_first and not self._send(self._last):
            # There is no thread, and none can be started any more. Mostly there is nothing to deliver, either.
            is_delivered = not self._queue
            Context().run(self._shut_down_here)
            self._last.passed.release()
        elif self._is_own_thread():
            return False
        else:
            is_delivered = self._last.wait(deadline)
        if is_first and not is_delivered:
            self._give_up()
        lost_told, self._lost_told = self._lost_told, self._lost
        return is_delivered and self._lost_told == lost_told

    def _is_own_thread(self) -> bool:
        thread = self._thread
        return thread is not None and thread.ident == get_ident()

    # What the traced threads call.

    def _on_start(self, run: RunTree) -> None:  # noqa: ARG002  a hook
        # Here and not when a run ends, where a finaliser may have come in the middle of `threading` itself.
        if self._thread is None:
            self._start_thread()

    def _put_start(self, run: RunTree) -> None:
        if self._thread is None:
            self._start_thread()
        starts = self._starts
        starts.append(run)
        if len(starts) > self._max_queued:
            with suppress(IndexError):
                starts.pop()
                report(
                    "starts_dropped",
                    "an exporter was not told of a run that has started, as it is slower than the program",
                )
        elif len(starts) > self._quiet_below:
            self._wake_up()

    def _on_end(self, run: RunTree) -> None:
        queue = self._queue
        queue.append(run)
        # Compared afterwards, as the thread lowers that number first, and looks at the queue before it falls asleep:
        # either it sees this run there, or this run sees that it has to be woken.
        if len(queue) > self._quiet_below:
            self._look_after_queue()

    def _look_after_queue(self) -> None:
        if len(self._queue) <= self._max_queued:
            self._wake_up()
            return
        try:
            newest = self._queue.pop()
        except IndexError:  # the thread has made room meanwhile
            return
        if isinstance(newest, _Marker):
            self._queue.append(newest)
            return
        self._lost += 1
        report(
            "runs_dropped",
            "a run was dropped, as the exporter is slower than the program; record fewer runs, or sample traces",
        )

    def _wake_up(self) -> None:
        self._quiet_below = self._max_queued
        if self._thread is None:
            self._start_thread()
        with suppress(RuntimeError):  # somebody else has
            self._wake.release()

    def _start_thread(self) -> bool:
        if not self._starting.acquire(blocking=False):
            return True  # another thread is at it
        try:
            # Whatever a thread inherits, be it Python's doing or a patch of somebody's, stays outside of that context.
            thread = threading.Thread(target=Context().run, args=(self._work,), name="clew-exporter", daemon=True)
            self._thread = thread
            thread.start()
            return True
        except RuntimeError as error:  # there are too many, or the interpreter is about to end
            self._thread = None
            self._starting.release()
            if self._queue:
                report("exports_failed", "the thread that exports runs could not be started; they wait", error=error)
            return False

    # What those who wait call.

    def _send(self, marker: _Marker) -> bool:
        if self._thread is None and not self._start_thread():
            return False
        self._flushes.append(marker)
        self._queue.append(marker)
        self._wake_up()
        return True

    def _give_up(self) -> None:
        self._is_over = True
        self._close()
        self._lose(self._in_flight, _TOO_LATE)
        self._wake_up()

    def _close(self) -> None:
        # Who had read the tuple of hooks a moment ago may still come; that is counted.
        self._quiet_below = self._max_queued = 0
        self._starts.clear()
        left = 0
        with suppress(IndexError):  # the end of the queue
            while True:
                left += isinstance(self._queue.popleft(), RunTree)
        self._lose(left, _TOO_LATE)

    def _lose(self, count: int, reason: str) -> None:
        self._lost += count
        for _ in range(count):
            report("runs_lost", f"finished runs were given up, as {reason}; see where the exporter delivers to")

    # What the thread does.

    def _work(self) -> None:
        _record_nothing()
        is_last = False
        while not is_last:
            if not self._wait_for_runs():
                self._leave()
                return
            is_last = self._pass_batch()

    def _leave(self) -> None:
        self._thread = None
        self._starting.release()
        if self._queue:  # of somebody who has come meanwhile, and has seen that there was a thread
            self._start_thread()

    def _wait_for_runs(self) -> bool:
        """
        Return whether there is something to do; it may take for ever, but not where the process is to end with another.
        """
        while not self._has_waiting(0) and not self._is_over:
            self._quiet_below = 0
            if self._has_waiting(0):
                break
            if not _is_forked_in_thread:
                self._wake.acquire()
            elif not (self._wake.acquire(timeout=_LOOK_EVERY) or threading.main_thread().is_alive()):
                return self._has_waiting(0)
        missing = min(self._max_batch, self._max_queued) - 1
        if not self._has_waiting(missing) and not self._flushes:
            self._quiet_below = missing
            if not self._has_waiting(missing) and not self._flushes:
                self._wake.acquire(timeout=self._delay)
        self._quiet_below = self._max_queued
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
                # Who has ended meanwhile will come by itself, or has.
                pending = [run for run in started[first : first + self._max_batch] if run.status == "pending"]
                self._deliver_starts(self._frozen(pending))
            # As nothing changes a run that has ended, it is frozen here and not on the thread that ended it.
            self._deliver(self._frozen(ended))
        except BaseException as error:  # noqa: BLE001  such as a lack of memory; there is no other thread to take over
            report("exports_failed", "a batch of runs could not be handed to an exporter", error=error)
            self._lose(self._in_flight, "they could not be handed to an exporter")
        self._in_flight = 0
        is_last = self._is_over or (marker is not None and marker is self._last)
        if is_last:
            self._shut_down_exporters()
        if marker is not None:
            self._flushes.remove(marker)
            marker.passed.release()
        return is_last

    def _shut_down_here(self) -> None:
        _record_nothing()
        self._shut_down_exporters()

    def _shut_down_exporters(self) -> None:
        last = self._last or _Marker()
        for exporter in self._exporters:
            if not any(exporter is kept for kept in last.keeping):
                timeout = max(0.0, last.deadline - monotonic())
                self._attempt(exporter, exporter.shutdown, timeout, timeout=timeout)
        self._close()

    def _take(self, ended: List[RunTree]) -> Optional[_Marker]:
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
        with suppress(IndexError):  # what is over is taken away at the other end
            while len(started) < self._max_queued:
                started.append(self._starts.popleft())
        return started

    def _frozen(self, runs: Sequence[RunTree]) -> Tuple[Run, ...]:
        frozen: List[Run] = []
        for run in runs:
            try:
                frozen.append(Run(run, ()))
            except Exception as error:  # noqa: BLE001, PERF203  no reason to lose the others
                self._refuse(1, error)
        return tuple(frozen)

    def _deliver(self, runs: Tuple[Run, ...]) -> None:
        waiting = list(self._exporters if runs else ())
        for attempt in range(self._attempts):
            if attempt:
                self._wait_before(attempt)
            waiting = [exporter for exporter in waiting if not self._attempt(exporter, exporter.export, runs)]
            if not waiting or self._is_over:  # what is over is counted already
                return
        self._lose(len(runs), f"{type(waiting[0]).__name__} failed {self._attempts} times")

    def _deliver_starts(self, runs: Tuple[Run, ...]) -> None:
        for exporter in self._starters if runs else ():
            self._attempt(exporter, exporter.export_starts, runs)

    def _attempt(
        self, exporter: object, call: Callable[[Any], object], argument: object, *, timeout: float = -1
    ) -> bool:
        turn = self._turns[id(exporter)]
        # Only one that has been given up, as it hangs there, does not come out.
        if not turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return False
        try:
            call(argument)
            return True
        except RunsRefusedError as refusal:
            self._refuse(refusal.count, refusal)
            return True
        except BaseException as error:  # noqa: BLE001  an exit, too, is the exporter's own
            name = type(exporter).__name__
            report("exports_failed", f"{name} failed, and will be tried again a few times", error=error)
            return False
        finally:
            turn.release()

    def _refuse(self, count: int, error: Exception) -> None:
        self._lost += count
        for _ in range(count):
            report("runs_refused", "a run was left out, as it can never be delivered: see the error", error=error)

    def _wait_before(self, attempt: int) -> None:
        from random import random  # here, as most programs never need it

        delay = min(self._back_off * 2 ** (attempt - 1), _LONGEST_BACK_OFF) * (0.5 + random())  # noqa: S311  no secret
        self._wake.acquire(timeout=delay)  # which whoever comes to wait cuts short


def _record_nothing() -> None:
    ambient.set(Ambient(None, is_enabled=False))


class _Marker:
    """
    Stand in the queue for somebody who waits until everything before it is delivered.
    """

    __slots__ = ("deadline", "keeping", "passed")

    def __init__(self, deadline: float = 0.0, keeping: Sequence[Exporter] = ()) -> None:
        self.deadline = deadline
        self.keeping = keeping
        self.passed = threading.Lock()
        self.passed.acquire()

    def wait(self, deadline: float) -> bool:
        # A signal is handled meanwhile, and what its handler raises ends the wait.
        if not self.passed.acquire(timeout=min(max(0.0, deadline - monotonic()), threading.TIMEOUT_MAX)):
            return False
        self.passed.release()  # for whoever else waits for it
        return True


# Those that have to begin anew in a forked child. Replaced as a whole.
_open_pipelines: Tuple[Pipeline, ...] = ()
_guard = ForkSafeLock()


# A child that was forked in another thread than the main one ends when its last thread does, without a word to anybody.
_main_ident = threading.main_thread().ident
_is_forked_in_thread = False


def _renew_all() -> None:
    global _is_forked_in_thread
    _is_forked_in_thread = get_ident() != _main_ident
    for pipeline in _open_pipelines:
        pipeline._renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
