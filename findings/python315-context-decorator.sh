#!/usr/bin/env bash
# CPython 3.14.8 and 3.15.0; no packages.
#
# Guess: a context manager made by `@contextmanager` and used as a decorator treats every kind of function alike on all
#   Pythons: it is left when the call returns, so for a coroutine or a generator function before the body has begun.
# Behaviour: so it is up to 3.14. From 3.15 on it is held while the coroutine, generator or async generator runs.
# For a user: the same line changes its meaning with the Python. For a coroutine, a timer or a lock begins to work. For
#   a generator, a variable that is set in the block now stays set between the steps, where the *consumer* reads it,
#   and a lock is held while the consumer works. Write the `with` into the body for one meaning everywhere.
#
# Exits 0 if the behaviour is as described, 1 if it changed, 2 if the script cannot run here.
set -euo pipefail
for python in python3.14 python3.15; do
  "$python" -c '' 2>/dev/null || { echo "$python is missing: the script compares python3.14 and python3.15" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/example.py" <<'PYTHON'
import asyncio
import contextlib
import contextvars

scope = contextvars.ContextVar("scope", default="none")


@contextlib.contextmanager
def scoped():
    token = scope.set("held")
    try:
        yield
    finally:
        scope.reset(token)


@scoped()
async def coroutine():
    return scope.get()


@scoped()
def generator():
    yield scope.get()


@scoped()
async def async_generator():
    yield scope.get()


async def main():
    stream = async_generator()
    found = await anext(stream), scope.get()
    await stream.aclose()
    return await coroutine(), *found


steps = generator()
in_generator, beside_generator = next(steps), scope.get()
steps.close()
in_coroutine, in_async, beside_async = asyncio.run(main())
print(f"coroutine {in_coroutine}; generator {in_generator}, its consumer {beside_generator}; "
      f"async generator {in_async}, its consumer {beside_async}")
PYTHON
old=$(python3.14 "$work/example.py")
new=$(python3.15 "$work/example.py")
printf '3.14  the variable in the: %s\n3.15  the variable in the: %s\n' "$old" "$new"
[ "$old" = "coroutine none; generator none, its consumer none; async generator none, its consumer none" ] &&
  [ "$new" = "coroutine held; generator held, its consumer held; async generator held, its consumer held" ]
