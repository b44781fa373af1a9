"""
Accessors: values outside of ContextVars, such as thread-locals, that travel with a captured context.

How the values are carried is in `clew.context._stepping.carrying`.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Callable, Dict, Hashable, Optional, Protocol, Tuple

from clew._shared.locks import ForkSafeLock
from clew.context._stepping.carrying import Registration, publish
from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = ("Accessor", "register_accessor", "thread_local_accessor")


class Accessor(Protocol):
    """
    Access to one value that is kept per thread, or elsewhere outside of the context.

    None means no value. Any other value that `get` returns is passed to `set` and `restore` unchanged.
    An exception in one of the four methods is counted in `clew.stats()` as ``accessors_failed``; the job
    runs without that value.

    Source:
        Micrometer's `ThreadLocalAccessor`, from its library context-propagation.
    """

    def get(self) -> Any:
        """
        Return the current value of this thread; None if it has none.
        """

    def set(self, value: Any, /) -> None:
        """
        Set a captured value on this thread, for a job or a step.
        """

    def clear(self) -> None:
        """
        Remove the value of this thread.
        """

    def restore(self, previous: Any, /) -> None:
        """
        Set the value again that this thread had before the job or the step; never None.
        """


_MISSING = object()
_IS_NONE = object()  # the value None; None itself means no value

_guard = ForkSafeLock()
_by_key: Dict[Hashable, Registration] = {}


def register_accessor(key: Hashable, accessor: Accessor, *, clear_when_detached: bool = False) -> Callable[[], None]:
    """
    Carry the value of `accessor` with every context that is captured from now on.

    It travels with threads, executors, `bind`, `Snapshot.run`, `Snapshot.attached`, generators and
    `wrap_coroutine`, which set it and put the thread's own value back around every step. It does not
    travel with the native tasks of an event loop, which share their thread. Workers keep no carried value.

    Context:
        *When*: each capture reads the value, on the capturing thread. *What the callee sees*: that
        value, or none if there was none. *What comes back*: nothing. Thread-safe; call it once, at
        import time.

    Args:
        key: the name of the value, such as ``"myapp.tenant"``; the error of a second registration names it.
        accessor: an object with `get`, `set`, `clear` and `restore`, as in `Accessor`.
        clear_when_detached: whether `detached` blocks clear the value, as they clear the current run.

    Returns:
        A function that undoes this registration. Contexts that are captured before that still carry the value.

    Raises:
        ArgumentTypeError: `accessor` lacks one of the four methods.
        ArgumentValueError: another accessor has the key. The same accessor may be registered again.

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
    registered_at = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    registration = Registration(accessor, registered_at, is_cleared_when_detached=clear_when_detached)
    quick = accessor.quick() if isinstance(accessor, _ThreadLocalAccessor) else None
    if quick is not None:
        registration.get, registration.put = quick
        registration.read, registration.put_back = quick
    with _guard.lock:
        other = _by_key.setdefault(key, registration)
        if other is not registration and other.accessor is not accessor and other.accessor != accessor:
            raise ArgumentValueError(
                f"expected {key!r} to be registered for one accessor, found {other.accessor!r} registered for it "
                f"at {other.registered_at} and {accessor!r} now, at {registered_at}; give one of them another key"
            )
        other.is_cleared_when_detached = other.is_cleared_when_detached or clear_when_detached
        other.times += 1
        publish(_by_key.values())
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
                publish(_by_key.values())

    return unregister


def thread_local_accessor(local: threading.local, attribute: str) -> Accessor:
    """
    Return an accessor for one attribute of a `threading.local`, or of a similar object.

    Args:
        local: a `threading.local`, or the equivalent of greenlets or of a framework.
        attribute: the name. An attribute that is missing on the capturing thread is missing in the job;
            an attribute that is None is None in the job.

    Raises:
        ArgumentTypeError: `attribute` is not a string.
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

    def quick(self) -> Optional[Tuple[Callable[[], Any], Callable[..., Any]]]:
        """
        Return faster functions to read and to put the value; None if the object may have code of its own.
        """
        local, attribute = self._local, self._attribute
        # A subclass may run code for the attribute, or at the first use in a thread, and may raise.
        if type(local) is not threading.local:
            return None

        # These run at every capture, job and step: no calls except the dict's own, and no AttributeError,
        # which would take longer than the rest.
        def get() -> Any:
            value = local.__dict__.get(attribute, _MISSING)
            return None if value is _MISSING else _IS_NONE if value is None else value

        def put(value: Any, _: Any = None) -> Any:
            values = local.__dict__
            previous = values.get(attribute, _MISSING)
            if value is not None:
                values[attribute] = None if value is _IS_NONE else value
            elif previous is not _MISSING:
                del values[attribute]
            return None if previous is _MISSING else _IS_NONE if previous is None else previous

        return get, put

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _ThreadLocalAccessor):
            return NotImplemented
        return self._local is other._local and self._attribute == other._attribute

    def __hash__(self) -> int:
        return hash((id(self._local), self._attribute))

    def __repr__(self) -> str:
        return f"thread_local_accessor({self._local!r}, {self._attribute!r})"
