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
from typing import TYPE_CHECKING, Any, AsyncGenerator, Callable, List, Optional, Tuple

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
from clew.context.streams import StreamType, has_special, stand_in
from clew.payloads import MAX_STRING_CHARS
from clew.runs import sampling as _sampling
from clew.runs.identity import Ambient, Identity, ambient, current_baggage, current_identity, report_foreign_exit

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.runs.run import RunTree
    from clew.runs.traceable import Recipe

__all__ = ("TracedGeneratorFunction", "in_place", "streamed")

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

    Where its call is not recorded there is no run, and the body has what was current at the call. All
    ContextVars but the run tree's own are the consumer's, as they are for a plain generator.
    """

    __slots__ = (
        "_carried",
        "_is_unseen",
        "_left_out",
        "_origin",
        "_recipe",
        "_run",
        "_starts",
        "ambient",
        "chunks",
        "identity",
        "most_plain",
    )

    ambient: Ambient
    identity: Optional[Identity]
    _run: Optional[RunTree]  # until it has ended
    most_plain: int  # how many chunks there may be of those that need no copying
    # Of the outermost block of `tracing_context` that the body was suspended in: the baggage inside, and outside.
    _carried: Optional[Tuple[Ambient, Optional[Baggage], Optional[Baggage]]]

    def __init__(self, recipe: Recipe, run: Optional[RunTree], *, starts: bool, is_unseen: bool = False) -> None:
        self._recipe = recipe
        self._run = run
        self._starts = starts
        self._is_unseen = is_unseen  # until it starts
        self.identity = _current() if run is None else run._identity
        self.ambient = self._origin = _around()
        self._carried = None
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
                self._recipe.start_late(self._run, is_unseen=self._is_unseen)
        return self.step

    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        """
        Return `fn(*args)`, in which the body's run is current.
        """
        before, around = _current(), _around()
        _set_current(self.identity)
        if around is not self.ambient:
            self._enter_block()
        try:
            chunk = fn(*args)
        except BaseException as error:
            self._suspend(before, around)
            self.end(error, is_closed=isinstance(getattr(fn, "__self__", None), Exit))
            raise
        finally:
            del args  # which may hold an exception, whose traceback holds this frame
        # What is called here is written out for what most steps are.
        if _current() is self.identity and _around() is around is self.ambient:
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
        if not (_around() is around is self.ambient):
            self._leave_block(around)

    def _enter_block(self) -> None:
        _set_around(self.ambient)
        if self._carried is not None and self.ambient is not self._origin:
            block, inside, _ = self._carried
            self._carried = block, inside, current_baggage.get()
            current_baggage.set(inside)

    def _leave_block(self, around: Ambient) -> None:
        block = _around()
        if block is not self.ambient:
            self.ambient = block
            block.is_carried = True
        _set_around(around)
        outermost = self._outermost(block)
        if outermost is None:
            return
        outside = outermost.before[2]
        if self._carried is not None and self._carried[0] is outermost:
            outside = self._carried[2]
        self._carried = outermost, current_baggage.get(), outside
        current_baggage.set(outside)

    def _outermost(self, block: Ambient) -> Optional[Ambient]:
        # Of the blocks that the body has opened.
        while block is not self._origin and hasattr(block, "before"):
            _, around, _ = block.before
            if around is self._origin:
                return block
            block = around
        return None

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
            self._enter_block()
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
        if not (_around() is around is self.ambient):
            self._leave_block(around)

    def add(self, chunk: Any) -> None:
        """
        Record one item.
        """
        run = self._run
        if run is None or run._status != "pending":
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
        if run is None or run._status != "pending":
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
                        if get_current() is stream.identity and get_around() is around is stream.ambient:
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
                return self._called(recipe, args, kwargs, is_addressed=True)
        return self._called(recipe, args, kwargs)

    def _called(self, recipe: Recipe, args: Any, kwargs: Any, *, is_addressed: bool = False) -> Any:
        is_recorded = _sampling.start_hooks and recipe.is_enabled
        run = recipe.start(args, kwargs, later=True) if is_recorded else None
        if recipe.fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            if is_recorded or (is_addressed and _sampling.start_hooks):
                return self.driven(_Stream(recipe, None, starts=False), self._fn, args, kwargs)
            return self._fn(*args, **kwargs)
        # What is no plain function may do something at its call, such as to make a run of its own.
        is_plain = type(self._fn) is FunctionType
        call = self._fn if is_plain else _under(run, self._fn)
        return self.driven(_Stream(recipe, run, starts=True, is_unseen=is_plain), call, args, kwargs)


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


step_codes.update(fn.__code__ for fn in (_StreamObject.run, _StreamObject._step_native))

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
    kind = type(result)
    if kind is GeneratorType or kind is AsyncGeneratorType:
        # If the program has kept it, it would be closed with the driver, and read past it.
        is_alone = is_fresh(result) and _references_to(result) <= _ALONE
        return _driving(result, _Stream(recipe, run, starts=False)) if is_alone else None
    is_stream = type(kind) is StreamType or any(has_special(kind, name) for name in _STREAMS_HAVE)
    return stand_in(result, _StreamObject(recipe, run, starts=False)) if is_stream else None


_STREAMS_HAVE = ("__next__", "__anext__", "__aiter__")


def in_place(result: Any, recipe: Recipe) -> Any:
    """
    Return what a function has returned whose call is not recorded; a generator stays where that was called.
    """
    kind = type(result)
    if (kind is GeneratorType or kind is AsyncGeneratorType) and is_fresh(result) and _references_to(result) <= _ALONE:
        return _driving(result, _Stream(recipe, None, starts=False))
    return result


def _driving(generator: Any, stream: _Stream) -> Any:
    if isinstance(generator, GeneratorType):
        return named(_driver_for(generator.gi_code)(stream, [generator]), generator)
    return named(drive_async_traced(stream, generator), generator)
