"""
Threads started and joined, one at a time.
"""

from __future__ import annotations

from functools import partial
from itertools import repeat
from threading import Thread
from time import perf_counter
from typing import Callable

import clew
from benchmarks._cases import BATCH, Case, Section, echo

__all__ = ("SECTIONS",)


def start_and_join(thread_class: Callable[[], type], loops: int) -> float:
    make = partial(thread_class(), target=echo, args=(1,))
    start = perf_counter()
    for _ in repeat(None, loops * BATCH):
        thread = make()
        thread.start()
        thread.join()
    return perf_counter() - start


SECTIONS = (
    Section(
        "start() and join()",
        (
            Case("threading.Thread", partial(start_and_join, lambda: Thread)),
            Case("clew.ContextThread", partial(start_and_join, lambda: clew.ContextThread), most_ratio=1.05),
        ),
    ),
)
