"""
Traced streams: generator functions, and the generators and stream objects that traced functions return.

The run of a stream is in `clew.runs._tree.stream_run`; which functions are traced, in `clew.runs.traceable`.
"""

from __future__ import annotations

import sys
from contextvars import Context
from inspect import isawaitable
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, Optional

from clew.context._stepping.checking import is_fresh, named
from clew.context._stepping.function_likes import FunctionLike
from clew.context._stepping.stream_objects import StreamType, has_special, stand_in
from clew.context._stepping.throwing import Thrown, step_codes, without_frames
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import current_identity, current_options
from clew.runs._tree.identity import UnsampledRoot
from clew.runs._tree.stream_drivers import drive_async_traced, driver_for
from clew.runs._tree.stream_run import StreamRun

if TYPE_CHECKING:
    from clew.runs._tree.recipe import Recipe
    from clew.runs.run import RunTree

__all__ = (
    "TracedGeneratorFunction",
    "in_place",
    "streamed",
)

_current = current_identity.get
_set_current = current_identity.set
_reset_current = current_identity.reset
_get_options = current_options.get


class TracedGeneratorFunction(FunctionLike):
    """
    A traced generator function: each of its generators is a run.
    """

    __slots__ = ("_recipe",)

    def __init__(self, fn: Any, kind: str, recipe: Recipe) -> None:
        super().__init__(fn, kind)
        self._recipe = recipe
        recipe.starts_late = recipe.is_special = True

    def _driver_of(self, code: CodeType) -> Callable[..., Any]:
        """
        Return the driver for the generators of a function that has this code.
        """
        driver: Callable[..., Any] = drive_async_traced if self._is_async else driver_for(code)
        return driver

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, whose run starts at its first step.
        """
        recipe = self._recipe
        if kwargs and recipe.has_call_options(kwargs):
            context, recipe = recipe.take_call_options(kwargs)
            try:
                try:
                    context.__enter__()
                    return self._called(recipe, args, kwargs, has_call_options=True)
                finally:
                    context.__exit__(None, None, None)
            except BaseException:
                context.__exit__(None, None, None)  # again, as an interrupt may have come in the `finally`
                raise
        return self._called(recipe, args, kwargs)

    def _called(self, recipe: Recipe, args: Any, kwargs: Any, *, has_call_options: bool = False) -> Any:
        is_recorded = _hooks.start_hooks and recipe.is_enabled
        run = recipe.start(args, kwargs) if is_recorded else None
        if recipe.fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            if is_recorded or (has_call_options and _hooks.start_hooks):
                return self._driven(StreamRun(recipe, None), self._fn, args, kwargs)
            return self._fn(*args, **kwargs)
        # A callable other than a plain function may run code at its call, such as to open a run of its own.
        is_plain = type(self._fn) is FunctionType
        call = self._fn if is_plain else _under(run, self._fn)
        if isinstance(run, UnsampledRoot):
            return self._driven(StreamRun.below(run, recipe), call, args, kwargs)
        stream = StreamRun(recipe, run)
        stream.is_unseen = is_plain
        return self._driven(stream, call, args, kwargs)


def _under(run: RunTree, fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        token = _set_current(run._identity)
        try:
            return fn(*args, **kwargs)
        finally:
            _reset_current(token)

    return call


# The operations by which a driver closes an async generator: `Thrown`, and then its methods.
_CLOSING = (Thrown, MethodType)


class _StreamObject(StreamRun):
    """
    The run of a stream that is not a generator: it records the items until the stream ends or is closed.

    The stand-in that `wrap_stream` makes calls the stream's own methods through it.
    """

    __slots__ = ("_called", "_copied")

    # While the collector closes an async generator: the copied context for that; None while the copy is current.
    _copied: Optional[Context]

    def run_last(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Call a method that closes the stream, as `run` does.
        """
        try:
            if self.is_collected():
                return self._copy().run(self.run, fn, *args, **kwargs)
            return self.run(fn, *args, **kwargs)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Call a method of the stream with the run current, and record the item or the end.
        """
        self._called = name = getattr(fn, "__name__", "")
        before, around, token = _current(), _get_options(), None
        try:
            try:
                token = self.enter(around)
                result = fn(*args, **kwargs)
            finally:
                self.leave(token, before, around)
        except BaseException as error:
            self.leave(token, before, around)  # as in `StreamRun.step`
            self.end(error, is_closed=False)
            raise
        finally:
            del args
        if name in ("next", "__next__", "send"):
            self.add(result)
        elif name in ("close", "__exit__") and not isawaitable(result):
            self.end(GeneratorExit(), is_closed=True)
        return result

    def begin(self) -> Callable[..., Any]:
        """
        Return the function that makes the steps of a generator that the stream returns for iteration.
        """
        return self._step_native

    def _step_native(self, fn: Callable[..., Any], *args: Any) -> Any:
        if fn is not next and fn is not without_frames:
            # A driver closes by the method of an `Exit`, the only one that is written in Python.
            return (self.step_of_exit() if fn.__class__ is MethodType else self.step)(fn, *args)
        if args[0].__class__ in _CLOSING and self.is_collected():
            copied = getattr(self, "_copied", self._copy())
            if copied is not None:
                self._copied = None
                try:
                    return copied.run(self._step_native, fn, *args)
                finally:
                    self._copied = copied
                    del args
        before, around, token = _current(), _get_options(), None
        try:
            try:
                token = self.enter(around)
                return fn(*args)
            finally:
                self.leave(token, before, around)
        except StopIteration as item:  # an async generator returns an item by it
            self.add(item.value)
            raise
        except BaseException as error:
            self.leave(token, before, around)  # as in `StreamRun.step`
            self.end(error, is_closed=False)
            raise
        finally:
            del args

    async def stepped(self, awaitable: Any) -> Any:
        """
        Await the result of an async method of the stream with the run current, and record the item or the end.
        """
        name, before, around, token = self._called, _current(), _get_options(), None
        has_left = False
        try:
            try:
                token = self.enter(around)
                result = await awaitable
            finally:
                self.leave(token, before, around)
                has_left = True
        except BaseException as error:
            if not has_left:  # an interrupt has ended `leave`, which counts an exit in another context once
                self.leave(token, before, around)
            self.end(error, is_closed=False)
            raise
        if name in ("__anext__", "asend"):
            self.add(result)
        elif name in ("aclose", "close", "__aexit__"):
            self.end(GeneratorExit(), is_closed=True)
        return result


step_codes.update(fn.__code__ for fn in (_StreamObject.run, _StreamObject.run_last, _StreamObject._step_native))

# The reference count of a value that only a local variable of the caller refers to. PyPy has no counts.
_references_to: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)


def _counted(result: object) -> int:
    return _references_to(result)


def _counted_alone() -> int:
    result = (None for _ in ())
    return _counted(result)


_ALONE = _counted_alone()


def streamed(result: Any, recipe: Recipe, run: RunTree) -> Any:
    """
    Return a stand-in for a stream that a traced function has returned; the run lasts until the stream ends.

    Return None if the result is not a stream, was started before, or is referred to from elsewhere.
    """
    kind = type(result)
    if kind is GeneratorType or kind is AsyncGeneratorType:
        # A generator that the program keeps could be read past the driver, and would be closed with it.
        is_alone = is_fresh(result) and _references_to(result) <= _ALONE
        return _driving(result, StreamRun(recipe, run)) if is_alone else None
    is_stream = type(kind) is StreamType or any(has_special(kind, name) for name in _STREAMS_HAVE)
    return stand_in(result, _StreamObject(recipe, run)) if is_stream else None


_STREAMS_HAVE = ("__next__", "__anext__", "__aiter__")


def in_place(result: Any, recipe: Recipe) -> Any:
    """
    Return the result of a call that is not recorded. A generator keeps the run that was current at the call.
    """
    kind = type(result)
    if (kind is GeneratorType or kind is AsyncGeneratorType) and is_fresh(result) and _references_to(result) <= _ALONE:
        return _driving(result, StreamRun(recipe, None))
    return result


def _driving(generator: Any, stream: StreamRun) -> Any:
    if isinstance(generator, GeneratorType):
        return named(driver_for(generator.gi_code)(stream, [generator]), generator)
    return named(drive_async_traced(stream, generator), generator)
