"""
Forked children in a soak: those that record runs of their own, and those that are killed while they write.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import tempfile
import time
import warnings
from pathlib import Path
from random import Random
from typing import Callable

import clew
from tests.soak._plan import Here, Late, draw, value
from tests.soak._sync_work import Cycle, call, do

SECONDS = 45
MOST_RUNS = 1_000  # of a child that is killed


def in_fork(work: Callable[[], object]) -> int:
    """Return the process id of a child that does some work and exits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12+: of a fork beside threads
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        # A child that hangs shows where, and ends. (The watchdog of faulthandler does not survive a fork.)
        faulthandler.register(signal.SIGALRM, chain=True)
        signal.alarm(SECONDS)
        work()
        status = 0
    finally:
        os._exit(status)


def fork(random: Random, here: Here) -> None:
    """Fork below an open run. The child's runs nest under it, and each process exports its own alone."""
    key = here.enter("success")
    reading, writing = os.pipe()

    def in_child() -> None:
        Cycle(None)
        if not gc.collect():
            return  # forked while another thread collects: in such a child CPython never collects
        ledger = here.ledger
        ledger.renew()
        ledger.failures.clear()
        run = clew.get_current_run_tree()
        inner = here.inside(key=None, parent_id=None if run is None else str(run.id), value=key, late=Late())
        do(draw(random, 1), inner)
        inner.late.may_run.set()
        for thread in inner.late.threads:
            thread.join()
        gc.collect()  # ends the runs of generators that were dropped
        if not clew.flush(SECONDS):
            ledger.fail("a child has not delivered all")
        ledger.check()
        os.write(writing, "; ".join(ledger.failures).encode()[:4_000])

    with clew.trace("fork", inputs={"key": key}):
        token = value.set(key)
        child = in_fork(in_child)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            found = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        value.reset(token)
    if found or status:
        here.ledger.fail(f"in a child with status {status}: {found or 'it says nothing'}")


def kill(random: Random, here: Here) -> None:
    """Kill a child that writes runs into a file: each line but the last is whole, and no run is there twice."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.jsonl"

        def in_child() -> None:
            clew.configure(exporter=f"jsonl:{path}")
            nothing = draw(Random(0), 0)
            unrecorded = here.inside(key=None, is_recorded=False)
            for _ in range(MOST_RUNS):
                call(None, nothing, unrecorded)
            signal.pause()

        child = in_fork(in_child)
        time.sleep(random.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        found = [json.loads(line)["id"] for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if len(found) != len(set(found)):
            here.ledger.fail("a run was written twice into the file of a child that was killed")
