"""
A coroutine object whose every step runs in one Context.

People make one by `clew.context.coroutines.wrap_coroutine`.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, Callable, Coroutine as CoroutineOf, Optional
from weakref import ref

from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.entering import IN_USE, is_refusal, prepare_for_here
from clew.errors import AlreadyEnteredError, ArgumentTypeError, ContextInUseError

__all__ = (
    "ContextCoroutine",
    "as_coroutine",
    "check_coroutine",
    "close_unstarted",
    "is_current",
)


def check_coroutine(coro: object, call: str) -> None:
    """
    Refuse what is no coroutine object that can be started; `call` shows how it is done.
    """
    if not isinstance(coro, Coroutine) and not _is_generator_based(coro):
        remedy = f"call it: {call}" if callable(coro) else "pass what an async def returns"
        raise ArgumentTypeError(f"expected a coroutine object, got {type(coro).__name__} {coro!r}; {remedy}")
    _refuse_if_started(coro)


def close_unstarted(coro: Any) -> None:
    """
    Close a coroutine that no task was made of, so that nobody hears that it "was never awaited".

    One that is being awaited elsewhere, or that is none, is left alone.
    """
    # Not by `inspect`, which asks for what Cython's coroutines do not have.
    is_open = isinstance(coro, Coroutine) and getattr(coro, "cr_frame", None) is not None
    if is_open and not getattr(coro, "cr_running", False) and getattr(coro, "cr_await", None) is None:
        coro.close()


class ContextCoroutine(Collectable, CoroutineOf[Any, Any, Any]):
    """
    Be a coroutine object whose every step runs in one Context; all attributes are those of the wrapped one.

    An abandoned one is closed in that context, too, so that a `ContextVar.reset` in a ``finally`` works.
    (In a garbage cycle of its own the interpreter may close the coroutine first, in whichever context is
    current, as it does with a bare one.)
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
        self._is_copy = is_copy  # and nobody else's, so that it may be changed before the first step
        self._is_started = False
        self._send = coroutine.send
        call: Any = run or context.run  # which is typed as taking a function first
        self._run: Callable[..., Any] = partial(call, *carriers(carried)) if carried else call

    def __await__(self) -> Any:
        if self._is_started:
            _refuse_if_started(self._coroutine)
        return self

    # What `await` and the tasks of every loop call; with a value they call `send`.
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
            del value  # which may hold the exception that this raises, whose traceback holds this frame

    def send(self, value: Any) -> Any:
        """
        Resume the coroutine with `value`, in its context.
        """
        try:
            return self.__next__(value)
        finally:
            del value  # as above

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception in the coroutine, in its context; arguments as those of a native coroutine.
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
            del exception  # whose traceback holds this frame

    # From 3.13 on, closing gives the value that the body has returned meanwhile.
    def close(self) -> Any:
        """
        Close the coroutine in its context, or, if something else is running in that, in a copy of it.
        """
        close = self._coroutine.close
        try:
            return self._run(close)
        except RuntimeError as error:
            if not is_refusal(error):
                raise
        self._refuse_if_running()
        # To ask whether it is the current one sets a variable in that.
        if not self.is_collected() and is_current(self._context):
            return self._call_in_place(close)
        return self._context.copy().run(self._call_in_place, close)

    def __del__(self) -> None:
        # One that was never started says so itself, as a native one does: "was never awaited". No name
        # of this module is used, as at the exit of the interpreter they go first.
        coroutine = self._coroutine
        waits = getattr(coroutine, "cr_await", None) is not None or getattr(coroutine, "gi_frame", None) is not None
        # It runs if it goes in the same cycle, and what it does at its end has led to here.
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
        except Exception as error:  # noqa: BLE001  it is told as the cause
            failure = error
        try:
            raise ContextInUseError(IN_USE) from failure
        finally:
            del failure  # whose traceback has this frame

    def _refuse_if_running(self) -> None:
        # Raised here, and not by calling it: by then, another thread may have suspended it.
        for kind, is_running in (("coroutine", "cr_running"), ("generator", "gi_running")):
            if getattr(self._coroutine, is_running, False):
                raise ValueError(f"{kind} already executing")

    def _call_in_place(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            if isinstance(self._run, partial):  # carried values, which do not depend on the context
                call, *rest = self._run.args
                return call(*rest, step, *args)
            return step(*args)
        finally:
            del args  # as in `throw`


_probe: ContextVar[object] = ContextVar("clew_probe")


def is_current(context: Context) -> bool:
    """
    Return whether `context` is the very one that the caller runs in.
    """
    mark = object()
    token = _probe.set(mark)
    try:
        return context.get(_probe) is mark
    finally:
        _probe.reset(token)


def as_coroutine(awaitable: Any) -> Any:
    """
    Return an awaitable as what can be stepped: a coroutine as it is, anything else inside of one.
    """
    if isinstance(awaitable, Coroutine) or _is_generator_based(awaitable):
        return awaitable

    async def wait() -> Any:
        return await awaitable

    return wait()


def _is_generator_based(coro: object) -> bool:
    return inspect.isgenerator(coro) and bool(coro.gi_code.co_flags & inspect.CO_ITERABLE_COROUTINE)


def _refuse_if_started(coroutine: Any) -> None:
    if inspect.isgenerator(coroutine):
        is_started = inspect.getgeneratorstate(coroutine) == inspect.GEN_SUSPENDED
    else:
        is_started = getattr(coroutine, "cr_await", None) is not None  # what a native `await` asks, too
    if is_started:
        raise AlreadyEnteredError(
            f"expected a coroutine that was not started, found {coroutine!r} being awaited already; "
            f"call its function once more, and wrap and await each coroutine once"
        )
