#!/usr/bin/env bash
# CPython 3.14.8 and 3.15.0; no packages.
#
# Guess: the `finally` of a generator that is collected together with its owner can still reach the owner by a weak
#   reference, on every Python: the owner is there until both are freed.
# Behaviour: up to 3.14 the weak reference is dead already. On 3.15 it depends. If reference counting frees the two, it
#   is dead; if the cycle collector frees them, it is alive, because 3.15 clears weak references that have no callback
#   only after the finalisers have run. A weak reference *with* a callback is dead there too.
# For a user: code in a finaliser that asks a weak reference whether its owner is still needed (a span to end, a
#   connection to give back) takes one branch on 3.14, and on 3.15 either branch, depending on how the two are freed.
#   Do not let a finaliser decide by a weak reference; keep what it needs in the generator.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
for python in python3.14 python3.15; do
  "$python" -c '' 2>/dev/null || { echo "$python is missing: the script compares python3.14 and python3.15" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/example.py" <<'PYTHON'
import gc
import weakref


class Owner:
    pass


def stream(reference, seen):
    try:
        yield
    finally:
        seen.append("alive" if reference() is not None else "dead")


def drop(seen, *, in_cycle, callback=None):
    owner = Owner()
    owner.stream = stream(weakref.ref(owner, callback), seen)
    next(owner.stream)
    if in_cycle:
        owner.itself = owner


gc.disable()
seen = []
drop(seen, in_cycle=False)
drop(seen, in_cycle=True)
gc.collect()
drop(seen, in_cycle=True, callback=lambda reference: None)
gc.collect()
print("counted: {}; in a cycle: {}; in a cycle, with a callback: {}".format(*seen))
PYTHON
old=$(python3.14 "$work/example.py")
new=$(python3.15 "$work/example.py")
printf '3.14  the finaliser finds its owner %s\n3.15  the finaliser finds its owner %s\n' "$old" "$new"
[ "$old" = "counted: dead; in a cycle: dead; in a cycle, with a callback: dead" ] &&
  [ "$new" = "counted: dead; in a cycle: alive; in a cycle, with a callback: dead" ]
