"""
Generators as runs: open from the first step to the last, with what they have yielded as their output.

How a generator is driven is in `clew.context`; which functions are traced, in `clew.runs.traceable`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import Context, Token
from functools import partial
from inspect import CO_ITERABLE_COROUTINE, isawaitable
from itertools import repeat
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType, MethodType, coroutine
from typing import TYPE_CHECKING, Any, AsyncGenerator, Callable, Generator, List, Optional, Tuple
from weakref import ref

from clew.context._stepping.async_drivers import Step, StepHere, first_operation
from clew.context._stepping.bodies import is_fresh, named
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.function_likes import FunctionLike
from clew.context._stepping.throwing import (
    Exit,
    Thrown,
    from_body,
    step_codes,
    without_frames,
    without_steps,
    without_this_frame,
)
from clew.context.streams import StreamType, has_special, stand_in
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import Ambient, ambient, current_baggage, current_identity, report_foreign_exit
from clew.runs._tree.identity import Identity
from clew.runs._tree.kept.copier import MAX_STRING_CHARS

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.runs._tree.recipe import Recipe
    from clew.runs.run import RunTree

__all__ = ("TracedGeneratorFunction", "in_place", "streamed")

# Of what is recorded without being reduced; the others are counted.
MOST_CHUNKS = 10_000

_current = current_identity.get
_set_current = current_identity.set
_reset_current = current_identity.reset
_around = ambient.get
_set_around = ambient.set


class _Stream(Collectable):
    """
    Hold the run of one generator, and what the body has as the current one, its own or that of an open block.

    Where its call is not recorded there is no run, and the body has what was current at the call. All
    ContextVars but the run tree's own are the consumer's, as they are for a plain generator.
    """

    __slots__ = (
        "_bottom",
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
    )

    ambient: Ambient
    identity: Optional[Identity]
    _run: Optional[RunTree]  # until it has ended
    # Of the outermost block of `tracing_context` that the body was suspended in: the baggage inside, and outside.
    _carried: Optional[Tuple[Ambient, Optional[Baggage], Optional[Baggage]]]

    def __init__(self, recipe: Recipe, run: Optional[RunTree], *, starts: bool, is_unseen: bool = False) -> None:
        self._reference = ref(self, CALLBACK)
        self._recipe = recipe
        self._run = run
        self._starts = starts
        self._is_unseen = is_unseen  # until it starts
        self.identity = self._bottom = _current() if run is None else run._identity
        self.ambient = self._origin = _around()
        self._carried = None
        self.chunks: List[Any] = []
        self._left_out = 0

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
        Return `fn(*args)`, in which the body's run is current, and record it.
        """
        before, around, token = _current(), _around(), None
        try:
            token = self.enter(around)
            chunk = fn(*args)
        except BaseException as error:
            self.leave(token, before, around)
            self.end(error, is_closed=isinstance(getattr(fn, "__self__", None), Exit))
            raise
        finally:
            del args  # which may hold an exception, whose traceback holds this frame
        self.leave(token, before, around)
        if chunk is None and fn.__name__ == "close":
            self.end(sys.exc_info()[1] or GeneratorExit(), is_closed=False)
        else:
            self.add(chunk)
        return chunk

    def step_of_exit(self) -> Callable[..., Any]:
        """
        Return what closes a plain generator: a step, in a copy of the current context if the collector closes it.
        """
        return self._step_in_copy if self.is_collected() else self.step

    def _step_in_copy(self, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._copy().run(self.step, fn, *args)
        finally:
            del args  # which may hold an exception, whose traceback holds this frame

    async def closed_in_copy(self, operation: Any, *, is_awaiting: bool) -> Any:
        """
        Return what closing an async generator gives, all of which is done in one copy of the current context.
        """
        context = self._copy()
        context.run(self._enter_copy, is_awaiting)
        try:
            return await Step(partial(_run_in, context), repeat(next), repeat(operation))
        except BaseException as error:
            context.run(partial(self.end, error, is_closed=True))
            raise
        finally:
            del operation  # which may hold an exception, whose traceback holds this frame

    def _enter_copy(self, is_awaiting: bool) -> None:  # noqa: FBT001  `Context.run` passes it on
        here, block = _current(), _around()
        inside = here
        while is_awaiting and inside is not None and inside is not self.identity:
            inside = inside.parent
        if is_awaiting and inside is not None:
            # It is collected in the very context of the step that was given up, where its own run, or one in that,
            # is current already.
            self._carry(here, block)
        else:
            self.enter(block)

    def unless_collected(self, token: Optional[Token[Optional[Identity]]]) -> Optional[Token[Optional[Identity]]]:
        """
        Return the token by which to `leave` when a step that awaits is closed, None if the collector closes it.
        """
        return None if self.is_collected() else token

    def _enter_block(self) -> None:
        _set_around(self.ambient)
        if self._carried is not None and self.ambient is not self._origin:
            block, inside, _ = self._carried
            self._carried = block, inside, current_baggage.get()
            current_baggage.set(inside)

    def _leave_block(self, block: Ambient, around: Ambient) -> None:
        self.ambient = block
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

    def enter(self, around: Ambient) -> Token[Optional[Identity]]:
        """
        Make the body's run current, until `leave`.
        """
        if around is not self.ambient:
            self._enter_block()
        return _set_current(self.identity)

    def leave(self, token: Optional[Token[Optional[Identity]]], before: Optional[Identity], around: Ambient) -> None:
        """
        Make that current again which was so before `enter`; an interrupt may have come before that was over.
        """
        here = _current()
        if token is None:
            if here is self.identity and not self.is_collected():
                _set_current(before)
            return
        try:
            _reset_current(token)
        except RuntimeError:
            return  # the interrupt came right after it was reset
        except ValueError:  # what was asked for in one context was waited for in another one
            if here is self.identity:  # in a copy of the one
                _set_current(before)
            report_foreign_exit()
            return
        block = _around()
        if here is self.identity and block is around is self.ambient:
            return
        self.identity = here
        self._carry(here, block)
        if not (block is around is self.ambient):
            self._leave_block(block, around)

    def _carry(self, here: Optional[Identity], block: Ambient) -> None:
        """
        Mark the blocks that the body is suspended in: they may be left in another context than they were entered in.
        """
        while True:
            above = self._bottom if block is self._origin else block.under
            while here is not None and here is not above and not hasattr(here, "is_carried"):
                here.is_carried = True
                here = here.parent
            if block is self._origin or not hasattr(block, "before"):
                return
            block.is_carried = True
            here, block, _ = block.before

    def plain(self) -> Tuple[int, int]:
        """
        Return how many of the next items may go to the chunks as they are, if they are texts, and how long one may be.
        """
        taken = len(self.chunks)
        if not 0 < taken < MOST_CHUNKS or not self._recipe.copies_chunks:
            return MOST_CHUNKS, 0
        return MOST_CHUNKS - taken, MAX_STRING_CHARS

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
        if self.is_collected():
            # What reduces the items, and whoever hears of the end, may set variables.
            self._copy().run(self._end, run, error, is_closed)
        else:
            self._end(run, error, is_closed)

    def _end(self, run: RunTree, error: BaseException, is_closed: bool) -> None:  # noqa: FBT001  `Context.run` passes it on
        chunks, self.chunks = self.chunks, []
        if self._left_out:
            chunks.append(f"<cut: {len(chunks) + self._left_out} chunks>")
        try:
            run._result = self._recipe.copy_chunks(chunks)
        finally:
            if is_closed or isinstance(error, GeneratorExit):
                run._close("cancelled")
            elif isinstance(error, (StopIteration, StopAsyncIteration)):
                run._close("success")
            else:
                run._fail(error, from_body(error))

    def __del__(self) -> None:
        # Of a generator that nobody has closed: it was not begun, or no event loop was there to close it.
        if self._run is not None and not self._starts:
            with suppress(Exception):  # the interpreter exits, and what is global is gone
                self._copy().run(partial(self.end, GeneratorExit(), is_closed=True))


def _run_in(context: Context, fn: Callable[..., Any], *args: Any) -> Any:
    # In Python, so that a profiler hears that another context is entered.
    try:
        return context.run(fn, *args)
    finally:
        del args  # as above


def drive_traced(  # noqa: C901, PLR0912, PLR0915  written out, as a call for each item would take as long again
    stream: _Stream, box: List[Any]
) -> Generator[Any, Any, Any]:
    """
    Drive the generator that is in the box by the first step, whose run is current from when an item is asked for.

    All else is as in `clew.context._stepping.drivers.drive`, where the reasons are.
    """
    run = stream.begin()
    body = box.pop()
    send = step = body.send
    get_current, set_current, reset_current, get_around = _current, _set_current, _reset_current, _around
    as_thrown, exit_of, as_ended, repeated = without_this_frame, Exit, without_steps, repeat
    before, around = get_current(), get_around()
    token: Any = None  # while a step is made: it would keep the context alive
    add: Any = None
    box.append(None)
    try:
        while True:
            try:
                box.append(run(step, box.pop()))
                step = None
                sent = yield box.pop()
                if sent is None:
                    identity, around, add = stream.identity, stream.ambient, stream.chunks.append
                    most, longest = stream.plain()
                    before = get_current()  # near enough for an interrupt that comes before there is a token
                    for _ in repeated(None, most):
                        if get_around() is not around:
                            break
                        try:
                            token = set_current(identity)
                            item = send(None)
                        finally:
                            if token is not None and get_current() is identity and get_around() is around:
                                reset_current(token)
                            else:
                                stream.leave(token, before, around)
                                identity, around = stream.identity, stream.ambient
                            token = None
                        if type(item) is str and len(item) < longest:
                            add(item)
                            sent = yield item
                        else:
                            box.append(item)
                            del item
                            stream.add(box[0])
                            sent = yield box.pop()
                        if sent is not None:
                            break
                step = send
                box.append(sent)
                del sent
            except BaseException as error:
                add = None  # the frame lives as long as the traceback, and need not keep the chunks
                if token is not None:  # an interrupt has come in between
                    stream.leave(token, before, around)
                    token = None
                if body.gi_frame is None:
                    stream.end(error, is_closed=False)
                    raise as_ended(error)  # noqa: B904  it is the same one
                if step is not None:
                    # It comes from what the body delegates to, before that could resume. This ends here.
                    run(body.close)
                    raise
                if isinstance(error, GeneratorExit):
                    step, run = exit_of(body).throw, stream.step_of_exit()
                else:
                    step = body.throw
                box[:] = (as_thrown(error),)
    except StopIteration as end:
        return end.value


# As for `clew.context._stepping.drivers.drive`. What it drives may be wrapped in a context, and is no driver to that.
_drive_traced_coroutine: Any = coroutine(FunctionType(drive_traced.__code__, globals(), "drive_traced"))


def _driver_for(code: CodeType) -> Callable[[_Stream, List[Any]], Any]:
    return _drive_traced_coroutine if code.co_flags & CO_ITERABLE_COROUTINE else drive_traced


async def drive_async_traced(  # noqa: C901, PLR0912, PLR0915  as above
    stream: _Stream, body: Any
) -> AsyncGenerator[Any, Any]:
    """
    Drive the async generator `body`, whose run is current from when an item is asked for until it comes.

    As in a traced coroutine, it is so in the context of whoever asks, also while what the body awaits is
    waited for. All else is as in `clew.context._stepping.async_drivers.drive_async`, where the reasons are.
    """
    stream.begin()
    step, repeated, asend, thrown, as_thrown = StepHere, repeat, body.asend, Thrown, without_this_frame
    get_current, set_current, reset_current, get_around = _current, _set_current, _reset_current, _around
    as_ended, next_ = without_steps, next
    operation, is_closed = first_operation(body), False
    # One for all steps that send nothing, of the operation that is in the list then: to make one takes as long as the
    # step. This never awaits two of them at once, as the interpreter refuses to resume it before the first is over.
    plain: List[Any] = [None]
    plain_step = step(next_, map(plain.__getitem__, repeated(0)))
    box: List[Any] = []
    before, around = get_current(), get_around()
    token: Any = None  # as in `drive_traced`, and so is `add`
    add: Any = None
    try:
        while True:
            try:
                before, around = get_current(), get_around()
                try:
                    if is_closed and stream.is_collected():
                        box.append(await stream.closed_in_copy(operation, is_awaiting=body.ag_running))
                    else:
                        token = stream.enter(around)
                        box.append(await step(next_, repeated(operation)))
                except GeneratorExit:
                    token = stream.unless_collected(token)
                    raise
                finally:
                    stream.leave(token, before, around)
                    token = None
                operation, is_closed = None, False
                stream.add(box[0])
                sent = yield box.pop()
                if sent is None:
                    identity, around, add = stream.identity, stream.ambient, stream.chunks.append
                    most, longest = stream.plain()
                    for _ in repeated(None, most):
                        if get_around() is not around:
                            break
                        plain[0] = asend(None)
                        before = get_current()
                        try:
                            token = set_current(identity)
                            item = await plain_step
                        except GeneratorExit:
                            token = stream.unless_collected(token)
                            raise
                        finally:
                            if token is not None and get_current() is identity and get_around() is around:
                                try:
                                    reset_current(token)
                                except ValueError:  # in a copy of that context
                                    stream.leave(token, before, around)
                            else:
                                stream.leave(token, before, around)
                                identity, around = stream.identity, stream.ambient
                            token = None
                        if type(item) is str and len(item) < longest:
                            add(item)
                            sent = yield item
                        else:
                            box.append(item)
                            del item
                            stream.add(box[0])
                            sent = yield box.pop()
                        if sent is not None:
                            break
                operation = asend(sent)
                del sent
            except BaseException as error:
                add = None
                if token is not None:
                    stream.leave(token, before, around)
                    token = None
                if body.ag_frame is None or getattr(operation, "error", None) is not None:
                    stream.end(error, is_closed=is_closed)
                    raise as_ended(error)  # noqa: B904  it is the same one
                del box[:]
                is_closed = isinstance(error, GeneratorExit)
                if body.ag_running:
                    operation = thrown.into(plain[0] if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(body.athrow(as_thrown(error)))
                else:
                    # It comes from what the body awaits, before that could resume. This ends here.
                    if is_closed and stream.is_collected():
                        await stream.closed_in_copy(body.aclose(), is_awaiting=False)
                    else:
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
        is_recorded = _hooks.start_hooks and recipe.is_enabled
        run = recipe.start(args, kwargs, later=True) if is_recorded else None
        if recipe.fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            if is_recorded or (is_addressed and _hooks.start_hooks):
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


# What a driver steps to close an async generator: the operation that throws, and then its methods.
_CLOSING = (Thrown, MethodType)


class _StreamObject(_Stream):
    """
    Record a stream that is no generator: what it gives when it is iterated over, until it ends or is closed.

    It is what the object that stands for the stream has call the stream's own methods.
    """

    __slots__ = ("_called", "_copied")

    # While the collector closes an async generator: the context in which it does, None while that is the current one.
    _copied: Optional[Context]

    def __init__(self, recipe: Recipe, run: Optional[RunTree]) -> None:
        super().__init__(recipe, run, starts=False)

    def run_last(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Do as `run` does with what closes the stream.
        """
        try:
            if self.is_collected():
                return self._copy().run(self.run, fn, *args, **kwargs)
            return self.run(fn, *args, **kwargs)
        finally:
            del args  # which may hold an exception, whose traceback holds this frame

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Return `fn(*args, **kwargs)`, in which the run is current.
        """
        self._called = name = getattr(fn, "__name__", "")
        before, around, token = _current(), _around(), None
        try:
            token = self.enter(around)
            result = fn(*args, **kwargs)
        except BaseException as error:
            self.leave(token, before, around)
            self.end(error, is_closed=False)
            raise
        finally:
            del args
        self.leave(token, before, around)
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
            # Of all that a driver calls only the method of an `Exit` is written in Python.
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
        before, around, token = _current(), _around(), None
        try:
            token = self.enter(around)
            return fn(*args)
        except StopIteration as item:  # in which an async generator gives it
            self.add(item.value)
            raise
        except BaseException as error:
            self.end(error, is_closed=False)
            raise
        finally:
            self.leave(token, before, around)
            del args

    async def stepped(self, awaitable: Any) -> Any:
        """
        Return what one of the stream's methods gives when it is awaited.
        """
        name, before, around, token = self._called, _current(), _around(), None
        try:
            token = self.enter(around)
            result = await awaitable
        except BaseException as error:
            self.leave(token, before, around)
            self.end(error, is_closed=False)
            raise
        self.leave(token, before, around)
        if name in ("__anext__", "asend"):
            self.add(result)
        elif name in ("aclose", "close", "__aexit__"):
            self.end(GeneratorExit(), is_closed=True)
        return result


step_codes.update(fn.__code__ for fn in (_Stream.step, _Stream._step_in_copy, _Stream.closed_in_copy, _run_in))
step_codes.update(fn.__code__ for fn in (_StreamObject.run, _StreamObject.run_last, _StreamObject._step_native))

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
    return stand_in(result, _StreamObject(recipe, run)) if is_stream else None


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
