#!/usr/bin/env bash
# sentry-sdk 2.75.0, CPython 3.11.7 and 3.12.1.
#
# Guess: `continue_trace(headers)` only builds a transaction: nothing changes until it is started, and once it has
#   ended the caller's trace is no longer current.
# Behaviour: the call itself rewrites the isolation scope. From then on, also if the transaction is never started and
#   after it has ended, errors outside of a transaction and outgoing headers carry the caller's trace id. (The next
#   `start_transaction` without `continue_trace` does get a new one.)
# For a user: in a worker loop an error between two messages is filed under the trace of the last message. Put each
#   message in `with sentry_sdk.isolation_scope():`; the last lines show that nothing stays then.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null || { echo "needs Python 3.8 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq sentry-sdk==2.75.0 >&2 || { echo "cannot install the packages" >&2; exit 2; }
"$work/venv/bin/python" - <<'PYTHON'
import sys

import sentry_sdk

events = []


def keep(event, hint):
    events.append(event)
    return None


sentry_sdk.init(
    dsn="https://public@sentry.invalid/1",
    traces_sample_rate=1.0,
    before_send=keep,
    before_send_transaction=lambda event, hint: None,
    default_integrations=False,
)


def headers(digit):
    return {"sentry-trace": f"{digit * 32}-{'b' * 16}-1"}


seen = {}


def note(moment):
    sentry_sdk.capture_message(moment)
    header = sentry_sdk.get_traceparent().split("-")[0]
    error = events[-1]["contexts"]["trace"]["trace_id"]
    known = [digit for digit in "12345" if digit * 32 in (header, error)]
    seen[moment] = (f"message {known[0]}" if known else "own trace") if header == error else "header and error differ"
    print(f"{moment:40} {seen[moment]}")


note("at the beginning")
sentry_sdk.continue_trace(headers("1"))
note("1 continued, not started")
with sentry_sdk.start_transaction(sentry_sdk.continue_trace(headers("2"))):
    note("2 continued and started")
note("after the end of 2")
with sentry_sdk.start_transaction(name="3"):
    note("in a transaction of its own")
note("after the end of that one")
with sentry_sdk.isolation_scope():
    with sentry_sdk.start_transaction(sentry_sdk.continue_trace(headers("4"))):
        note("4 continued in an isolation scope")
note("after the end of 4")
as_described = list(seen.values()) == [
    "own trace",
    "message 1",
    "message 2",
    "message 2",
    "own trace",
    "message 2",
    "message 4",
    "message 2",
]
sys.exit(not as_described)
PYTHON
