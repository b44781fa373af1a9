"""
Create run ids (UUIDv7) and read the clock of all runs.

Which run an id belongs to is in `clew.runs._tree.identity`.
"""

from __future__ import annotations

import os
import time
from typing import Callable, List, Optional

__all__ = (
    "new_id_text",
    "new_random_digits",
    "now_ns",
)


now_ns: Callable[[], int] = time.time_ns


# The last 64 bits of the next ids. Drawing many at once takes about as long as drawing one.
_random_digits: List[str] = []


_MOST_DRAWN = 64


_RANDOM_BITS = int("3fffffffffffffff" * _MOST_DRAWN, 16)


_VARIANT_BITS = int("8000000000000000" * _MOST_DRAWN, 16)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_digits.clear)


def new_random_digits() -> str:
    """
    Return the last 64 bits of a new id, 62 of which are random, as hexadecimal digits.
    """
    try:
        return _random_digits.pop()  # atomic: two threads never get the same digits
    except IndexError:
        digits, *others = _drawn()
        _random_digits.extend(others)
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
