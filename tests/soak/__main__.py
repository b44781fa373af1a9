"""
A soak: random programs in threads, loops and processes, with an exporter, for some minutes. `nox -s soak` runs it.

    python -m tests.soak --minutes 10 --seed 12345

Every run must be exported once, in its place and with its status; the context must arrive at each edge; and memory must
stay flat. The programs of a round depend on the seed and the number of the round alone; the order of threads does not.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import logging
import os
import sys
import threading
import time
from array import array
from contextvars import Context
from random import Random, SystemRandom
from statistics import mean
from typing import Callable, Dict, Sequence

import clew
from tests.soak._ledger import Ledger
from tests.soak._plan import Here, Late, draw
from tests.soak._processes import fork, kill
from tests.soak._sync_work import DEADLINE, reach

PROGRAMS = 3  # at once
DEPTH = 4
# From the second tenth to the last, and after how many rounds that is judged. What Python counts itself is exact, so a
# leak shows in it within minutes. The allocator has all the pages that it needs after some hundred rounds.
MOST_GROWTH = {"objects": (1.01, 40), "blocks": (1.01, 40), "resident pages": (1.05, 2_000)}
HANGS = 300.0  # seconds
ACTS = {"fork": fork, "kill": kill} if hasattr(os, "fork") else {}


def run_program(random: Random, here: Here, acts: Sequence[Callable[[Random, Here], None]]) -> None:
    try:
        for _ in range(3):
            reach(draw(random, DEPTH), here)
            here.check("between two pieces of work of a program")
        for act in acts:
            if random.random() < 0.05:
                act(random, here)
    except BaseException as error:
        logging.getLogger("soak").exception("a program failed")
        here.ledger.fail(f"a program failed: {error!r}")


def run_round(seed: str, ledger: Ledger, acts: Sequence[Callable[[Random, Here], None]]) -> None:
    random = Random(seed)
    if random.random() < 0.1:
        clew.configure(exporter=ledger)
    gc.set_threshold(random.choice((50, 700)))
    late = Late()
    threads = [
        threading.Thread(target=Context().run, args=(run_program, Random(f"{seed}:{number}"), Here(ledger, late), acts))
        for number in range(PROGRAMS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    late.may_run.set()
    while late.threads:  # a late job may start another one
        late.threads.pop().join(DEADLINE)
    gc.collect()  # ends the runs of generators that were dropped
    if not clew.flush(DEADLINE):
        ledger.fail("flush has not delivered all")
    ledger.check()


def memory() -> Dict[str, float]:
    for _ in range(3):
        gc.collect()
    # Else the allocator keeps what many threads have needed at once.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
    found = {"objects": float(len(gc.get_objects()))}
    if hasattr(sys, "getallocatedblocks"):
        found["blocks"] = float(sys.getallocatedblocks())
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as file:
            found["resident pages"] = float(file.read().split()[1])
    return found


def growth(samples: Sequence[float]) -> float:
    """Return by what factor the samples have grown from their second tenth to their last."""
    tenth = len(samples) // 10
    return mean(samples[-tenth:]) / mean(samples[tenth : 2 * tenth])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default=str(SystemRandom().randrange(10**9)))
    parser.add_argument("--round", type=int, help="run only this one")
    parser.add_argument("--without", nargs="*", default=[], choices=ACTS, help="leave these out")
    options = parser.parse_args()
    print(f"seed {options.seed}, Python {sys.version.split()[0]}, {options.minutes:g} minutes", flush=True)
    logging.basicConfig(level=logging.ERROR)  # what clew counts is shown at the end
    ledger = Ledger(options.seed)
    clew.configure(exporter=ledger)
    acts = [act for name, act in ACTS.items() if name not in options.without]
    samples: Dict[str, array[float]] = {}  # arrays, which hardly grow themselves
    started = shown = time.monotonic()
    number = 0 if options.round is None else options.round
    while not ledger.failures and time.monotonic() - started < options.minutes * 60:
        faulthandler.dump_traceback_later(HANGS, exit=True)
        run_round(f"{options.seed}:{number}", ledger, acts)
        if ledger.failures or options.round is not None:
            break
        now = memory()
        for name, found in now.items():
            samples.setdefault(name, array("d")).append(found)
        number += 1
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            print(f"{shown - started:5.0f} s, {number} rounds, {ledger.runs} runs, {now}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    for name, each in samples.items() if number >= 20 and not ledger.failures else ():
        by, (most, rounds) = growth(each), MOST_GROWTH[name]
        print(f"from the second tenth to the last, the {name} have changed by a factor of {by:.4f}")
        if by > most and number >= rounds:
            ledger.fail(f"the {name} have grown by a factor of {by:.4f}")
    clew.shutdown(DEADLINE)
    print(f"{ledger.runs} runs in {number} rounds; clew.stats(): {clew.stats()}")
    for failure in ledger.failures:
        print(f"round {number}: {failure}")
    print("failed" if ledger.failures else "passed")
    return bool(ledger.failures)


if __name__ == "__main__":
    sys.exit(main())
