"""
A clock that stands still and counted ids, for tests that compare the times and ids of runs.

Only clew's runs see them. `time`, `uuid` and the clocks of event loops stay as they are.
"""

from __future__ import annotations

import sys
from math import isfinite
from types import TracebackType
from typing import Any, Callable, List, Optional, Type
from uuid import UUID

from clew._shared.locks import ForkSafeLock
from clew._shared.one_use import EnteredOnce
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree import ids as _ids

__all__ = ("CountedIds", "FakeClock")

_START_NS = 1_577_836_800_000_000_000  # the first second of 2020, in UTC


class _Faked:
    """
    A function of `clew.runs._tree.ids`, and the fakes of the open blocks. The newest fake is in use.

    Modules import the function under its own name, for speed. So it is replaced, and later put back, in every module
    of clew that is loaded at that time.
    """

    __slots__ = ("_fakes", "_name", "native")

    def __init__(self, name: str) -> None:
        self._name = name
        self.native: Callable[..., Any] = getattr(_ids, name)
        self._fakes: List[Callable[..., Any]] = []

    def add(self, fake: Callable[..., Any]) -> None:
        with _guard.lock:
            known = [self.native, *self._fakes]
            self._fakes.append(fake)
            self._replace(known)

    def remove(self, fake: Callable[..., Any]) -> None:
        with _guard.lock:
            known = [self.native, *self._fakes]
            self._fakes.remove(fake)
            self._replace(known)

    def _replace(self, known: List[Callable[..., Any]]) -> None:
        current = self._fakes[-1] if self._fakes else self.native
        for name, module in list(sys.modules.items()):
            if name.startswith("clew."):
                found = getattr(module, "__dict__", {}).get(self._name)
                # A function that somebody else has put there stays.
                if any(found is each for each in known):
                    setattr(module, self._name, current)


_guard = ForkSafeLock()
_now_ns = _Faked("now_ns")
_new_id_text = _Faked("new_id_text")
_new_random_digits = _Faked("new_random_digits")
_next_random_number = _Faked("next_random_number")


class FakeClock(EnteredOnce):
    """
    The clock of all runs for a ``with`` block. It stands still until `advance` or `set` is called.

    Context:
        *When*: nothing is captured; the block is process-wide, for the runs of every thread, task and context.
        *What the callee sees*: only the times of runs change. *What comes back*: after the exit, runs have the
        system's clock again, or that of a block which is still open. Thread-safe. An instance is for one block.

    Args:
        start_ns: the first time, in nanoseconds since the epoch; by default the beginning of 2020.

    Raises:
        AlreadyEnteredError: the instance was used for a block before.

    Example:
        >>> import clew
        >>> from clew.testing.fakes import FakeClock
        >>> with clew.record() as runs, FakeClock() as clock, clew.trace("tea"):
        ...     clock.advance(180)
        >>> print(runs.tree(details=True))
        tea 180.00 s
    """

    __slots__ = ("_now_ns", "_read")

    def __init__(self, *, start_ns: int = _START_NS) -> None:
        self._now_ns = _check_time(start_ns)
        self._read: Callable[[], int] = lambda: self._now_ns  # one object, as `remove` looks for it
        self._is_entered = False

    @property
    def now_ns(self) -> int:
        """
        The current time of this clock, in nanoseconds since the epoch.
        """
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """
        Move the clock forward.

        Raises:
            ArgumentTypeError: `seconds` is no number.
            ArgumentValueError: `seconds` is less than 0, or not finite.
        """
        passed_ns = round(_check_seconds(seconds) * 1_000_000_000)
        with _guard.lock:
            self._now_ns += passed_ns

    def set(self, time_ns: int) -> None:
        """
        Set the clock to a time in nanoseconds since the epoch. It may go backwards.

        Raises:
            ArgumentTypeError: `time_ns` is no int.
            ArgumentValueError: `time_ns` is less than 0.
        """
        checked = _check_time(time_ns)
        with _guard.lock:
            self._now_ns = checked

    def __enter__(self) -> FakeClock:
        self._enter_once("FakeClock")
        _now_ns.add(self._read)
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        _now_ns.remove(self._read)

    def __repr__(self) -> str:
        return f"<clew.testing.fakes.FakeClock at {self._now_ns} ns>"


