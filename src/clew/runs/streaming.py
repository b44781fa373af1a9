"""
Generators as runs: open from the first step to the last, with what they have yielded as their output.

How a generator is driven is in `clew.context`; which functions are traced, in `clew.runs.traceable`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import Token
from functools import lru_cache
from inspect import isawaitable
from itertools import repeat
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any, AsyncGenerator, Callable, List, Optional

from clew.context._bodies import is_fresh, named
from clew.context._throwing import (
    Exit,
    Thrown,
    from_body,
    step_codes,
    without_frames,
    without_steps,
    without_this_frame,
)
from clew.context.async_generators import StepHere, first_operation
from clew.context.generator_functions import FunctionLike
from clew.context.generators import driver_for
from clew.context.streams import stand_in
from clew.payloads import MAX_STRING_CHARS
from clew.runs import sampling as _sampling
from clew.runs.identity import Ambient, Identity, ambient, current_identity, report_foreign_exit

if TYPE_CHECKING:
    from clew.runs.run import RunTree
    from clew.runs.traceable import Recipe

__all__ = ("STREAM_TYPES", "TracedGeneratorFunction", "streamed")

STREAM_TYPES = frozenset((GeneratorType, AsyncGeneratorType))
# Of what is recorded without being reduced; the others are counted.
MOST_CHUNKS = 10_000

_current = current_identity.get
_set_current = current_identity.set
_reset_current = current_identity.reset
_around = ambient.get
_set_around = ambient.set


class _Stream:
    """
    Hold the run of one generator, and what the body has as the current one, its own or that of an open block.

    All ContextVars but the run tree's own two are the consumer's, as they are for a plain generator.
    """

    __slots__ = ("_left_out", "_recipe", "_run", "_starts", "ambient", "chunks", "identity", "most_plain")

    identity: Optional[Identity]
    _run: Optional[RunTree]  # until it has ended
    most_plain: int  # how many chunks there may be of those that need no copying

    def __init__(self, recipe: Recipe, run: RunTree, *, starts: bool) -> None:
        self._recipe = recipe
        self._run = run
        self._starts = starts
        self.identity = run._identity
        self.ambient = _around()
        self.chunks: List[Any] = []
        self._left_out = 0
        self.most_plain = 0

    def begin(self) -> Callable[..., Any]:
        """
        Start the run, unless that was done at the call, and return what makes each step of a plain generator.
        """
        if self._starts:
            self._starts = False
            if self._run is not None:
                self._recipe.start_late(self._run)
        return self.step

    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        """
        Return `fn(*args)`, in which the body's run is current.
        """
        before, around = _current(), _around()
        _set_current(self.identity)
        if around is not self.ambient:
            _set_around(self.ambient)
        try:
            chunk = fn(*args)
        except BaseException as error:
            self._suspend(before, around)
            self.end(error, is_closed=isinstance(getattr(fn, "__self__", None), Exit))
            raise
        finally:
            del args  # which may hold an exception, whose traceback holds this frame
        # What is called here is written out for what most steps are.
        if _current() is self.identity and _around() is around:
            _set_current(before)
        else:
            self._suspend(before, around)
        if type(chunk) is str and len(chunk) < MAX_STRING_CHARS and 0 < len(self.chunks) < self.most_plain:
            self.chunks.append(chunk)
        elif chunk is None and fn.__name__ == "close":
            self.end(sys.exc_info()[1] or GeneratorExit(), is_closed=False)
        else:
            self.add(chunk)
        return chunk

    def _suspend(self, before: Optional[Identity], around: Ambient) -> None:
        self._keep(_current())
        _set_current(before)
        if _around() is not around:
            self.ambient = _around()
            _set_around(around)

    def _keep(self, here: Optional[Identity]) -> None:
        if here is not self.identity:
            self.identity = here
            if here is not None:
                here.is_carried = True

    def enter(self, around: Ambient) -> Token[Optional[Identity]]:
        """
        Make the body's run current, until `leave`.
        """
        if around is not self.ambient:
            _set_around(self.ambient)
        return _set_current(self.identity)

    def leave(self, token: Token[Optional[Identity]], around: Ambient) -> None:
        """
        Make that current again which was so before `enter`.
        """
        here = _current()
        try:
            _reset_current(token)
        except ValueError:  # what was asked for in one context was waited for in another one
            report_foreign_exit()
            return
        if here is not self.identity:
            self._keep(here)
        if _around() is not around:
            self.ambient = _around()
            _set_around(around)

    def add(self, chunk: Any) -> None:
        """
        Record one item.
        """
        run = self._run
        if run is None or run.status != "pending":
            return
        chunks = self.chunks
        if not chunks:
            run.add_event("new_token")
            self.most_plain = MOST_CHUNKS if self._recipe.copies_chunks else 0
        if len(chunks) < MOST_CHUNKS or self._recipe.reduces:
            chunks.append(self._recipe.copy_chunk(chunk))
        else:
            self._left_out += 1

    def end(self, error: BaseException, *, is_closed: bool) -> None:
        """
        End the run, as the body has ended by an exception, be it the one that says that it has come to its end.
        """
        run, self._run = self._run, None
        if run is None or run.status != "pending":
            return
        chunks, self.chunks = self.chunks, []
        if self._left_out:
            chunks.append(f"<cut: {len(chunks) + self._left_out} chunks>")
        try:
            run.result = self._recipe.copy_chunks(chunks)
        finally:
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
                self.end(GeneratorExit(), is_closed=True)


step_codes.add(_Stream.step.__code__)


# A driver of its own, as what it drives may be wrapped in a context, and what clew's other drivers drive is so.
@lru_cache(maxsize=None)
def _driver_for(code: CodeType) -> Any:
    driver: Any = driver_for(code)
    return FunctionType(driver.__code__.replace(co_name="drive_traced"), driver.__globals__, "drive_traced")


async def drive_async_traced(  # noqa: PLR0912, PLR0915  written out, as a call for each item would cost a third more
    stream: _Stream, body: Any
) -> AsyncGenerator[Any, Any]:
    """
    Drive the async generator `body`, whose run is current from when an item is asked for until it comes.

    As in a traced coroutine, it is so in the context of whoever asks, also while what the body awaits is
    waited for. All else is as in `clew.context.async_generators.drive_async`, where the reasons are.
    """
    stream.begin()
    step, repeated, asend, thrown, as_thrown = StepHere, repeat, body.asend, Thrown, without_this_frame
    get_current, set_current, get_around, as_ended, next_ = _current, _set_current, _around, without_steps, next
    longest = MAX_STRING_CHARS
    operation, plain, is_closed = first_operation(body), None, False
    box: List[Any] = []
    try:
        while True:
            try:
                around = get_around()
                token = stream.enter(around)
                try:
                    box.append(await step(next_, repeated(operation)))
                finally:
                    stream.leave(token, around)
                operation, is_closed = None, False
                stream.add(box[0])
                sent = yield box.pop()
                while sent is None:
                    # The same, with what is called written out for what most steps are.
                    plain = asend(None)
                    before, around = get_current(), get_around()
                    token = set_current(stream.identity) if around is stream.ambient else stream.enter(around)
                    try:
                        box.append(await step(next_, repeated(plain)))
                    finally:
                        if get_current() is stream.identity and get_around() is around:
                            set_current(before)
                        else:
                            stream.leave(token, around)
                    if type(box[0]) is str and len(box[0]) < longest and 0 < len(stream.chunks) < stream.most_plain:
                        stream.chunks.append(box[0])
                    else:
                        stream.add(box[0])
                    sent = yield box.pop()
                operation = asend(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  each may be caught by the body, which goes on
                if body.ag_frame is None or getattr(operation, "error", None) is not None:
                    stream.end(error, is_closed=is_closed)
                    raise as_ended(error)  # noqa: B904  it is the same one
                is_closed = isinstance(error, GeneratorExit)
                if body.ag_running:
                    operation = thrown.into(plain if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(body.athrow(as_thrown(error)))
                else:
                    # It comes from what the body awaits, before that could resume. This ends here.
                    await step(next_, repeated(body.aclose()))
                    stream.end(error, is_closed=is_closed)
                    raise
    except StopAsyncIteration:
        pass
    finally:
        del operation


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
        driver: Callable[..., Any] = drive_async_traced if self._is_async else _driver_for(code)
        return driver

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that is a run from its first step on.
        """
        recipe = self._recipe
        if kwargs and recipe.is_addressed(kwargs):
            context, recipe = recipe.with_extra(kwargs)
            with context:
                return self._called(recipe, args, kwargs)
        return self._called(recipe, args, kwargs)

    def _called(self, recipe: Recipe, args: Any, kwargs: Any) -> Any:
        run = recipe.start(args, kwargs, later=True) if _sampling.start_hooks and recipe.is_enabled else None
        if recipe.fills_run_tree:
            kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            return self._fn(*args, **kwargs)
        # What is no plain function may do something at its call, such as to make a run of its own.
        call = self._fn if type(self._fn) is FunctionType else _under(run, self._fn)
        return self.driven(_Stream(recipe, run, starts=True), call, args, kwargs)


