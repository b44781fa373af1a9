"""
Thread-locals and other state outside of ContextVars, which travel with a captured context all the same.

Which contexts they travel with is decided where those are entered, not here.
"""

from __future__ import annotations

import sys
import threading
from functools import partial
from itertools import starmap
from typing import Any, Callable, Dict, Hashable, Iterable, Optional, Protocol, Tuple

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = (
    "Accessor",
    "call_carrying",
    "carried_values",
    "carriers",
    "live_carrier",
    "pairs",
    "register_accessor",
    "thread_local_accessor",
)


class Accessor(Protocol):
    """
    Reach one value that is kept per thread, or anywhere else outside of the context.

    None is for no value. Whatever else `get` returns is handed back to `set` and `restore` as it is.
    An error in one of the four is counted in `clew.stats()` as ``accessors_failed`` and goes no
    further: the job runs, without that value.

    Source:
        Micrometer's `ThreadLocalAccessor`, from its library context-propagation.
    """

    def get(self) -> Any:
        """
        Return the value that this thread has now, None if it has none.
        """

    def set(self, value: Any, /) -> None:
        """
        Give this thread a captured value, for the length of a job or of a step.
        """

    def clear(self) -> None:
        """
        Leave this thread without a value.
        """

    def restore(self, previous: Any, /) -> None:
        """
        Give this thread back the value that it had before the job or the step; never None.
        """


class Registration:
    """
    Hold what is needed of one accessor: to read, and to put a value in for what is there. Neither raises.
    """

    __slots__ = ("accessor", "get", "is_cleared_when_detached", "place", "swap_back", "swap_in", "times")

    accessor: Accessor
    place: str
    is_cleared_when_detached: bool
    times: int
    get: Callable[[], Any]
    swap_in: Callable[[Any], Any]
    swap_back: Callable[[Any], Any]

    def __init__(self, accessor: Accessor, place: str, *, is_cleared_when_detached: bool) -> None:
        self.accessor = accessor
        self.place = place
        self.is_cleared_when_detached = is_cleared_when_detached
        self.times = 0  # that the same one was registered
        quick = accessor.quick() if isinstance(accessor, _ThreadLocalAccessor) else None
        if quick is not None:
            self.get, self.swap_in = quick
            self.swap_back = self.swap_in
        else:
            self.get = partial(_get, accessor, None)
            self.swap_in = partial(_swap_in, accessor)
            self.swap_back = partial(_swap_back, accessor)


# What a snapshot holds, ready to stand before a function and its arguments: for each accessor that was
# registered at the capture, `call_carrying`, the registration and the value.
Carried = Tuple[Any, ...]

_guard = ForkSafeLock()
_by_key: Dict[Hashable, Registration] = {}
# All of them, replaced as a whole, so that no reader needs a lock. Empty: nothing is carried, and
# those who capture look no further.
registered: Tuple[Registration, ...] = ()


def register_accessor(key: Hashable, accessor: Accessor, *, clear_when_detached: bool = False) -> Callable[[], None]:
    """
    Have the value of `accessor` travel with every context that is captured from now on.

    It travels with threads, executors, `bind`, `Snapshot.run`, `Snapshot.attached` and
    `wrap_coroutine`, where it is set and put back around every step. It does not travel with the
    native tasks of an event loop, which share their thread. A worker is left as it was found.

    Context:
        *When*: the value is read at each capture, on the capturing thread. *What the callee sees*:
        that value, or none where there was none. *What comes back*: nothing. Thread-safe; meant to
        be called once, at import time.

    Args:
        key: the name of the value, such as ``"myapp.tenant"``; whoever registers twice is told by it.
        accessor: an object with `get`, `set`, `clear` and `restore`, as in `Accessor`.
        clear_when_detached: whether `detached` blocks clear it, as they do the current run.

    Returns:
        A function that undoes this registration. Contexts captured meanwhile still carry the value.

    Raises:
        ArgumentTypeError: `accessor` lacks one of the four methods.
        ArgumentValueError: another accessor has the key. The same one may be registered again.

    Example:
        >>> import threading, clew
        >>> local = threading.local()
        >>> unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
        >>> local.tenant = "ada"
        >>> with clew.ContextThreadPoolExecutor() as pool:
        ...     pool.submit(getattr, local, "tenant", "nobody").result()
        'ada'
        >>> unregister()
    """
    missing = [name for name in ("get", "set", "clear", "restore") if not callable(getattr(accessor, name, None))]
    if missing:
        raise ArgumentTypeError(
            f"expected an accessor with get, set, clear and restore, found no {' and no '.join(missing)} on "
            f"{accessor!r}; for an attribute of a threading.local, pass thread_local_accessor(local, 'attribute')"
        )
    caller = sys._getframe(1)
    place = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    registration = Registration(accessor, place, is_cleared_when_detached=clear_when_detached)
    with _guard.lock:
        other = _by_key.setdefault(key, registration)
        if other is not registration and other.accessor is not accessor and other.accessor != accessor:
            raise ArgumentValueError(
                f"expected {key!r} to be registered for one accessor, found {other.accessor!r} registered for it "
                f"at {other.place} and {accessor!r} now, at {registration.place}; give one of them another key"
            )
        other.is_cleared_when_detached = other.is_cleared_when_detached or clear_when_detached
        other.times += 1
        _publish()
    is_undone = False

    def unregister() -> None:
        nonlocal is_undone
        with _guard.lock:
            if is_undone:
                return
            is_undone = True
            other.times -= 1
            if not other.times:
                del _by_key[key]
                _publish()

    return unregister


