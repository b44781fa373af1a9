#!/usr/bin/env bash
# httpx 0.28.1 and Starlette 1.10.0, CPython 3.11.7 and 3.12.1.
#
# Guess: an application that is called through `ASGITransport` has a context of its own for each request, as under a
#   server and as with Starlette's `TestClient`.
# Behaviour: the transport awaits the application in the task of the test. What the application sets stays in the
#   test's context, so request 2 finds what request 1 set. `TestClient` gives each request a copy of the test's context
#   instead: request 2 does not see request 1's values; but in both the application sees what the test has set.
# For a user: a missing "set the user first" passes from the second request on, and a value that leaks in a test may
#   not leak in production. Send each request from a task of its own: `await asyncio.create_task(client.get(...))`.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { echo "needs Python 3.10 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq httpx==0.28.1 starlette==1.10.0 >&2 || { echo "cannot install the packages" >&2; exit 2; }
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import contextvars
import sys

import httpx
from starlette.testclient import TestClient

user = contextvars.ContextVar("user", default="none")


async def app(scope, receive, send):
    found = user.get()
    user.set(f"user of {scope['path']}")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": found.encode()})


async def by_transport():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        user.set("user of the test")
        found = [(await client.get(path)).text for path in ("/1", "/2")]
        after = user.get()
        user.set("user of the test")
        alone = [(await asyncio.create_task(client.get(path))).text for path in ("/1", "/2")]
    return (found, after), (alone, user.get())


def by_test_client():
    user.set("user of the test")
    client = TestClient(app)
    return [client.get(path).text for path in ("/1", "/2")], user.get()


seen = dict(zip(("ASGITransport", "the same, a task each"), asyncio.run(by_transport())))
seen["TestClient"] = contextvars.Context().run(by_test_client)
for how, (found, after) in seen.items():
    print(f"{how:22} requests find {found}, afterwards the test finds {after!r}")
clean = (["user of the test", "user of the test"], "user of the test")
as_described = seen == {
    "ASGITransport": (["user of the test", "user of /1"], "user of /2"),
    "the same, a task each": clean,
    "TestClient": clean,
}
sys.exit(not as_described)
PYTHON
