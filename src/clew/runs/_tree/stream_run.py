"""
The run of one stream: it is current in each step of the body, and records the items.

Guarantees: between two steps the consumer's run is current, and the stream keeps no token and no context of a step. It
keeps the items themselves only for a `reduce_fn`. The collector closes a stream in a copy of the current context.

Assumes: one step at a time, which the drivers and the interpreter ensure.

The steps themselves are in `clew.runs._tree.stream_drivers`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from contextvars import Context, Token
from functools import partial
from itertools import repeat
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Tuple
from weakref import ref

from clew._shared.incidents import report
from clew._shared.locks import RUNS_WITHOUT_GIL
from clew.context._stepping.async_drivers import Step
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.throwing import Exit, from_body, step_codes
from clew.runs._tree.blocks import ScopeOptions, current_baggage, current_identity, current_options, report_foreign_exit
from clew.runs._tree.forks import ancestors
from clew.runs._tree.identity import Identity
from clew.runs._tree.kept.copier import MAX_CHARS
from clew.runs._tree.kept.sizes import SHORT_CHARS, note, take, waiting

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.runs._tree.recipe import Recipe
    from clew.runs.run import RunTree

__all__ = ("StreamRun",)

_current = current_identity.get
_set_current = current_identity.set
_reset_current = current_identity.reset
_get_options = current_options.get
_set_options = current_options.set

# Items that are recorded, and their bytes in all. Further items are counted.
MOST_CHUNKS = 10_000
MOST_BYTES = MAX_CHARS
# The same for a `reduce_fn`, which gets the program's own objects.
MOST_REDUCED_CHUNKS = 100_000
MOST_REDUCED_BYTES = 1 << 26


class StreamRun(Collectable):
    """
    The run of one stream, and the run that is current in its body: its own, or that of a block open in the body.

    If the call is not recorded there is no run; then the run that was current at the call stays current in the body.
    Apart from the run tree's variables, the body sees its consumer's ContextVars, as a plain generator does.
    """

    __slots__ = (
        "_block_baggage",
        "_bytes",
        "_first_left_out",
        "_identity_at_call",
        "_is_unstarted",
        "_left_out",
        "_most_chunks",
        "_options_at_call",
        "_recipe",
        "_run",
        "chunks",
        "identity",
        "is_unseen",
        "options",
    )

    options: ScopeOptions
    identity: Optional[Identity]
    is_unseen: bool  # nobody can have read the ids of the run before it starts
    _run: Optional[RunTree]  # None if the call is not recorded, and once the run has ended
    # The outermost `tracing_context` block open in the suspended body, and the baggage inside and outside of it.
    _block_baggage: Optional[Tuple[ScopeOptions, Optional[Baggage], Optional[Baggage]]]

    def __init__(self, recipe: Recipe, run: Optional[RunTree]) -> None:
        self._reference = ref(self, CALLBACK)
        self._recipe = recipe
        self._is_unstarted = recipe.starts_late
        self._run = run  # last of what `__del__` reads: an interrupt may come in between
        self.is_unseen = False
        self.identity = self._identity_at_call = _current() if run is None else run._identity
        self.options = self._options_at_call = _get_options()
        self._block_baggage = None
        self.chunks: List[Any] = []
        self._left_out = self._bytes = 0
        self._most_chunks = MOST_REDUCED_CHUNKS if recipe.reduces else MOST_CHUNKS

    @classmethod
    def below(cls, root: Identity, recipe: Recipe) -> StreamRun:
        """
        Return the state of a stream that is not recorded, with `root` as the run that is current in its body.
        """
        stream = cls(recipe, None)
        stream.identity = stream._identity_at_call = root
        return stream

    def begin(self) -> Callable[..., Any]:
        """
        Start the run, unless the call has started it. Return the function that makes the steps of a generator.
        """
        if self._is_unstarted and self._run is not None:
            self._is_unstarted = False
            self._recipe.start_late(self._run, is_unseen=self.is_unseen)
        return self.step

    def step(self, fn: Callable[..., Any], *args: Any) -> Any:
        """
        Make one step of a generator with the body's run current, and record the item or the end.
        """
        before, around, token = _current(), _get_options(), None
        try:
            try:
                token = self.enter(around)
                chunk = fn(*args)
            finally:
                self.leave(token, before, around)
        except BaseException as error:
            self.leave(token, before, around)  # an interrupt may have ended the first `leave`
            self.end(error, is_closed=isinstance(getattr(fn, "__self__", None), Exit))
            raise
        finally:
            del args  # they may hold an exception whose traceback holds this frame
        if chunk is None and fn.__name__ == "close":
            # The driver closes the body while it handles an exception: the run ends with that one.
            self.end(sys.exc_info()[1] or GeneratorExit(), is_closed=False)
        else:
            self.add(chunk)
        return chunk

    def step_of_exit(self) -> Callable[..., Any]:
        """
        Return the function that makes the last step of a generator: in a copied context if the collector closes it.
        """
        return self._step_in_copy if self.is_collected() else self.step

    def _step_in_copy(self, fn: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._copy().run(self.step, fn, *args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    async def closed_in_copy(self, operation: Any, *, is_awaiting: bool) -> Any:
        """
        Close an async generator that the collector has found. All its steps run in the same copy of the context.

        `operation` closes the body and ends by an exception. The body is at an ``await`` or, else, at a ``yield``.
        """
        context = self._copy()
        context.run(self._enter_copy, is_awaiting)
        try:
            return await Step(partial(_run_in, context), repeat(next), repeat(operation))
        except BaseException as error:
            context.run(partial(self.end, error, is_closed=True))
            raise
        finally:
            del operation  # it may hold an exception whose traceback holds this frame

    def _enter_copy(self, is_awaiting: bool) -> None:  # noqa: FBT001  passed through `Context.run`
        current, block = _current(), _get_options()
        found = current if is_awaiting else None
        while found is not None and found is not self.identity:
            found = found.parent
        if found is None:
            self.enter(block)
        else:
            # The collector runs in the context of the abandoned step, where the body's run is current already.
            self._mark_suspended_blocks(current, block)

    def token_unless_collected(self, token: Optional[Token[Optional[Identity]]]) -> Optional[Token[Optional[Identity]]]:
        """
        Return the token for `leave` when an awaiting step is closed.

        It is None if the collector closes the step: the token then belongs to another context.
        """
        return None if self.is_collected() else token

    def _set_body_options(self) -> None:
        if self._block_baggage is None or self.options is self._options_at_call:
            _set_options(self.options)
            return
        # The consumer may have set other baggage since the last step. Keep it first: once the options are the body's,
        # `leave` restores it.
        block, inside, _ = self._block_baggage
        self._block_baggage = block, inside, current_baggage.get()
        _set_options(self.options)
        current_baggage.set(inside)

    def _restore_consumer_options(self, block: ScopeOptions, around: ScopeOptions) -> None:
        outermost = self._outermost(block)
        if outermost is not None:
            outside = outermost.before[2]
            if self._block_baggage is not None and self._block_baggage[0] is outermost:
                outside = self._block_baggage[2]
            self._block_baggage = outermost, current_baggage.get(), outside
            current_baggage.set(outside)
        _set_options(around)  # last, for `leave`: once these are the consumer's, the baggage is as well

    def _outermost(self, block: ScopeOptions) -> Optional[ScopeOptions]:
        # The outermost of the blocks that the body has opened.
        while block is not self._options_at_call and hasattr(block, "before"):
            _, around, _ = block.before
            if around is self._options_at_call:
                return block
            block = around
        return None

    def enter(self, around: ScopeOptions) -> Token[Optional[Identity]]:
        """
        Make the body's run current until `leave`.
        """
        if around is not self.options:
            self._set_body_options()
        return _set_current(self.identity)

    def leave(
        self, token: Optional[Token[Optional[Identity]]], before: Optional[Identity], around: ScopeOptions
    ) -> None:
        """
        Restore what was current before `enter`, and keep the body's run and options for its next step.

        If an interrupt ends `enter`, there is no token. If one ends `leave`, a second call does the rest.
        """
        here, block = _current(), _get_options()
        if token is None:
            if not self.is_collected():
                self._undo_enter(before, around)
            return
        identity, options = self.identity, self.options
        self.identity, self.options = here, block  # before the reset, after which an interrupt would lose them
        try:
            _reset_current(token)
        except RuntimeError:  # an interrupt arrived in the first `leave`, after this reset
            self.identity, self.options = identity, options
        except ValueError:  # the step was requested in one context and awaited in another one
            self.identity, self.options = identity, options
            if here is identity:  # the other one is a copy of the first
                _set_current(before)
            report_foreign_exit()
            return
        else:
            if here is identity and block is around is options:
                return
            self._mark_suspended_blocks(here, block)
        if block is not around:
            self._restore_consumer_options(block, around)

    def _undo_enter(self, before: Optional[Identity], around: ScopeOptions) -> None:
        if _current() is self.identity:
            _set_current(before)
        if _get_options() is not around:
            if self._block_baggage is not None and self.options is not self._options_at_call:
                current_baggage.set(self._block_baggage[2])
            _set_options(around)

    def _mark_suspended_blocks(self, here: Optional[Identity], block: ScopeOptions) -> None:
        # Mark the blocks that are open in the suspended body: they may exit in another context than they entered. Each
        # turn marks the runs from `here` up to the `tracing_context` around them, and then that block.
        while True:
            above = self._identity_at_call if block is self._options_at_call else block.under
            while here is not None and here is not above and not hasattr(here, "is_suspended"):
                here.is_suspended = True
                here = here.parent
            if block is self._options_at_call or not hasattr(block, "before"):
                return
            block.is_suspended = True
            here, block, _ = block.before

    def limits_of_uncopied_texts(self) -> Tuple[int, int]:
        """
        Return for how many of the next items a text below a length may go to `chunks` without `add`, and that length.

        The length is 0 while `add` has more to do than to append: to note the first item, to call a hook, or to count.
        """
        taken = len(self.chunks)
        if not 0 < taken < MOST_CHUNKS or self._left_out or not self._recipe.copies_chunks:
            return MOST_CHUNKS, 0
        return MOST_CHUNKS - taken, SHORT_CHARS

    def add(self, chunk: Any) -> None:
        """
        Record one item.
        """
        run = self._run
        if run is None or run._status != "pending":
            return
        chunks = self.chunks
        if not chunks and not (ancestors and run._is_of_other_process()):
            run._note_first_item()
        if len(chunks) < self._most_chunks:
            chunks.append(self._recipe.copy_chunk(chunk))
            if not waiting or self._has_room():
                return
            chunks.pop()
        if not self._left_out:
            self._first_left_out = len(chunks)
            self._most_chunks = 0  # no further item, be it small
        self._left_out += 1

    def _has_room(self) -> bool:
        self._bytes += take()
        return self._bytes <= (MOST_REDUCED_BYTES if self._recipe.reduces else MOST_BYTES) or len(self.chunks) == 1

    def end(self, error: BaseException, *, is_closed: bool) -> None:
        """
        End the run with the exception that the body has ended by: StopIteration is a success, for example.

        A run that `is_closed` is cancelled, whatever the exception is.
        """
        run, self._run = self._run, None
        if run is None or run._status != "pending" or (RUNS_WITHOUT_GIL and not run._claim_end()):
            return
        if self.is_collected():
            # `reduce_fn` and the hooks may set variables.
            self._copy().run(self._end, run, error, is_closed)
        else:
            self._end(run, error, is_closed)

    def _end(self, run: RunTree, error: BaseException, is_closed: bool) -> None:  # noqa: FBT001  passed through `Context.run`
        chunks, self.chunks = self.chunks, []
        if self._left_out:
            self._mark_cut(run, chunks)
        try:
            run._result = output = self._recipe.recorded_output(chunks)
            if output is chunks and self._bytes:
                note(self._bytes)
        finally:
            if is_closed or isinstance(error, GeneratorExit):
                run._close("cancelled")
            elif isinstance(error, (StopIteration, StopAsyncIteration)):
                run._close("success")
            else:
                run._fail(error, from_body(error))

    def _mark_cut(self, run: RunTree, chunks: List[Any]) -> None:
        total = len(chunks) + self._left_out
        del chunks[self._first_left_out :]  # short texts that a driver has added since
        report("streams_cut", "a stream was longer than what a run keeps of it, and was cut; record less of each item")
        if self._recipe.reduces:
            run.add_event(f"<cut: reduce_fn got {len(chunks)} of {total} chunks>")
        else:
            chunks.append(f"<cut: {total} chunks>")

    def __del__(self) -> None:
        # The call has started the run and the generator was never stepped, or no event loop was there to close it.
        if getattr(self, "_run", None) is not None and not self._is_unstarted:
            with suppress(Exception):  # at interpreter exit, global names may be gone
                self._copy().run(partial(self.end, GeneratorExit(), is_closed=True))


def _run_in(context: Context, fn: Callable[..., Any], *args: Any) -> Any:
    # A function in Python, so that a profiler sees that another context is entered.
    try:
        return context.run(fn, *args)
    finally:
        del args  # as in `step`


# Tracebacks show none of these frames.
step_codes.update(fn.__code__ for fn in (StreamRun.step, StreamRun._step_in_copy, StreamRun.closed_in_copy, _run_in))
