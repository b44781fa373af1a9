"""
Scripts of steps, and their traces: the outcome of each step, and the state after it.
"""

from __future__ import annotations

import inspect
import re
from contextvars import Context
from typing import Any, Callable, Dict, Iterable, List, Tuple

import clew
from tests.context._coroutines import Make, context_with


def _traceback() -> Any:
    try:
        raise KeyError
    except KeyError as error:
        return error.__traceback__


TRACEBACK = _traceback()

STEPS: Dict[str, Callable[[Any], Any]] = {
    "send None": lambda coroutine: coroutine.send(None),
    "send": lambda coroutine: coroutine.send("sent"),
    "send a tuple": lambda coroutine: coroutine.send((None,)),
    "throw a class": lambda coroutine: coroutine.throw(KeyError),
    "throw": lambda coroutine: coroutine.throw(KeyError("thrown")),
    "throw three": lambda coroutine: coroutine.throw(KeyError, KeyError("of three"), TRACEBACK),
    "throw KeyboardInterrupt": lambda coroutine: coroutine.throw(KeyboardInterrupt()),
    "throw GeneratorExit": lambda coroutine: coroutine.throw(GeneratorExit()),
    "throw StopIteration": lambda coroutine: coroutine.throw(StopIteration("thrown")),
    "throw what is none": lambda coroutine: coroutine.throw(5),
    "close": lambda coroutine: coroutine.close(),
}

Trace = List[Tuple[str, object, object]]


def trace(coroutine: Any, script: Iterable[str]) -> Trace:
    """Make the steps, and return the outcome of each and the state after it. Close the coroutine at the end."""
    found: Trace = []
    for step in script:
        outcome: object
        try:
            outcome = ("gave", repr(STEPS[step](coroutine)))
        except BaseException as error:
            outcome = ("raised", told(error))
        found.append((step, outcome, state_of(coroutine)))
    put_away(coroutine)
    return found


def told(error: Any, depth: int = 4) -> object:
    if error is None or depth == 0:
        return None
    message = re.sub("0x[0-9a-f]+", "0x", str(error))
    causes = told(error.__cause__, depth - 1), told(error.__context__, depth - 1)
    return (type(error).__name__, message, repr(getattr(error, "value", None)), causes)


def state_of(coroutine: Any) -> object:
    said = {name: getattr(coroutine, name, "missing") for name in ("cr_running", "cr_suspended", "gi_running")}
    for name in ("cr_frame", "cr_await", "gi_frame", "gi_yieldfrom"):
        said[name] = "missing" if not hasattr(coroutine, name) else getattr(coroutine, name) is not None
    said["state"] = inspect.getcoroutinestate(coroutine) if hasattr(coroutine, "cr_frame") else "unknown"
    return said


def put_away(coroutine: Any) -> None:
    for _ in range(100):  # some ignore GeneratorExit
        try:
            coroutine.close()
        except BaseException:
            continue
        return


def shared(make: Make) -> Any:
    return clew.wrap_coroutine(make(), context_with("shared"))


def copied(make: Make) -> Any:
    return clew.wrap_coroutine(make(), clew.capture())


def wrapped_twice(make: Make) -> Any:
    return clew.wrap_coroutine(shared(make), Context())


def trace_in_current_context(make: Make, script: Iterable[str]) -> Trace:
    context = Context()
    return context.run(lambda: trace(clew.wrap_coroutine(make(), context), script))


TRACES: Dict[str, Callable[[Make, Iterable[str]], Trace]] = {
    "shared": lambda make, script: trace(shared(make), script),
    "copied": lambda make, script: trace(copied(make), script),
    "wrapped twice": lambda make, script: trace(wrapped_twice(make), script),
    "current": trace_in_current_context,
}
