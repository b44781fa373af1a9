#!/usr/bin/env bash
# Flask 3.1.3 with Werkzeug 3.1.9, CPython 3.11.7 and 3.12.1.
#
# Guess: a function wrapped by `copy_current_request_context` shares the request's `g`, and the teardown functions
#   run once, after the view.
# Behaviour: each call of the wrapped function in another thread pushes an application context of its own. `g` is
#   empty in it, and when the function returns, `teardown_request` and `teardown_appcontext` run in that thread:
#   here before the view has ended, and a second time after it.
# For a user: a teardown that ends a span, counts a request or closes a session does so once for every thread, and
#   the first time too early. Keep what a teardown ends in `g` (each context then ends its own only) and hand the
#   thread what it needs as arguments.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || { echo "needs Python 3.9 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip install -qq flask==3.1.3 werkzeug==3.1.9 >&2 || { echo "cannot install the packages" >&2; exit 2; }
"$work/venv/bin/python" - <<'PYTHON'
import sys
import threading

import flask

app = flask.Flask("example")
log = []


def where():
    return "main" if threading.current_thread() is threading.main_thread() else "thread"


@app.before_request
def remember():
    flask.g.user = "somebody"


@app.teardown_request
def end_request(error):
    log.append(f"teardown_request in {where()}")


@app.teardown_appcontext
def end_app(error):
    log.append(f"teardown_appcontext in {where()}")


@app.get("/")
def view():
    @flask.copy_current_request_context
    def work():
        log.append(f"{where()}: path {flask.request.path}, g.user {flask.g.get('user')}")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    log.append(f"view ends, g.user {flask.g.user}")
    return "done"


app.test_client().get("/")
print(*log, sep="\n")
as_described = log == [
    "thread: path /, g.user None",
    "teardown_request in thread",
    "teardown_appcontext in thread",
    "view ends, g.user somebody",
    "teardown_request in main",
    "teardown_appcontext in main",
]
sys.exit(not as_described)
PYTHON
