#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2, CPython 3.11.7 and 3.12.1.
#
# Guess: a span whose block is left by `CancelledError` is marked as an error and records the exception, as for any
#   other exception.
# Behaviour: its status is UNSET and it has no event: it cannot be told from a span that succeeded. The same holds for
#   `SystemExit`: `start_as_current_span` records an `Exception` and no other `BaseException`. After a timeout only the
#   spans *around* the timeout are errors, since `TimeoutError` begins there.
# For a user: the very call that was too slow is not among the failed ones, and error rates leave it out. Catch
#   `CancelledError` inside the block, set the status there and raise it again.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "needs Python 3.11 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq opentelemetry-sdk==1.45.2 opentelemetry-api==1.45.2 >&2 || { echo "cannot install the packages" >&2; exit 2; }
"$work/venv/bin/python" - <<'PYTHON'
import asyncio
import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
span = provider.get_tracer("example").start_as_current_span


async def never():
    await asyncio.get_running_loop().create_future()


async def cancelled():
    with span("cancelled task"):
        await never()


async def slow():
    with span("around the timeout"):
        async with asyncio.timeout(0.01):
            with span("call that was too slow"):
                await never()


async def main():
    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, slow(), return_exceptions=True)


asyncio.run(main())
for error in (SystemExit, ValueError):
    try:
        with span(f"left by {error.__name__}"):
            raise error
    except error:
        pass

seen = {
    ended.name: (ended.status.status_code.name, [event.attributes["exception.type"] for event in ended.events])
    for ended in exporter.get_finished_spans()
}
for name, (status, errors) in seen.items():
    print(f"{name:24} {status:6} {errors}")
as_described = seen == {
    "cancelled task": ("UNSET", []),
    "call that was too slow": ("UNSET", []),
    "around the timeout": ("ERROR", ["TimeoutError"]),
    "left by SystemExit": ("UNSET", []),
    "left by ValueError": ("ERROR", ["ValueError"]),
}
sys.exit(not as_described)
PYTHON
