#!/usr/bin/env bash
# aiojobs 1.4.0, CPython 3.11.7 and 3.12.1.
#
# Guess: with `Scheduler(limit=1)` a job that has to wait for a free slot runs in the context of the code that
#   spawned it, as a job that starts at once does.
# Behaviour: a waiting job runs in the context of the code that spawned the job *before* it. The scheduler starts it
#   from a done callback of the earlier job's task, and that callback has the context in which it was registered.
#   A third waiting job inherits the same context through the second.
# For a user: under load every request's jobs carry the user and the trace of one early request, until the queue is
#   empty once. With free slots all looks right. Read the values before `spawn` and pass them as arguments, or let
#   the job set them first.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "needs Python 3.11 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq aiojobs==1.4.0 >&2 || { echo "cannot install the packages" >&2; exit 2; }
"$work/venv/bin/python" - <<'PYTHON'
import asyncio
import contextvars
import sys

import aiojobs

request = contextvars.ContextVar("request", default="none")


async def job(name, seen, may_end):
    seen[name] = request.get()
    await may_end.wait()


async def handle(scheduler, name, seen, may_end):
    request.set(f"request {name}")
    return await scheduler.spawn(job(name, seen, may_end))


async def main(limit):
    seen, may_end = {}, asyncio.Event()
    async with aiojobs.Scheduler(limit=limit) as scheduler:
        jobs = [await asyncio.create_task(handle(scheduler, name, seen, may_end)) for name in "ABC"]
        may_end.set()
        for waiting in jobs:
            await waiting.wait()
    return seen


free, busy = asyncio.run(main(3)), asyncio.run(main(1))
print("limit=3, each job starts at once: ", free)
print("limit=1, B and C wait for a slot: ", busy)
as_described = free == {name: f"request {name}" for name in "ABC"} and busy == dict.fromkeys("ABC", "request A")
sys.exit(not as_described)
PYTHON