def _under(run: RunTree, fn: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        token = _set_current(run._identity)
        try:
            return fn(*args, **kwargs)
        finally:
            _reset_current(token)

    return call


class _StreamObject(_Stream):
    """
    Record a stream that is no generator: what it gives when it is iterated over, until it ends or is closed.

    It is what the object that stands for the stream has call the stream's own methods.
    """

    __slots__ = ("_called",)

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Return `fn(*args, **kwargs)`, in which the run is current.
        """
        self._called = name = getattr(fn, "__name__", "")
        before, around = _current(), _around()
        self.enter(around)
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:
            self._suspend(before, around)
            self.end(error, is_closed=False)
            raise
        finally:
            del args
        self._suspend(before, around)
        if name in ("next", "__next__", "send"):
            self.add(result)
        elif name in ("close", "__exit__") and not isawaitable(result):
            self.end(GeneratorExit(), is_closed=True)
        return result

    def begin(self) -> Callable[..., Any]:
        """
        Return what makes each step of a native generator that the stream gives to be iterated over.
        """
        return self._step_native

    def _step_native(self, fn: Callable[..., Any], *args: Any) -> Any:
        if fn is not next and fn is not without_frames:
            return self.step(fn, *args)
        before, around = _current(), _around()
        self.enter(around)
        try:
            return fn(*args)
        except StopIteration as item:  # in which an async generator gives it
            self.add(item.value)
            raise
        except BaseException as error:
            self.end(error, is_closed=False)
            raise
        finally:
            self._suspend(before, around)
            del args

    async def stepped(self, awaitable: Any) -> Any:
        """
        Return what one of the stream's methods gives when it is awaited.
        """
        name, around = self._called, _around()
        token = self.enter(around)
        try:
            result = await awaitable
        except BaseException as error:
            self.leave(token, around)
            self.end(error, is_closed=False)
            raise
        self.leave(token, around)
        if name in ("__anext__", "asend"):
            self.add(result)
        elif name in ("aclose", "close", "__aexit__"):
            self.end(GeneratorExit(), is_closed=True)
        return result


# How many references there are to what is in a variable of a function that calls another one with it, if that is all.
# PyPy does not count them.
_references_to: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 0)


def _counted(result: object) -> int:
    return _references_to(result)


def _counted_alone() -> int:
    result = (None for _ in ())
    return _counted(result)


_ALONE = _counted_alone()


def streamed(result: Any, recipe: Recipe, run: RunTree) -> Any:
    """
    Return what stands for a stream that a traced function has returned, whose run goes on until it ends.

    None for what is none, was begun before, or is kept by somebody else, too.
    """
    if type(result) not in STREAM_TYPES:
        is_stream = hasattr(result, "__next__") or hasattr(result, "__anext__") or hasattr(result, "__aiter__")
        return stand_in(result, _StreamObject(recipe, run, starts=False)) if is_stream else None
    # If the program has kept it, it would be closed with the driver, and read past it.
    if not is_fresh(result) or _references_to(result) > _ALONE:
        return None
    stream = _Stream(recipe, run, starts=False)
    if isinstance(result, GeneratorType):
        return named(_driver_for(result.gi_code)(stream, [result]), result)
    return named(drive_async_traced(stream, result), result)
