"""
The handing over of runs to exporters: one call at a time, repeated if it fails, and a count of what was lost.

When a batch is handed over is decided in `clew.exporters.pipeline`.

Guarantees:
    - Nothing that an exporter raises leaves this module. It is counted in `clew.stats()`. Only in a child that the
      exporter has forked, `ForkedError` does.
    - An exporter is never called twice at the same time, also not by a pipeline and the one that replaces it.
    - A batch that some exporters have taken is tried again with the others only.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.errors import RunsRefusedError
from clew.exporters.protocol import Exporter
from clew.runs._tree.forks import ancestors
from clew.runs._tree.identity import Identity
from clew.runs.finished import Run
from clew.runs.run import RunTree

__all__ = ("Delivery", "ForkedError")

_LONGEST_BACK_OFF = 30.0
_guard = ForkSafeLock()


class ForkedError(BaseException):
    """
    Raised in a child that an exporter has forked and that has left the exporter: the runs at hand are the parent's.
    """


class Delivery:
    """
    The exporters of one pipeline, and how often and how long to try them.

    Args:
        exporters: each gets all runs.
        pause: waits for some seconds; may return early.
        before: the delivery that this one replaces. An exporter of both is called by the two in turn.
        attempts: how often a batch is tried.
        back_off: the seconds to wait after the first failure, more or less.
    """

    def __init__(
        self,
        exporters: Sequence[Exporter],
        pause: Callable[[float], object],
        *,
        before: Optional[Delivery],
        attempts: int,
        back_off: float,
    ) -> None:
        self._exporters = tuple(exporters)
        self._starters: Tuple[Any, ...] = tuple(each for each in exporters if hasattr(each, "export_starts"))
        self._pause = pause
        self._attempts = attempts
        self._back_off = back_off
        self.renew()
        if before is not None:
            self._turns.update({key: turn for key, turn in before._turns.items() if key in self._turns})

    @property
    def wants_starts(self) -> bool:
        """
        Whether an exporter takes runs that have started and not ended yet.
        """
        return bool(self._starters)

    def renew(self) -> None:
        """
        Begin anew, also in a forked child, where the thread that may hold a lock does not exist.
        """
        # Held while an exporter is called. The key is the exporter's id(), as it may have no hash.
        self._turns: Dict[int, threading.Lock] = {id(exporter): threading.Lock() for exporter in self._exporters}
        self.is_abandoned = False  # nobody waits for the runs any more, and all of them are counted as lost
        self.lost: int = 0

    def deliver(self, ended: Sequence[RunTree]) -> None:
        """
        Hand runs that have ended to every exporter, several times if need be.
        """
        runs = self._frozen(ended)
        waiting = list(self._exporters if runs else ())
        for attempt in range(self._attempts):
            if attempt:
                self._wait_before(attempt)
            waiting = [exporter for exporter in waiting if not self._attempt(exporter, exporter.export, runs)]
            if not waiting or self.is_abandoned:  # runs that were abandoned are counted already
                break
        else:
            self.lose(len(runs), f"{type(waiting[0]).__name__} failed {self._attempts} times")
        _forget_orders(ended)

    def deliver_starts(self, started: Sequence[RunTree]) -> None:
        """
        Hand those of some started runs that have not ended yet to the exporters that take them, once.
        """
        runs = self._frozen([run for run in started if run.status == "pending"])
        for exporter in self._starters if runs else ():
            self._attempt(exporter, exporter.export_starts, runs)

    def shut_down(self, seconds_left: Callable[[], float], keeping: Sequence[Exporter]) -> None:
        """
        Shut down the exporters but for those in `keeping`, each within the seconds that are left.
        """
        for exporter in self._exporters:
            if not any(exporter is kept for kept in keeping):
                timeout = seconds_left()
                self._attempt(exporter, exporter.shutdown, timeout, timeout=timeout)

    def lose(self, count: int, reason: str) -> None:
        """
        Count runs that no exporter will get.
        """
        self.count_lost(count)
        for _ in range(count):
            report("runs_lost", f"finished runs were given up, as {reason}; see where the exporter delivers to")

    def count_lost(self, count: int) -> None:
        """
        Count runs in `lost`, on any thread.
        """
        _guard.run(self._add_lost, count)

    def _add_lost(self, count: int) -> None:
        self.lost += count

    def _refuse(self, count: int, error: Exception) -> None:
        self.count_lost(count)
        for _ in range(count):
            report("runs_refused", "a run was left out, as it can never be delivered: see the error", error=error)

    def _frozen(self, runs: Sequence[RunTree]) -> Tuple[Run, ...]:
        # Here and not on the thread that ended the run, whose time this would take. An ended run no longer changes.
        frozen: List[Run] = []
        for run in runs:
            try:
                frozen.append(Run(run, ()))
            except Exception as error:  # noqa: BLE001, PERF203  one bad run must not lose the others
                self._refuse(1, error)
        return tuple(frozen)

    def _attempt(
        self, exporter: object, call: Callable[[Any], object], argument: object, *, timeout: float = -1
    ) -> bool:
        """
        Call one method of an exporter when it is free; return whether its runs need not come again.

        Raises:
            ForkedError: this is a child that the exporter has forked.
        """
        turn = self._turns[id(exporter)]
        # Only an exporter that hangs, and was given up for it, stays busy for longer.
        if not turn.acquire(timeout=min(timeout, threading.TIMEOUT_MAX)):
            return False
        processes = len(ancestors)
        try:
            call(argument)
            return True
        except RunsRefusedError as refusal:
            self._refuse(refusal.count, refusal)
            return True
        except BaseException as error:  # noqa: BLE001  even SystemExit must not end the thread
            if len(ancestors) == processes:
                name = type(exporter).__name__
                report("exports_failed", f"{name} failed, and will be tried again a few times", error=error)
            return False
        finally:
            turn.release()
            if len(ancestors) != processes:
                raise ForkedError

    def _wait_before(self, attempt: int) -> None:
        from random import random  # here, as most programs never need it

        delay = min(self._back_off * 2 ** (attempt - 1), _LONGEST_BACK_OFF)
        self._pause(delay * (0.5 + random()))  # noqa: S311  no secret


def _forget_orders(ended: Sequence[RunTree]) -> None:
    # An exporter reads the dotted order of each run, which is cached there and in its parent. It can be 6,000
    # characters long, and contexts refer to ended runs for as long as the program lives.
    for run in ended:
        identity = run._identity
        identity._order = None
        above = identity.parent
        if type(above) is Identity:
            above._order = None
