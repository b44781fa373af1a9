"""
Create run ids (UUIDv7) and read the clock of all runs.

Which run an id belongs to is in `clew.runs._tree.identity`.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Callable, List, Optional

from clew._shared.locks import RUNS_WITHOUT_GIL

__all__ = (
    "digits_of",
    "draw_numbers",
    "new_id_text",
    "new_random_digits",
    "next_random_number",
    "now_ns",
    "number_of",
)


now_ns: Callable[[], int] = time.time_ns


# The last 64 bits of the next ids. Drawing many at once takes about as long as drawing one.
_random_digits: List[str] = []


_MOST_DRAWN = 64


_RANDOM_BITS = int("3fffffffffffffff" * _MOST_DRAWN, 16)


_VARIANT_BITS = int("8000000000000000" * _MOST_DRAWN, 16)


# Random bits of the next trace ids whose sampling is decided: numbers of 64 bits. They are not written as digits, as
# few of these ids are ever needed.
_random_numbers: List[int] = []


class _OwnLists(threading.local):
    # Without a GIL, each thread has lists of its own: it would wait for the others at each use of a shared one.
    def __init__(self) -> None:
        self.digits: List[str] = []
        self.numbers: List[int] = []


_own = _OwnLists()


def _next_own_number() -> int:
    return _own.numbers.pop()


# Raises IndexError if there are none left: the caller draws more. `pop` is atomic: two threads never get the same one.
next_random_number: Callable[[], int] = _next_own_number if RUNS_WITHOUT_GIL else _random_numbers.pop


def _forget_drawn() -> None:
    for drawn in (_random_digits, _random_numbers, _own.digits, _own.numbers):
        drawn.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_drawn)


def draw_numbers() -> int:
    """
    Draw more random numbers at once, and return one of them.
    """
    number: int
    number, *others = memoryview(os.urandom(8 * _MOST_DRAWN)).cast("Q").tolist()
    (_own.numbers if RUNS_WITHOUT_GIL else _random_numbers).extend(others)
    return number


def digits_of(number: int) -> str:
    """
    Return the last 64 bits of an id as hexadecimal digits, from a random number.

    The high 56 bits of the number are the low 56 bits of the id, which decide whether the trace is sampled. So numbers
    compare as these do.
    """
    return f"{number & 0x3F | 0x80:02x}{number >> 8:014x}"


def number_of(digits: str) -> int:
    """
    Return the number that `digits_of` makes these digits of.
    """
    return int(digits[2:] + digits[:2], 16)


def new_random_digits() -> str:
    """
    Return the last 64 bits of a new id, 62 of which are random, as hexadecimal digits.
    """
    known = _own.digits if RUNS_WITHOUT_GIL else _random_digits
    try:
        return known.pop()  # atomic: two threads never get the same digits
    except IndexError:
        digits, *others = _drawn()
        known.extend(others)
        return digits


def new_id_text(time_ns: int, digits: Optional[str] = None) -> str:
    """
    Return the text of a new UUIDv7.

    Args:
        time_ns: the start of the run.
        digits: the last 16 hexadecimal digits; random by default.

    Source:
        RFC 9562, section 5.7, with the fraction of the millisecond in ``rand_a`` (section 6.2, method
        3), so that ids sort by start time; the 62 bits of ``rand_b`` are the system's randomness.
    """
    moment = f"{time_ns * 4096 // 1_000_000 & 0xFFF_FFFF_FFFF_FFFF:015x}"
    if digits is None:
        digits = new_random_digits()
    return f"{moment[:8]}-{moment[8:12]}-7{moment[12:]}-{digits[:4]}-{digits[4:]}"


def _drawn() -> List[str]:
    drawn = int.from_bytes(os.urandom(8 * _MOST_DRAWN), "big") & _RANDOM_BITS | _VARIANT_BITS
    return drawn.to_bytes(8 * _MOST_DRAWN, "big").hex(" ", 8).split()
