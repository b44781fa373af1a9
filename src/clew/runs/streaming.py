"""
Generators as runs: open from the first step to the last, with what they have yielded as their output.

How a generator is driven is in `clew.context`; which functions are traced, in `clew.runs.traceable`.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from contextlib import suppress
from functools import lru_cache
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any, Callable, List, Optional

from clew.context._bodies import is_fresh, named
from clew.context._throwing import Exit, Thrown, from_body, step_codes
from clew.context.async_generators import drive_async
from clew.context.generator_functions import FunctionLike
from clew.context.generators import driver_for
from clew.runs import run as _run
from clew.runs.identity import Ambient, Identity, ambient, current_identity

if TYPE_CHECKING:
    from clew.runs.run import RunTree
    from clew.runs.traceable import Recipe

__all__ = ("STREAM_TYPES", "TracedGeneratorFunction", "streamed")

STREAM_TYPES = frozenset((GeneratorType, AsyncGeneratorType))
# Of what is recorded without being reduced; the others are counted.
MOST_CHUNKS = 10_000

_current = current_identity.get
_set_current = current_identity.set
_around = ambient.get
_set_around = ambient.set


class _Stream:
    """
    Record one generator: its run is current in each step, and ends with the last.

    It is what the generator's driver has make each step. All ContextVars but the run tree's own two are
    the consumer's, as they are for a plain generator.
    """

    __slots__ = ("_ambient", "_chunks", "_identity", "_number", "_recipe", "_run", "_starts")

    _identity: Optional[Identity]
    _run: Optional[RunTree]  # until it has ended

    def __init__(self, recipe: Recipe, run: RunTree, *, starts: bool) -> None:
        self._recipe = recipe
        self._run = run
        self._starts = starts
        # What the body has as the current run: its own, or that of a `trace` block that is open at a yield.
        self._identity = run._identity
        self._ambient = _around()
        self._chunks: List[Any] = []
        self._number = 0

    def begin(self) -> Callable[..., Any]:
        """
        Start the run, unless that was done at the call, and return what makes each step.
        """
        if self._starts:
            self._starts = False
            if self._run is not None:
                self._recipe.start_late(self._run)
        return self.step

    @abstractmethod
    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        """
        Return `fn(*args)`, in which the body's run is current.
        """

    def _suspend(self, before: Optional[Identity], around: Ambient) -> None:
        here = _current()
        if here is not self._identity:
            self._identity = here
            if here is not None:
                here.is_carried = True
        _set_current(before)
        if _around() is not around:
            self._ambient = _around()
            _set_around(around)

    def _add(self, chunk: Any) -> None:
        run = self._run
        if run is None or run.status != "pending":
            return
        if not self._number:
            run.add_event("new_token")
        if self._number < MOST_CHUNKS or self._recipe.reduces:
            self._chunks.append(self._recipe.copy_chunk(chunk))
        self._number += 1

    def _end(self, error: BaseException, *, is_closed: bool) -> None:
        run, self._run = self._run, None
        if run is None or run.status != "pending":
            return
        chunks, self._chunks = self._chunks, []
        if self._number > len(chunks):
            chunks.append(f"<cut: {self._number} chunks>")
        run.result = self._recipe.copy_chunks(chunks)
        if is_closed or isinstance(error, GeneratorExit):
            run.close("cancelled")
        elif isinstance(error, (StopIteration, StopAsyncIteration)):
            run.close("success")
        else:
            run.fail(error, from_body(error))

    def __del__(self) -> None:
        # Of a generator that nobody has closed: it was not begun, or no event loop was there to close it.
        if self._run is not None and not self._starts:
            with suppress(Exception):  # the interpreter exits, and what is global is gone
                self._end(GeneratorExit(), is_closed=True)


class _SyncStream(_Stream):
    __slots__ = ()

    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        before, around = _current(), _around()
        _set_current(self._identity)
        if around is not self._ambient:
            _set_around(self._ambient)
        try:
            chunk = fn(*args)
        except BaseException as error:
            self._suspend(before, around)
            self._end(error, is_closed=_is_exit(fn))
            raise
        finally:
            del args  # which may hold an exception, whose traceback holds this frame
        self._suspend(before, around)
        if chunk is None and fn.__name__ == "close":
            self._end(sys.exc_info()[1] or GeneratorExit(), is_closed=False)
        else:
            self._add(chunk)
        return chunk


class _AsyncStream(_Stream):
    __slots__ = ()

    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        before, around = _current(), _around()
        _set_current(self._identity)
        if around is not self._ambient:
            _set_around(self._ambient)
        try:
            # What the body awaits is returned; an item comes as the value of a StopIteration.
            result = fn(*args)
        except StopIteration as item:
            self._suspend(before, around)
            if _is_closing(args[0]):
                self._end(item.__context__ or GeneratorExit(), is_closed=False)
            else:
                self._add(item.value)
            raise
        except BaseException as error:
            self._suspend(before, around)
            self._end(error, is_closed=_is_exit(fn) or _is_exit(args[0]))
            raise
        finally:
            del args
        self._suspend(before, around)
        return result


step_codes.update((_SyncStream.step.__code__, _AsyncStream.step.__code__))


def _is_exit(operation: object) -> bool:
    """
    Return whether an operation on a body, or a method of one, throws a GeneratorExit into it.
    """
    owner = getattr(operation, "__self__", operation)
    return isinstance(owner, Exit) or (isinstance(owner, Thrown) and owner.is_exit)


def _is_closing(operation: object) -> bool:
    # Those that throw are wrapped.
    return type(getattr(operation, "__self__", operation)).__name__ == "async_generator_athrow"


# Drivers of their own, as what they drive may be wrapped in a context, and that of clew's other drivers may not.
@lru_cache(maxsize=None)
def _renamed(driver: Any) -> Any:
    return FunctionType(driver.__code__.replace(co_name="drive_traced"), driver.__globals__, "drive_traced")


_drive_async = _renamed(drive_async)


def _driver_for(code: CodeType) -> Any:
    return _renamed(driver_for(code))


class TracedGeneratorFunction(FunctionLike):
    """
    Be a function each of whose generators is a run.
    """

    __slots__ = ("_recipe",)

    def __init__(self, fn: Any, kind: str, recipe: Recipe) -> None:
        super().__init__(fn, kind)
        self._recipe = recipe

    def driver_of(self, code: CodeType) -> Callable[..., Any]:
        """
        Return what drives the generators of a function that has this code.
        """
        driver: Callable[..., Any] = _drive_async if self._is_async else _driver_for(code)
        return driver

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that is a run from its first step on.
        """
        recipe = self._recipe
        if "langsmith_extra" in kwargs:
            context, recipe = recipe.with_extra(kwargs.pop("langsmith_extra"))
            with context:
                return self._called(recipe, args, kwargs)
        return self._called(recipe, args, kwargs)

    def _called(self, recipe: Recipe, args: Any, kwargs: Any) -> Any:
        run = recipe.start(args, kwargs, later=True) if _run.start_hooks and recipe.is_enabled else None
        if recipe.fills_run_tree:
            kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            return self._fn(*args, **kwargs)
        stream = (_AsyncStream if self._is_async else _SyncStream)(recipe, run, starts=True)
        return self.driven(stream, self._fn, args, kwargs)


def streamed(result: Any, recipe: Recipe, run: RunTree) -> Any:
    """
    Return what drives a generator that a traced function has returned, whose run goes on; None if it was begun before.
    """
    if not is_fresh(result):
        return None
    if isinstance(result, GeneratorType):
        return named(_driver_for(result.gi_code)(_SyncStream(recipe, run, starts=False), [result]), result)
    return named(_drive_async(_AsyncStream(recipe, run, starts=False), result), result)
