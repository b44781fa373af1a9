"""
Carry the values that accessors read on one thread to the thread on which a captured context runs.

People register accessors in `clew.context.accessors`.
"""

from __future__ import annotations

from functools import partial
from itertools import starmap
from typing import Any, Callable, Iterable, Tuple

from clew._shared.incidents import report

__all__ = (
    "Carried",
    "Registration",
    "call_carrying",
    "carried_values",
    "carriers",
    "live_carrier",
    "pairs",
    "publish",
)


class Registration:
    """
    Hold what is needed of one accessor: to read, and to put a value in for what is there. Neither raises.
    """

    __slots__ = ("accessor", "get", "is_cleared_when_detached", "place", "swap_back", "swap_in", "times")

    accessor: Any  # a clew.Accessor
    place: str
    is_cleared_when_detached: bool
    times: int
    get: Callable[[], Any]
    swap_in: Callable[[Any], Any]
    swap_back: Callable[[Any], Any]

    def __init__(self, accessor: Any, place: str, *, is_cleared_when_detached: bool) -> None:
        self.accessor = accessor
        self.place = place
        self.is_cleared_when_detached = is_cleared_when_detached
        self.times = 0  # that the same one was registered
        self.get = partial(_get, accessor, None)
        self.swap_in = partial(_swap_in, accessor)
        self.swap_back = partial(_swap_back, accessor)


# What a snapshot holds, ready to stand before a function and its arguments: for each accessor that was
# registered at the capture, `call_carrying`, the registration and the value.
Carried = Tuple[Any, ...]


# All of them, replaced as a whole, so that no reader needs a lock. Empty: nothing is carried, and
# those who capture look no further.
registered: Tuple[Registration, ...] = ()


def publish(registrations: Iterable[Registration]) -> None:
    """
    Carry the values of these registrations, and of no others, with each context that is captured from now on.
    """
    global registered
    registered = tuple(registrations)


_MISSING = object()


_IS_NONE = object()  # as None itself is for no value


_UNKNOWN = object()


def carried_values() -> Carried:
    """
    Return what goes before a function and its arguments for the call to have this thread's values.
    """
    carried: Carried = ()
    for each in registered:
        carried += (call_carrying, each, each.get())
    return carried


def call_carrying(each: Registration, value: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """
    Return `fn(*args, **kwargs)`, called with one value on this thread, which then gets its own back.
    """
    own: Any = _UNKNOWN
    try:
        own = each.swap_in(value)
        return fn(*args, **kwargs)
    finally:
        if own is not _UNKNOWN:
            each.swap_back(own)


def pairs(carried: Carried) -> Iterable[Tuple[Registration, Any]]:
    """
    Return which registration carries which value.
    """
    return zip(carried[1::3], carried[2::3])


def carriers(carried: Carried) -> Tuple[Callable[..., Any], ...]:
    """
    Return what goes before a function and its arguments for each of several calls to find what the last one left.
    """
    return tuple(starmap(_carrier, pairs(carried)))


def _carrier(each: Registration, value: Any) -> Callable[..., Any]:
    # A closure and not an object, as this runs around every step.
    swap_in, swap_back = each.swap_in, each.swap_back

    def call_carrying_on(fn: Callable[..., Any], /, *args: Any) -> Any:
        nonlocal value
        own: Any = _UNKNOWN
        try:
            own = swap_in(value)
            return fn(*args)
        finally:
            del args  # which may hold an exception, whose traceback holds this frame
            left = _UNKNOWN if own is _UNKNOWN else swap_back(own)
            if left is not _UNKNOWN:
                value = left

    return call_carrying_on


def live_carrier(each: Registration) -> Callable[..., Any]:
    """
    Return what goes before a function and its arguments for each of several calls to find this thread's value.

    From the first call that has left another one, it is that one that the next call finds.
    """
    own: Any = _UNKNOWN

    def call_carrying_own(fn: Callable[..., Any], /, *args: Any) -> Any:
        nonlocal own
        here = _get(each.accessor, _UNKNOWN) if own is _UNKNOWN else each.swap_in(own)
        try:
            return fn(*args)
        finally:
            del args  # as above
            if here is not _UNKNOWN:
                left = each.swap_back(here)
                if left is not _UNKNOWN:
                    own = _UNKNOWN if left is here else left

    return call_carrying_own


def _get(accessor: Any, otherwise: Any) -> Any:
    try:
        return accessor.get()
    except Exception as error:  # noqa: BLE001  somebody's hook must not break the job
        _report(error)
        return otherwise


def _swap_in(accessor: Any, value: Any) -> Any:
    # Where it cannot tell what is here, nothing could be put back: what is here stays.
    previous = _get(accessor, _UNKNOWN)
    return previous if previous is _UNKNOWN else _swap(accessor, accessor.set, value, previous)


def _swap_back(accessor: Any, value: Any) -> Any:
    if value is _UNKNOWN:
        return _UNKNOWN
    return _swap(accessor, accessor.restore, value, _get(accessor, _UNKNOWN))


def _swap(accessor: Any, put: Callable[[Any], object], value: Any, previous: Any) -> Any:
    if previous is not value:
        try:
            if value is None:
                accessor.clear()
            else:
                put(value)
        except Exception as error:  # noqa: BLE001  as above
            _report(error)
    return previous


def _report(error: Exception) -> None:
    report(
        "accessors_failed",
        "an accessor has raised, and its value was not carried; make its get, set, clear and restore raise nothing",
        error=error,
    )
