"""
What the two processes of a fork must agree on: which of them a run belongs to, and ids that do not exist yet.

What a forked child takes as its current run is in `clew.runs._tree.workers`.

Guarantees:
    - A run is exported by the process that opened it, and by no other. A forked child has a copy of the runs that were
      open at the fork; what becomes of the copy has no effect.
    - A run has one id, also if parent and child first need it after the fork.
    - Nothing is registered when a run starts: runs that are suspended, or open in another thread, count as well.

Assumes: single operations of a dict are atomic, and so is `list` of its values.
"""

from __future__ import annotations

import os
import time
from threading import get_ident
from typing import Any, Dict, List, Optional, Tuple

from clew._shared.locks import RUNS_WITHOUT_GIL, keep_first
from clew.runs._tree.ids import digits_of, new_id_text

__all__ = ("UncreatedId", "ancestors", "create_id", "uncreated_id")

# The ids of the processes that this one was forked from, the first one first. It is empty in most processes, which
# costs them one test at the start and at the end of a run.
ancestors: List[int] = []

# The thread of each id that is being created. Without a GIL there are several dicts, and each thread uses one of them,
# because threads would wait for each other at a single dict.
_PLACES = 64 if RUNS_WITHOUT_GIL else 1
_creating: Tuple[Dict[object, int], ...] = tuple({} for _ in range(_PLACES))
_PAGE_BITS = 12  # the numbers of threads are addresses of pages
_LONGEST_WAIT = 0.1  # seconds, see `_before_fork`


class UncreatedId(str):
    """
    The text of an id before the id is needed: an empty text. There is a new instance after each fork.

    Ids of an earlier instance are computed instead of drawn: parent and child have the same `secret`, and the same
    address of the identity.
    """

    __slots__ = ("secret",)

    secret: int

    def __new__(cls) -> UncreatedId:
        """
        Draw the secret.
        """
        self = str.__new__(cls)
        self.secret = int.from_bytes(os.urandom(8), "big")
        return self


uncreated_id = UncreatedId()


def create_id(identity: Any) -> str:
    """
    Return the text of the id of a run that has none yet; the same one to all threads, and to both processes of a fork.

    Args:
        identity: an `Identity`, whose module is above this one.
    """
    key, here = object(), get_ident()
    creating = _creating[here >> _PAGE_BITS & _PLACES - 1 if RUNS_WITHOUT_GIL else 0]
    creating[key] = here  # before `uncreated_id` is read: see `_before_fork`
    try:
        text: str = identity._id_text
        return text or keep_first(identity, "_id_text", new_id_text(identity.start_time_ns, _digits(identity)), text)
    finally:
        creating.pop(key, None)


def _digits(identity: Any) -> Optional[str]:
    """
    Return the last digits of an id that both processes of a fork may need; None if the id may be random.

    Source:
        SplitMix64, which maps different numbers to different numbers.
    """
    text = identity._id_text
    if text is uncreated_id or not isinstance(text, UncreatedId):
        return None
    number = text.secret + id(identity) & 0xFFFF_FFFF_FFFF_FFFF
    number = (number ^ number >> 30) * 0xBF58_476D_1CE4_E5B9 & 0xFFFF_FFFF_FFFF_FFFF
    number = (number ^ number >> 27) * 0x94D0_49BB_1331_11EB & 0xFFFF_FFFF_FFFF_FFFF
    return digits_of(number ^ number >> 31)


def _before_fork() -> None:
    global uncreated_id
    uncreated_id = UncreatedId()
    # Another thread may have drawn an id without having stored it. Let it do so first, for the child to see. Not for
    # long: it may itself wait for this thread.
    here, deadline = get_ident(), time.monotonic() + _LONGEST_WAIT
    while any(thread != here for each in _creating for thread in list(each.values())) and time.monotonic() < deadline:
        time.sleep(0.0001)


def _in_child() -> None:
    global uncreated_id
    ancestors.append(os.getppid())
    for each in _creating:
        each.clear()
    uncreated_id = UncreatedId()  # the parent goes on with the one from before the fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_in_child)