def _publish() -> None:
    global registered
    registered = tuple(_by_key.values())


def thread_local_accessor(local: threading.local, attribute: str) -> Accessor:
    """
    Return an accessor for one attribute of a `threading.local`, or of anything like it.

    Args:
        local: the object; a `threading.local`, or one of greenlets or of a framework.
        attribute: the name. Where the attribute is missing on the capturing thread, it is missing in
            the job; an attribute that is None is None there.

    Raises:
        ArgumentTypeError: `attribute` is no string.
    """
    if not isinstance(attribute, str):
        raise ArgumentTypeError(
            f"expected the name of an attribute as a string, got {attribute!r}; "
            f"pass thread_local_accessor(local, 'attribute')"
        )
    return _ThreadLocalAccessor(local, attribute)


class _ThreadLocalAccessor:
    __slots__ = ("_attribute", "_local")

    def __init__(self, local: Any, attribute: str) -> None:
        self._local = local
        self._attribute = attribute

    def get(self) -> Any:
        value = getattr(self._local, self._attribute, _MISSING)
        if value is _MISSING:
            return None
        return _IS_NONE if value is None else value

    def set(self, value: Any, /) -> None:
        setattr(self._local, self._attribute, None if value is _IS_NONE else value)

    restore = set  # noqa: A003  Micrometer's names

    def clear(self) -> None:
        if hasattr(self._local, self._attribute):
            delattr(self._local, self._attribute)

    def quick(self) -> Optional[Tuple[Callable[[], Any], Callable[[Any], Any]]]:
        """
        Return quick ways to get and to swap; None if only the methods above know how.
        """
        local, attribute = self._local, self._attribute
        # A subclass may have code of its own for the attribute, or for the first use in a thread, which may raise.
        if type(local) is not threading.local:
            return None

        # These run at every capture, and around every job and step: no calls but the dict's own, and
        # no AttributeError, which takes longer to make than all of the rest.
        def get() -> Any:
            value = local.__dict__.get(attribute, _MISSING)
            return None if value is _MISSING else _IS_NONE if value is None else value

        def swap(value: Any) -> Any:
            values = local.__dict__
            previous = values.get(attribute, _MISSING)
            if value is not None:
                values[attribute] = None if value is _IS_NONE else value
            elif previous is not _MISSING:
                del values[attribute]
            return None if previous is _MISSING else _IS_NONE if previous is None else previous

        return get, swap

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ThreadLocalAccessor):
            return NotImplemented
        return self._local is other._local and self._attribute == other._attribute

    def __hash__(self) -> int:
        return hash((id(self._local), self._attribute))

    def __repr__(self) -> str:
        return f"thread_local_accessor({self._local!r}, {self._attribute!r})"


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


def _get(accessor: Accessor, otherwise: Any) -> Any:
    try:
        return accessor.get()
    except Exception as error:  # noqa: BLE001  somebody's hook must not break the job
        _report(error)
        return otherwise


def _swap_in(accessor: Accessor, value: Any) -> Any:
    # Where it cannot tell what is here, nothing could be put back: what is here stays.
    previous = _get(accessor, _UNKNOWN)
    return previous if previous is _UNKNOWN else _swap(accessor, accessor.set, value, previous)


def _swap_back(accessor: Accessor, value: Any) -> Any:
    if value is _UNKNOWN:
        return _UNKNOWN
    return _swap(accessor, accessor.restore, value, _get(accessor, _UNKNOWN))


def _swap(accessor: Accessor, put: Callable[[Any], object], value: Any, previous: Any) -> Any:
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
