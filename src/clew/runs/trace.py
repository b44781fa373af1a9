"""
`trace`: a block of code as a run.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any, Iterable, Literal, Mapping, NoReturn, Optional, Sequence, Tuple, Type, Union
from uuid import UUID

from clew._shared.one_use import already_entered
from clew.errors import ArgumentTypeError
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.added import NON_RECORDING
from clew.runs._tree.blocks import current_identity, current_options, leave_block, leave_interrupted_block
from clew.runs._tree.identity import Identity, UnsampledRoot
from clew.runs._tree.inherited import make_inherited
from clew.runs._tree.kept.payloads import copy_inputs
from clew.runs._tree.options import MAX_LABEL_CHARS, check_id, check_name, check_run_type, metadata_of_extra
from clew.runs._tree.parents import Parent
from clew.runs._tree.settings import settings
from clew.runs.current import block_under
from clew.runs.run import RunTree, non_recording_run, open_run

__all__ = ("trace",)


class trace:  # noqa: N801  used like a function, named as LangSmith's
    """
    Record a block of code as a run. Traced calls and blocks inside it nest under it.

    Works as ``with`` and as ``async with``, with any event loop and without one. The block's value is
    its `RunTree`. With recording off the block runs unchanged, and changes to the `RunTree` have no effect.

    Context:
        *When*: the parent is the current run at the entry of the block. *What the callee sees*: the
        block's run as the current run, and no other change. *What comes back*: the exit makes the
        previous run current again. A block that exits in another context, or before a block inside it,
        leaves the current run unchanged and is counted in `clew.stats()`. An instance serves one block.

    Args:
        name: the name of the run.
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever".
        inputs: a dict, copied at the entry.
        tags, metadata, project_name: for this run and the runs below it.
        parent: the parent, instead of the current run: as `tracing_context` takes it, or "ignore" for a new trace.
        run_id: the id of the run, a UUID or its text.
        exceptions_to_handle: exception classes that end the run as a success. The exception still propagates.
        options: further options, as `RunTree` takes them.

    Raises:
        ArgumentTypeError: an option has the wrong type, or is unknown.
        ArgumentValueError: `run_id` is not a UUID.
        AlreadyEnteredError: the instance was entered before.

    It is no decorator: for functions there is `traceable`.

    Example:
        >>> import clew
        >>> with clew.record() as runs:
        ...     with clew.trace("answer", inputs={"question": "6 * 7"}) as run:
        ...         run.add_outputs({"answer": 42})
        >>> runs.find(name="answer").outputs
        {'answer': 42}
    """

    __slots__ = ("_handled", "_id_text", "_inputs", "_name", "_own", "_parent_block", "_run", "_run_type", "_token")

    def __init__(
        self,
        name: str,
        run_type: Optional[str] = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        parent: Union[Parent, Literal["ignore"]] = None,
        run_id: Union[UUID, str, None] = None,
        exceptions_to_handle: Optional[Iterable[Type[BaseException]]] = None,
        **options: Any,
    ) -> None:
        # Most blocks have no options: spare them the calls.
        if options:
            metadata = metadata_of_extra(options, metadata, "trace")
        self._handled = () if exceptions_to_handle is None else _checked_exceptions(exceptions_to_handle)
        self._parent_block = None if parent is None else block_under(parent)
        self._id_text = None if run_id is None else check_id(run_id)
        # For the same reason, ask for the usual type and length first.
        self._name = name if type(name) is str and len(name) < MAX_LABEL_CHARS else _checked_name(name)
        self._run_type = (
            run_type if type(run_type) is str and len(run_type) < MAX_LABEL_CHARS else check_run_type(run_type)
        )
        self._inputs = inputs
        has_own = tags is not None or metadata is not None or project_name is not None
        self._own = make_inherited(tags, metadata, project_name) if has_own else None
        self._run: Optional[RunTree] = None
        self._token: Optional[Token[Optional[Identity]]] = None

    def __enter__(self) -> RunTree:
        if self._run is not None:
            raise already_entered(f"trace({self._name!r})")
        parent = None
        try:
            if self._parent_block is not None:
                self._parent_block.__enter__()
            inputs, self._inputs = self._inputs, None
            parent = current_identity.get()
            around = current_options.get()
            is_recorded = around.is_recorded and (parent is None or parent.is_sampled) and bool(_hooks.start_hooks)
            run = id_digits = None
            if is_recorded and parent is None and settings.sampling is not None:
                decided = settings.decide(self._name, self._run_type, self._own, self._id_text)
                if isinstance(decided, UnsampledRoot):
                    run = non_recording_run(decided)
                else:
                    id_digits = decided
            if run is None:
                copied = copy_inputs(inputs) if is_recorded and inputs is not None else {}
                run = open_run(parent, around, self._name, self._run_type, copied, self._own, id_digits)
            self._run = run
            if self._id_text is not None:
                run._identity._id_text = self._id_text
            if is_recorded:
                self._token = current_identity.set(run._identity)
                if run._status == "pending":  # else it is not sampled
                    _hooks.notify_start(run)
            else:
                run._attributes = NON_RECORDING
            return run
        except BaseException as interrupt:  # Python calls no `__exit__` after a failed `__enter__`
            self._take_back(interrupt, parent)
            raise

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            run = self._run
            if run is None:
                return
            if self._token is not None:
                leave_block(run._identity, self._token)
                self._token = None
            if self._parent_block is not None:
                self._parent_block.__exit__(exc_type, exc, traceback)
            if run._status != "pending":
                return  # it has ended, or is not sampled
            if exc is None or isinstance(exc, self._handled):
                run._close("success")
            else:
                run._fail(exc, traceback)
        except BaseException as interrupt:
            self._take_back(interrupt)
            raise

    def _take_back(self, interrupt: BaseException, before: Optional[Identity] = None) -> None:
        """
        Do what is left of the exit after an interrupt of the entry or the exit.

        Args:
            interrupt: the exception that ends the run.
            before: the run that was current before this one, if the entry was interrupted.
        """
        run, token = self._run, self._token
        self._token = None
        if run is not None:
            leave_interrupted_block(run._identity, token, before)
        if self._parent_block is not None:
            self._parent_block.__exit__(type(interrupt), interrupt, interrupt.__traceback__)
        if run is not None:
            run._fail(interrupt, interrupt.__traceback__)

    def __call__(self, fn: object) -> NoReturn:
        """
        Refuse to be a decorator.
        """
        raise ArgumentTypeError(
            f"expected trace({self._name!r}) as a with block, found it called with {fn!r}; "
            f"to trace each call of a function, decorate it: @clew.traceable(name={self._name!r})"
        )

    async def __aenter__(self) -> RunTree:
        return self.__enter__()

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.__exit__(exc_type, exc, traceback)


def _checked_name(name: object) -> str:
    if callable(name) and not isinstance(name, str):
        raise ArgumentTypeError(
            f"expected the name of a run as a string, got {name!r}; to trace each call of a function, decorate it: "
            f"@clew.traceable"
        )
    return check_name(name)


def _checked_exceptions(given: Any) -> Tuple[Type[BaseException], ...]:
    kinds = tuple(given) if isinstance(given, Iterable) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise ArgumentTypeError(
                f"expected exceptions_to_handle= as classes of exceptions, got {kind!r} among them; "
                f"pass (ValueError, KeyError)"
            )
    return kinds
