#!/usr/bin/env bash
# CPython 3.14.8; no packages.
#
# Guess: what code sets in an interpreter of `concurrent.interpreters` is there for the next `exec` or `call` in the
#   same interpreter from the same thread: global names, context variables, thread-locals alike.
# Behaviour: global names are kept; context variables and thread-locals are gone. Each `exec` and each `call` runs with
#   a thread state of its own, so with an empty context and with empty thread-locals.
# For a user: an interpreter cannot be prepared once by `exec("var.set(...)")`, and a connection or a client that is
#   cached in a thread-local is opened anew by every call. Keep such things in global names, and pass the values of
#   context variables with each call.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
python=${PYTHON:-python3.14}
"$python" -c 'import concurrent.interpreters' 2>/dev/null || { echo "needs Python 3.14 or later as $python" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/kept.py" <<'PYTHON'
import contextvars
import threading

variable = contextvars.ContextVar("variable", default="gone")
local = threading.local()
name = "gone"


def prepare():
    global name
    variable.set("kept")
    local.value = "kept"
    name = "kept"


def found():
    return f"global name {name}, context variable {variable.get()}, thread-local {getattr(local, 'value', 'gone')}"
PYTHON
cat > "$work/example.py" <<'PYTHON'
import sys
from concurrent import interpreters

import kept

kept.prepare()
seen = {"no interpreter": kept.found()}
queue = interpreters.create_queue()
interpreter = interpreters.create()
interpreter.prepare_main(queue=queue)
interpreter.exec("import kept; kept.prepare(); queue.put(kept.found())")
seen["the exec that sets"] = queue.get()
interpreter.exec("queue.put(kept.found())")
seen["the next exec"] = queue.get()
interpreter.call(kept.prepare)
seen["the call after one that sets"] = interpreter.call(kept.found)
interpreter.close()
for moment, found in seen.items():
    print(f"{moment:29} {found}")
all_kept = "global name kept, context variable kept, thread-local kept"
lost = "global name kept, context variable gone, thread-local gone"
sys.exit(list(seen.values()) != [all_kept, all_kept, lost, lost])
PYTHON
"$python" "$work/example.py"