class CountedIds(EnteredOnce):
    """
    Gives runs the ids 1, 2, 3 and so on, in the form of a UUIDv7, for a ``with`` block.

    A run gets its id when it is first read, by a header, an exporter or you, and the ids are counted in that order.
    Runs that have an id keep it. To a sampler these ids are the lowest possible ones: a ratio less than 1 records
    none of their traces.

    Context:
        *When*: nothing is captured; the block is process-wide, for the runs of every thread, task and context.
        *What the callee sees*: only the ids of runs change. *What comes back*: after the exit, ids are random
        again, or those of a block which is still open. Thread-safe. An instance is for one block. A forked process
        continues to count on its own.

    Raises:
        AlreadyEnteredError: the instance was used for a block before.

    Example:
        >>> import clew
        >>> from clew.testing.fakes import CountedIds
        >>> with clew.record() as runs, CountedIds() as ids, clew.trace("tea") as run:
        ...     run.id == ids.nth(1)
        True
        >>> run.id, run.span_id
        (UUID('00000000-0000-7000-8000-000000000001'), '8000000000000001')
    """

    __slots__ = ("_count", "_fakes")

    def __init__(self) -> None:
        self._count = 0
        self._is_entered = False
        # Bound methods kept as one object each, as `remove` looks for them.
        self._fakes = (
            (_new_id_text, self._text),
            (_new_random_digits, self._digits),
            (_next_random_number, self._number),
        )

    def nth(self, number: int) -> UUID:
        """
        Return the id with this number, from 1 on, whether a run has it yet or not.

        Raises:
            ArgumentTypeError: `number` is no int.
            ArgumentValueError: `number` is less than 1.
        """
        return UUID(_written(_as_digits(_check_number(number))))

    def _digits(self) -> str:
        with _guard.lock:
            self._count += 1
            return _as_digits(self._count)

    def _number(self) -> int:
        return _ids.number_of(self._digits())

    def _text(self, time_ns: int, digits: Optional[str] = None) -> str:
        if digits is not None and digits > _as_digits(self._count):
            text: str = _new_id_text.native(time_ns, digits)  # of a trace that began before the block
            return text
        return _written(digits or self._digits())

    def __enter__(self) -> CountedIds:
        self._enter_once("CountedIds")
        for faked, fake in self._fakes:
            faked.add(fake)
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        for faked, fake in self._fakes:
            faked.remove(fake)

    def __repr__(self) -> str:
        return f"<clew.testing.fakes.CountedIds, {self._count} given>"


def _as_digits(number: int) -> str:
    return f"8{number:015x}"  # the first two bits of it are a UUID's, not the number's


def _written(digits: str) -> str:
    return f"00000000-0000-7000-{digits[:4]}-{digits[4:]}"


def _check_seconds(seconds: Any) -> float:
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise ArgumentTypeError(
            f"expected seconds as a number, got {type(seconds).__name__} {seconds!r}; pass 1.5 for one and a half"
        )
    if not isfinite(seconds) or seconds < 0:
        raise ArgumentValueError(
            f"expected seconds that go by, got {seconds!r}; a clock that is put back is clock.set(...)"
        )
    return seconds


def _check_number(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise ArgumentTypeError(
            f"expected the number of an id as an int, got {type(number).__name__} {number!r}; the first one is 1"
        )
    if number < 1:
        raise ArgumentValueError(f"expected the number of an id, got {number!r}; the first one is 1")
    return number


def _check_time(time_ns: Any) -> int:
    if not isinstance(time_ns, int) or isinstance(time_ns, bool):
        raise ArgumentTypeError(
            f"expected a time in nanoseconds as an int, got {type(time_ns).__name__} {time_ns!r}; "
            f"of seconds since the epoch it is int(seconds * 1_000_000_000)"
        )
    if time_ns < 0:
        raise ArgumentValueError(f"expected nanoseconds since 1970, got {time_ns!r}; the earliest time is 0")
    return time_ns
