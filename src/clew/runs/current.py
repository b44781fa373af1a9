"""
`get_current_run_tree` and `tracing_context`: the run that code is in, and options for the runs of a block.

How a run becomes current is in `clew.runs._tree.blocks`.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any, List, Literal, Mapping, NoReturn, Optional, Sequence, Tuple, Type, Union

from clew._shared.one_use import EnteredOnce
from clew.context._stepping.seams import Tracer, tracers
from clew.errors import ArgumentTypeError
from clew.runs._tree.blocks import (
    ScopeOptions,
    current_baggage,
    current_identity,
    current_options,
    is_left_to_parent,
    report_exit_out_of_order,
    report_foreign_exit,
    reset_all,
    skip_exited_runs,
)
from clew.runs._tree.identity import Identity, UnsampledRoot
from clew.runs._tree.inherited import make_inherited
from clew.runs._tree.options import ignore_langsmith_options
from clew.runs._tree.parents import Parent, resolve_parent
from clew.runs.run import RunTree, non_recording_run

__all__ = ("get_current_run_tree", "tracing_context")


def get_current_run_tree() -> Optional[RunTree]:
    """
    Return the run that the caller is in, or None.

    If that run has ended already, because its caller did not wait for this job for example, the result is a
    detached `RunTree`: its ids, name, headers and `create_child` work. Changes to it have no effect and are counted.

    Context:
        *When*: it reads the context of this call. In a job of `ContextThreadPoolExecutor` and in a bound
        function, that is a copy of the submitter's context. Thread-safe.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("lookup"):
        ...     clew.get_current_run_tree().name
        'lookup'
        >>> clew.get_current_run_tree() is None
        True
    """
    identity = current_identity.get()
    if identity is None:
        return None
    # Read once: another thread may end the run between a check and the use.
    live: Optional[RunTree] = getattr(identity, "live", None)
    if live is not None and not live._is_of_other_process():
        return live
    return non_recording_run(identity) if isinstance(identity, UnsampledRoot) else RunTree._detached(identity)


def _has_run_to_detach() -> bool:
    if current_identity.get() is not None:
        return True
    around = current_options.get()
    return around.under is None and bool(around.linked)


def _detach(undo: List[Any], *, link: bool) -> None:
    identity = current_identity.get()
    around = current_options.get()
    linked: Tuple[Identity, ...] = () if identity is None else (identity,)
    if identity is None and around.under is None:
        linked = around.linked
    detached = ScopeOptions(None, around.inherited, linked if link else (), is_enabled=around.is_enabled)
    undo.extend(map(current_options.set, (detached,)))
    undo.extend(map(current_identity.set, (None,)))


# So `clew.context` can detach code from its run without importing this package.
tracers.append(Tracer(_has_run_to_detach, _detach))


class tracing_context(EnteredOnce):  # noqa: N801  used like a function, named as LangSmith's
    """
    Set the parent, project, tags and metadata of the runs in a block of code, or switch their recording off.

    The block changes only the options that it names. The others stay as outside of the block.

    Context:
        *When*: the options apply from the entry of the block, in its context. Headers are read when the instance is
        created. *What the callee sees*: jobs, tasks and traced generators that begin in the block have the options. A
        plain generator has those of the code that steps it. *What comes back*: the exit restores all options. A block
        that exits in another context, or before a block inside it, leaves the current run unchanged and is counted in
        `clew.stats()`. In the body of a generator the block may contain a ``yield`` if the generator function is
        decorated with `traceable` or `context_generator`. An instance serves one block.

    Args:
        parent: the parent of the block's runs: a `RunTree` or `Run`; the headers of a request, in any shape that
            `RunTree.from_headers` reads, with their baggage; a dotted order; or False to begin a new trace.
            Headers without a valid parent begin a new trace, too.
        project_name, tags, metadata: for the block's runs and the runs below them. A run's own options
            take precedence.
        enabled: False to record none of the block's runs, True to record them inside a block that says False.
        trusted: False for headers of an unknown caller. The block's runs form a new trace, which is linked to the
            caller's run. Project, tags, metadata, baggage and the sampling decision in the headers are not used.
        options: further options of LangSmith's ``tracing_context``. They have no effect, and are counted in
            `clew.stats()` as ``options_ignored``.

    Raises:
        ArgumentTypeError: `parent`, `project_name`, `tags` or `metadata` has the wrong type, or an option is unknown.
        AlreadyEnteredError: the instance was entered before.

    Source:
        LangSmith's ``tracing_context``, whose inner blocks reset the options that they do not name.

    Example:
        >>> import clew
        >>> headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        >>> with clew.record() as runs:
        ...     with clew.tracing_context(parent=headers, tags=["api"]), clew.trace("serve"):
        ...         pass
        >>> run = runs.find(name="serve")
        >>> run.parent_span_id, run.tags
        ('00f067aa0ba902b7', ('api',))
    """

    __slots__ = ("_enabled", "_options", "_own", "_parent", "_tokens")

    def __init__(
        self,
        *,
        parent: Parent = None,
        project_name: Optional[str] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        enabled: Optional[bool] = None,
        trusted: bool = True,
        **options: Any,
    ) -> None:
        if options:
            ignore_langsmith_options(options, "tracing_context")
        self._parent = None if parent is None else resolve_parent(parent, trusted=trusted)
        self._own = make_inherited(tags, metadata, project_name)
        self._enabled = enabled
        self._tokens: List[Token[Any]] = []
        self._is_entered = False

    def __enter__(self) -> None:
        self._enter_once("tracing_context")
        try:
            parent, own = self._parent, self._own
            identity, around = current_identity.get(), current_options.get()
            before = identity, around, current_baggage.get()
            is_enabled, is_sampled, linked = around.is_enabled, around.is_sampled, around.linked
            # A run that began between the outer block and this one has inherited the outer block's options already.
            inherits_options = parent is not None or around.under is identity
            if parent is not None:
                identity, linked = parent.identity, parent.linked
                is_enabled = is_enabled and parent.is_recorded
                is_sampled = identity is None or identity.is_sampled
                # One call, so that no interrupt comes between the change and the note of its token.
                self._tokens.extend(map(current_identity.set, (identity,)))
                if parent.baggage is not None:
                    self._tokens.extend(map(current_baggage.set, (parent.baggage,)))
            if inherits_options and around.inherited is not None:
                own = around.inherited if own is None else around.inherited.overlaid(own)
            if self._enabled is not None:
                is_enabled = bool(self._enabled)
            self._options = ScopeOptions(identity, own, linked, is_enabled=is_enabled, is_sampled=is_sampled)
            self._options.before = before
            self._tokens.extend(map(current_options.set, (self._options,)))
        except BaseException:  # Python calls no `__exit__` after a failed `__enter__`
            reset_all(self._tokens)
            raise

    def __call__(self, fn: object) -> NoReturn:
        """
        Refuse to be a decorator.
        """
        raise ArgumentTypeError(
            f"expected tracing_context(...) as a with block, found it called with {fn!r}; "
            f"write the block inside the function"
        )

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            if self._tokens:
                self._leave()
        except BaseException:
            self._leave(is_again=True)
            raise

    def _leave(self, *, is_again: bool = False) -> None:
        """
        Restore what was current before the block.

        Args:
            is_again: an interrupt has ended a first call, which may have done any part of this.
        """
        options, tokens = self._options, self._tokens
        if is_again and options.has_exited_early:
            return
        if tokens:
            here = current_options.get()
            if here is not options and not (is_again and here is options.before[1]):
                # A block inside this one is open: its exit restores what was before this one. Or this is another
                # context.
                options.has_exited_early = True
                tokens.clear()
                report_exit_out_of_order("a tracing_context")
                return
            if current_identity.get() is not options.under:
                if not is_again and not is_left_to_parent(options.under):
                    report_exit_out_of_order("a tracing_context")
                tokens[:] = [token for token in tokens if token.var is not current_identity]
            if not reset_all(tokens):
                if not options.is_suspended:
                    tokens.clear()
                    del options.before
                    report_foreign_exit()
                    return
                # The block is open in the body of a generator, which was continued in another context.
                before = dict(zip((current_identity, current_options, current_baggage), options.before))
                for token in tokens:
                    token.var.set(before[token.var])
                tokens.clear()
        _skip_exited_blocks()
        # Jobs that were started in the block have its options in their context, but need nothing from before it.
        if hasattr(options, "before"):
            del options.before
        skip_exited_runs(current_identity.get())


def _skip_exited_blocks() -> None:
    around = current_options.get()
    while around.has_exited_early:
        identity, outer, baggage = around.before
        current_identity.set(identity)
        current_baggage.set(baggage)
        current_options.set(outer)
        del around.before
        around = outer


def block_under(parent: Union[Parent, Literal["ignore"]]) -> tracing_context:
    """
    Return a block for the ``parent=`` of one call or one `trace` block; "ignore" begins a new trace.
    """
    return tracing_context(parent=False if isinstance(parent, str) and parent == "ignore" else parent)
