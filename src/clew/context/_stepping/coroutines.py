"""
Step a coroutine in one Context, whichever task awaits it.

Guarantees: each `send`, `throw` and `close` of the wrapped coroutine runs in that Context, in the awaiting task. An
abandoned coroutine is closed in that Context, too.

Assumes: an event loop makes one step of a coroutine at a time.

The public function is `clew.context.coroutines.wrap_coroutine`.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from functools import partial
from types import CoroutineType, GeneratorType
from typing import Any, Callable, Coroutine as CoroutineOf, Optional
from weakref import ref

from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.entering import IN_USE, is_refusal, prepare_for_here
from clew.errors import AlreadyEnteredError, ArgumentTypeError, ContextInUseError

__all__ = ("ContextCoroutine", "as_coroutine", "check_coroutine", "close_unstarted", "is_current")


def check_coroutine(coro: object, call: str) -> None:
    """
    Raise an error, unless `coro` is a coroutine object that was not started. The error shows the correct `call`.
    """
    if type(coro) is not CoroutineType and not isinstance(coro, Coroutine) and not _is_generator_based(coro):
        remedy = f"call it: {call}" if callable(coro) else "call an async function and pass the result"
        raise ArgumentTypeError(f"expected a coroutine object, got {type(coro).__name__} {coro!r}; {remedy}")
    _refuse_if_started(coro)


def close_unstarted(coro: Any) -> None:
    """
    Close a coroutine that no task will run, so that Python does not warn that it "was never awaited".

    A coroutine that other code awaits, and an object that is not a coroutine, are left alone.
    """
    # `inspect` would read attributes that the coroutines of Cython lack.
    is_open = isinstance(coro, Coroutine) and getattr(coro, "cr_frame", None) is not None
    if is_open and not getattr(coro, "cr_running", False) and getattr(coro, "cr_await", None) is None:
        coro.close()


class ContextCoroutine(Collectable, CoroutineOf[Any, Any, Any]):
    """
    A coroutine object whose every step runs in one Context. It has the attributes of the wrapped coroutine.

    If it is abandoned, it closes the wrapped coroutine in that Context, so that a `ContextVar.reset` in a ``finally``
    works. (If both are in one garbage cycle, the interpreter may close the wrapped coroutine first, in the current
    context, as it closes a bare coroutine.)
    """

    __slots__ = ("_context", "_coroutine", "_is_copy", "_is_started", "_run", "_send")

    def __init__(
        self,
        coroutine: Any,
        context: Context,
        carried: Carried = (),
        *,
        is_copy: bool = False,
        run: Optional[Callable[..., Any]] = None,
    ) -> None:
        self._reference = ref(self, CALLBACK)
        self._coroutine = coroutine
        self._context = context
        self._is_copy = is_copy  # no other code has the context, so the first step may prepare it
        self._is_started = False
        self._send = coroutine.send
        call: Any = run or context.run  # Any: it is typed as taking a function first, and here takes a carrier
        self._run: Callable[..., Any] = partial(call, *carriers(carried)) if carried else call

    def __await__(self) -> Any:
        if self._is_started:
            _refuse_if_started(self._coroutine)
        return self

    # `await` and event loops call this if they send None, which is the frequent case; otherwise they call `send`.
    def __next__(self, value: Any = None) -> Any:
        if not self._is_started:
            self._begin()
        try:
            try:
                return self._run(self._send, value)
            except RuntimeError as error:
                if not is_refusal(error):
                    raise
            return self._step_refused(self._send, value)
        finally:
            del value  # it may hold the exception that this raises, whose traceback holds this frame

    def send(self, value: Any) -> Any:
        """
        Resume the coroutine with `value`, in its context.
        """
        try:
            return self.__next__(value)
        finally:
            del value  # as in `__next__`

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception in the coroutine, in its context. The arguments are those of a native coroutine.
        """
        if not self._is_started:
            self._begin()
        try:
            try:
                return self._run(self._coroutine.throw, *exception)
            except RuntimeError as error:
                if not is_refusal(error):
                    raise
            return self._step_refused(self._coroutine.throw, *exception)
        finally:
            del exception  # its traceback holds this frame

    # 3.13+: `close` of a generator returns the value that the generator returns.
    def close(self) -> Any:
        """
        Close the coroutine in its context. If other code is running there, close it in a copy of the context.
        """
        close = self._coroutine.close
        try:
            return self._run(close)
        except RuntimeError as error:
            if not is_refusal(error):
                raise
        self._refuse_if_running()
        # `is_current` sets a variable in the current context, which a finaliser must not do.
        if not self.is_collected() and is_current(self._context):
            return self._call_in_place(close)
        return self._context.copy().run(self._call_in_place, close)

    def __del__(self) -> None:
        # If it was not started, the wrapped coroutine itself warns that it "was never awaited". No globals are used
        # here, because the interpreter may have cleared them at its exit.
        coroutine = self._coroutine
        waits = getattr(coroutine, "cr_await", None) is not None or getattr(coroutine, "gi_frame", None) is not None
        # `cr_running`: the interpreter is finalising the coroutine, and that has released this object.
        if self._is_started and waits and not getattr(coroutine, "cr_running", False):
            self.close()

    def __reduce__(self) -> Any:
        raise TypeError(f"cannot pickle {type(self._coroutine).__name__!r} object")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coroutine, name)

    def __repr__(self) -> str:
        return f"<clew.ContextCoroutine of {self._coroutine!r}>"

    def _begin(self) -> None:
        _refuse_if_started(self._coroutine)
        self._is_started = True
        if self._is_copy:
            prepare_for_here(self._context)

    def _step_refused(self, step: Callable[..., Any], *args: Any) -> Any:
        self._refuse_if_running()
        if is_current(self._context):
            try:
                return self._call_in_place(step, *args)
            finally:
                del args  # as in `throw`
        failure: Optional[Exception] = None
        try:
            self.close()
        except Exception as error:  # noqa: BLE001  it becomes the cause
            failure = error
        try:
            raise ContextInUseError(IN_USE) from failure
        finally:
            del failure  # its traceback holds this frame

    def _refuse_if_running(self) -> None:
        # Raised here: a call of the coroutine would not raise if another thread had suspended it meanwhile.
        for kind, is_running in (("coroutine", "cr_running"), ("generator", "gi_running")):
            if getattr(self._coroutine, is_running, False):
                raise ValueError(f"{kind} already executing")

    def _call_in_place(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            if isinstance(self._run, partial):  # it carries accessor values, which no context holds
                call, *rest = self._run.args
                return call(*rest, step, *args)
            return step(*args)
        finally:
            del args  # as in `throw`


_probe: ContextVar[object] = ContextVar("clew_probe")


def is_current(context: Context) -> bool:
    """
    Return whether `context` is the Context that the caller runs in.
    """
    mark = object()
    token = _probe.set(mark)
    try:
        return context.get(_probe) is mark
    finally:
        _probe.reset(token)


def as_coroutine(awaitable: Any) -> Any:
    """
    Return a coroutine that awaits `awaitable`. Return a coroutine unchanged.
    """
    if isinstance(awaitable, Coroutine) or _is_generator_based(awaitable):
        return awaitable

    async def wait() -> Any:
        return await awaitable

    return wait()


def _is_generator_based(coro: object) -> bool:
    return isinstance(coro, GeneratorType) and bool(coro.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _refuse_if_started(coroutine: Any) -> None:
    if isinstance(coroutine, GeneratorType):
        is_started = inspect.getgeneratorstate(coroutine) == inspect.GEN_SUSPENDED
    else:
        is_started = getattr(coroutine, "cr_await", None) is not None  # a native `await` checks the same
    if is_started:
        raise AlreadyEnteredError(
            f"expected a coroutine that was not started, found {coroutine!r} being awaited already; "
            f"call its function again, and wrap and await each coroutine once"
        )
