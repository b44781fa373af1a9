"""
The way from the end of a run to the exporters: a bounded queue and one thread.

`clew.exporters._intake` puts runs into the queue, and `clew.exporters._delivery` calls the exporters.
`clew.exporters.configuration` chooses them.

Guarantees:
    - Runs are delivered in the order in which they ended.
    - `flush` and `shutdown` return by their deadline.
    - Each run goes to one of two pipelines while one replaces the other.

Assumes:
    - `popleft` of a deque is atomic, and so are `setdefault` and `pop` of a dict.
"""

from __future__ import annotations

from contextlib import suppress
from contextvars import Context
from threading import get_ident
from time import monotonic
from typing import Any, Dict, List, Optional, Sequence, Tuple

from clew._shared.incidents import report
from clew.exporters import _threads
from clew.exporters._delivery import Delivery, ForkedError
from clew.exporters._intake import Intake, Marker, Sleep, open_intakes
from clew.exporters.protocol import Exporter
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import ScopeOptions, current_options
from clew.runs.run import RunTree

__all__ = ("Pipeline",)

_TOO_LATE = "they were not delivered before the deadline of a shutdown"


class Pipeline(Intake):
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
        delivery = Delivery(
            exporters,
            lambda seconds: self._wake.acquire(timeout=seconds),  # somebody who waits for runs cuts the pause short
            before=None if before is None else before._delivery,
            attempts=attempts,
            back_off=back_off,
        )
        self._max_batch = max_batch
        self._delay = delay
        super().__init__(delivery, max_queued, max_queued_bytes)

    def _reset(self) -> None:
        super()._reset()
        self._flushes: Dict[Marker, None] = {}
        self._in_flight = 0  # the size of the batch that exporters have now
        self._lasts: Dict[None, Marker] = {}  # empty, or with the marker of the first `shutdown`
        self._lost_at_last_flush = 0

    def open(self, before: Optional[Pipeline] = None) -> None:
        """
        Start to take runs, in place of another pipeline if there is one. This switches recording on.

        Each run goes to one of the two: those that the other one gets once it is closed are passed on.
        """
        open_intakes[self] = None
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
            marker = Marker()
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

    def stop(self, deadline: float, keeping: Sequence[Exporter]) -> Tuple[Marker, bool]:
        """
        Do what `shutdown` does, without waiting for the delivery. An interrupted call can be repeated.

        Returns:
            The marker of the first call, and whether this was the first one. The marker's `is_sent` is False if no
            thread can be started.
        """
        _hooks.remove_start_hook(self._start_hook)
        _hooks.remove_end_hook(self._end_hook)
        open_intakes.pop(self, None)
        marker = Marker(deadline, keeping)
        last = self._lasts.setdefault(None, marker)
        if not last.is_sent:
            last.is_sent = self._send(last)  # a marker that is sent twice does no harm
        return last, last is marker

    def _is_own_thread(self) -> bool:
        thread = self._thread
        return thread is not None and thread.ident == get_ident()

    # Called by those who wait.

    def _send(self, marker: Marker) -> bool:
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
        self._sleep = Sleep(0)
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
            self._sleep = Sleep(0)
            if self._has_waiting(0):
                break
            if not _threads.sleep(self._wake):
                return self._has_waiting(0)
        missing = min(self._max_batch, self._max_queued) - 1
        if not self._has_waiting(missing) and not self._flushes:
            self._sleep = Sleep(missing)
            if not self._has_waiting(missing) and not self._flushes:
                self._wake.acquire(timeout=self._delay)
        self._sleep.quiet_below = self._max_queued
        return True

    def _has_waiting(self, more_than: int) -> bool:
        return len(self._queue) > more_than or len(self._starts) > more_than

    def _pass_batch(self) -> bool:
        ended: List[RunTree] = []
        marker = self._take(ended, self._max_batch)
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
        last = self._lasts.get(None) or Marker()
        self._delivery.shut_down(lambda: max(0.0, last.deadline - monotonic()), last.keeping)
        self._close()


def _record_nothing() -> None:
    current_options.set(ScopeOptions(None, is_enabled=False))
