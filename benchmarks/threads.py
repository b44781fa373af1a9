"""
Threads started and joined, one at a time.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from threading import Thread
from time import perf_counter
from typing import Type

import clew
from benchmarks._cases import BATCH, Case, Section, echo

__all__ = ("SECTIONS",)


def start_and_join(thread_class: Type[Thread], loops: int) -> float:
    start = perf_counter()
    for _ in repeat(None, loops * BATCH):
        thread = thread_class(target=echo, args=(1,))
        thread.start()
        thread.join()
    return perf_counter() - start


SECTIONS = (
    Section(
        "start() and join()",
        (
            Case("threading.Thread", partial(start_and_join, Thread)),
            Case("clew.ContextThread", partial(start_and_join, clew.ContextThread), most_ratio=1.05),
        ),
    ),
)
