"""
Carry the values of accessors from the capturing thread to the thread that runs in the captured context.

Guarantees: an accessor that raises is counted, and the call still runs; if it raises at the capture, the call finds no
value. After the call the thread has its own value again.

Assumes: `registered` is read without a lock, so it is replaced as a whole.

The public functions are in `clew.context.accessors`.
"""

from __future__ import annotations

from functools import partial
from itertools import starmap
from typing import Any, Callable, Iterable, Tuple

from clew._shared.incidents import report

__all__ = ("Carried", "Registration", "carriers", "carrying_arguments", "live_carrier", "pairs", "publish")


class Registration:
    """
    One registered accessor. None of its functions raises.

    `read` returns the thread's own value, or `_UNKNOWN` if the accessor could not be read. `put` sets another value,
    unless the own one is unknown. `put_back` restores the own value, and returns the one that it replaces. The own
    value is read by a call of its own, so that it is known if an interrupt comes in `put`.
    """

    __slots__ = ("accessor", "get", "is_cleared_when_detached", "put", "put_back", "read", "registered_at", "times")

    def __init__(self, accessor: Any, registered_at: str, *, is_cleared_when_detached: bool) -> None:
        self.accessor = accessor
        self.registered_at = registered_at
        self.is_cleared_when_detached = is_cleared_when_detached
        self.times = 0  # how often it is registered: `register_accessor` counts
        self.get: Callable[[], Any] = partial(_get, accessor, None)
        self.read: Callable[[], Any] = partial(_get, accessor, _UNKNOWN)
        self.put: Callable[[Any, Any], None] = partial(_put, accessor)
        self.put_back: Callable[[Any], Any] = partial(_put_back, accessor)


# The captured values, as the first arguments of a call: `run(*carried, fn, *args)`. For each accessor these are
# `call_carrying`, the registration and the value, so each `call_carrying` calls the next one.
Carried = Tuple[Any, ...]


# All registrations. While it is empty, a capture costs only this check.
registered: Tuple[Registration, ...] = ()


def publish(registrations: Iterable[Registration]) -> None:
    """
    Carry the values of these registrations, and of no others, with each context that is captured from now on.
    """
    global registered
    registered = tuple(registrations)


_UNKNOWN = object()  # the accessor could not be read


def carrying_arguments() -> Carried:
    """
    Read the accessors on this thread. Return the first arguments of a call that runs with these values.
    """
    carried: Carried = ()
    for each in registered:
        carried += (call_carrying, each, each.get())
    return carried


def call_carrying(each: Registration, value: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """
    Return `fn(*args, **kwargs)`, called with one value swapped in on this thread.
    """
    own = each.read()
    try:
        each.put(value, own)
        return fn(*args, **kwargs)
    finally:
        each.put_back(own)


def pairs(carried: Carried) -> Iterable[Tuple[Registration, Any]]:
    """
    Return the registrations and their values.
    """
    return zip(carried[1::3], carried[2::3])


def carriers(carried: Carried) -> Tuple[Callable[..., Any], ...]:
    """
    Return the first arguments of a series of calls: `run(*carriers, fn, *args)`.

    Each call finds the values that the call before it has left.
    """
    return tuple(starmap(_carrier, pairs(carried)))


def _carrier(each: Registration, value: Any) -> Callable[..., Any]:
    # A closure, as it runs around every step and is faster than a method.
    read, put, put_back = each.read, each.put, each.put_back

    def call_carrying_on(fn: Callable[..., Any], /, *args: Any) -> Any:
        nonlocal value
        own: Any = _UNKNOWN
        try:
            own = read()
            put(value, own)
            return fn(*args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame
            left = put_back(own)
            if left is not _UNKNOWN:
                value = left

    return call_carrying_on


def live_carrier(each: Registration) -> Callable[..., Any]:
    """
    Return the first argument of a series of calls: `run(carrier, fn, *args)`.

    A call finds its thread's value. Once a call leaves another value, the next ones find that, until a call leaves
    the thread's own again.
    """
    kept: Any = _UNKNOWN  # the value that a call has left

    def call_carrying_own(fn: Callable[..., Any], /, *args: Any) -> Any:
        nonlocal kept
        own = each.read()
        try:
            if kept is not _UNKNOWN:
                each.put(kept, own)
            return fn(*args)
        finally:
            del args  # as in `_carrier`
            left = each.put_back(own)
            if left is not _UNKNOWN:
                kept = _UNKNOWN if left is own else left

    return call_carrying_own


def _get(accessor: Any, otherwise: Any) -> Any:
    try:
        return accessor.get()
    except Exception as error:  # noqa: BLE001  a failing accessor must not break the job
        _report(error)
        return otherwise


def _put(accessor: Any, value: Any, own: Any) -> None:
    # If the own value is unknown, it could not be put back: leave it.
    if own is not _UNKNOWN and own is not value:
        _set(accessor, accessor.set, value)


def _put_back(accessor: Any, own: Any) -> Any:
    left = _UNKNOWN if own is _UNKNOWN else _get(accessor, _UNKNOWN)
    if own is not left:
        _set(accessor, accessor.restore, own)
    return left


def _set(accessor: Any, put: Callable[[Any], object], value: Any) -> None:
    try:
        if value is None:
            accessor.clear()
        else:
            put(value)
    except Exception as error:  # noqa: BLE001  as in `_get`
        _report(error)


def _report(error: Exception) -> None:
    report(
        "accessors_failed",
        "an accessor has raised, and its value was not carried; make its get, set, clear and restore raise nothing",
        error=error,
    )
