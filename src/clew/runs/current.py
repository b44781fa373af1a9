"""
Which run is the current one, how a run becomes it and stops being it, and what else is said for a block of code.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterable,
    List,
    Literal,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    Union,
)

from clew._shared.one_use import EnteredOnce
from clew.context._stepping.seams import Tracer, tracers
from clew.errors import ArgumentTypeError
from clew.runs._tree.blocks import (
    Ambient,
    ambient,
    current_baggage,
    current_identity,
    report_exit_out_of_order,
    report_foreign_exit,
)
from clew.runs._tree.identity import Identity, Nobody, Remote, Unsampled, hand_down
from clew.runs._tree.options import ignore_langsmiths
from clew.runs.finished import Run
from clew.runs.run import RunTree, ignored, loaded_headers

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage

__all__ = ("Parent", "context_under", "get_current_run_tree", "leave_block", "leave_call", "tracing_context")

Parent = Union[RunTree, Run, Mapping[str, Any], Iterable[Tuple[Any, Any]], str, Literal[False], None]


def get_current_run_tree() -> Optional[RunTree]:
    """
    Return the run that the caller is in, or None.

    Where that run has ended already (its caller did not wait for this job, say) the result is a
    detached `RunTree`: ids, name and `create_child` work, and changes do nothing but are counted.

    Context:
        *When*: it reads the context of this call. In a job of `ContextThreadPoolExecutor`, or in a
        bound function, that is the context of the submitter. Thread-safe.

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
    # Read once: another thread may end the run between a check and a use.
    live: Optional[RunTree] = getattr(identity, "live", None)
    if live is not None:
        return live
    return ignored(identity) if isinstance(identity, Unsampled) else RunTree.detached(identity)


def _has_parent() -> bool:
    if current_identity.get() is not None:
        return True
    around = ambient.get()
    return around.under is None and bool(around.linked)


def _detach(*, link: bool) -> Callable[[], None]:
    identity = current_identity.get()
    around = ambient.get()
    linked: Tuple[Identity, ...] = () if identity is None else (identity,)
    if identity is None and around.under is None:
        linked = around.linked
    detached = Ambient(None, around.inherited, linked if link else (), is_enabled=around.is_enabled)
    ambient_token = ambient.set(detached)
    token = current_identity.set(None)

    def undo() -> None:
        current_identity.reset(token)
        ambient.reset(ambient_token)

    return undo


tracers.append(Tracer(_has_parent, _detach))


def leave_call(identity: Identity, token: Optional[Token[Optional[Identity]]]) -> None:
    """
    Make the run current again that was so before `identity`'s, whose entry or exit may have been interrupted.
    """
    if token is None:
        if current_identity.get() is identity:
            current_identity.set(identity.parent)
        return
    try:
        current_identity.reset(token)
    except RuntimeError:
        pass  # the exit got as far as resetting it
    except ValueError:
        # The coroutine was stepped in another context than at its start; that one has no run of ours.
        report_foreign_exit()


def leave_block(identity: Identity, token: Token[Optional[Identity]]) -> None:
    """
    Make the run current again that was so before a `trace` block's, if the block's still is current.
    """
    before = None if token.old_value is Token.MISSING else token.old_value
    if current_identity.get() is not identity:
        # A bare reset would take the current run from whoever is in it. But when that block is left
        # in its turn, it must not bring this one back.
        identity.exited_to = before
        report_exit_out_of_order(f"the trace block {identity.name!r}")
        return
    try:
        current_identity.reset(token)
    except ValueError:
        if not hasattr(identity, "is_carried"):
            report_foreign_exit()
            return
        # A generator's consumer has taken it to another context, and with it the current run.
        current_identity.set(before)
    _skip_exited(before)


class _Given(NamedTuple):
    """
    Hold what a ``parent=`` comes to: whose child the next run is, or what it is linked to as a root, and its baggage.
    """

    identity: Optional[Identity]
    linked: Tuple[Identity, ...] = ()
    baggage: Optional[Baggage] = None
    is_recorded: bool = True


def _given(parent: Any, *, trusted: bool) -> _Given:
    if type(parent) is dict or type(parent) is list:  # first, as each request comes here
        return _given_headers(parent, trusted=trusted)
    if parent is False or (isinstance(parent, RunTree) and isinstance(parent._identity, Nobody)):
        return _Given(None)
    if isinstance(parent, RunTree) and parent._is_ignored:
        # Nobody hears of it, nor of what is under it, and what is sent from there has the parent that it has.
        above = parent._identity.parent
        given = _given_remote(above) if isinstance(above, Remote) else _Given(above)
        return given._replace(is_recorded=False)
    if isinstance(parent, (RunTree, Run)):
        identity = parent._identity
        return _given_remote(identity, trusted=trusted) if isinstance(identity, Remote) else _Given(identity)
    if isinstance(parent, str):
        remote = loaded_headers().read_dotted_order(parent)
        return _Given(None) if remote is None else _given_remote(remote, trusted=trusted)
    if hasattr(parent, "to_headers"):  # a RunTree of LangSmith's own
        parent = parent.to_headers()
    if isinstance(parent, bytes) or not (isinstance(parent, Iterable) or hasattr(parent, "items")):
        raise ArgumentTypeError(
            f"expected parent= as a RunTree, headers, a dotted order or False, got {type(parent).__name__} {parent!r}; "
            f"pass the headers of the request, or leave it out to stay under the current run"
        )
    return _given_headers(parent, trusted=trusted)


def _given_headers(headers: Any, *, trusted: bool) -> _Given:
    remote, baggage = loaded_headers().read_headers(headers, is_trusted=trusted)
    return _Given(None, (), baggage) if remote is None else _given_remote(remote)


def _given_remote(remote: Remote, *, trusted: bool = True) -> _Given:
    if trusted and remote.is_trusted:
        return _Given(remote, (), remote.upstream.baggage)
    return _Given(None, (remote,), loaded_headers().NO_BAGGAGE)


class tracing_context(EnteredOnce):  # noqa: N801  used like a function, named as LangSmith's
    """
    Say for a block of code what its runs belong to, and whether there are any.

    Only what is named changes; the rest is as outside of the block.

    Context:
        *When*: at the entry of the block, in its context; headers are read when it is made. *What the callee
        sees*: jobs, tasks and generators that begin in the block have it, as any ContextVar. *What comes
        back*: at the exit, all is what it was before; a block that is left in another context, or before
        one that was opened inside it, leaves the current run alone and is counted in `clew.stats()`. A traced
        generator may be suspended in the block; in another one, keep it within one step, or decorate that
        with `context_generator`. An instance is for one block.

    Args:
        parent: what the block's runs are children of: a `RunTree` or `Run`; the headers of a request, in
            any shape that `RunTree.from_headers` reads, with its baggage; a dotted order; or False, for a
            new trace. Headers that name no valid parent are for a new trace, too.
        project_name, tags, metadata: for the block's runs and those under them; what a run says itself goes
            over it.
        enabled: False for recording none of them, True for recording them in spite of a block around.
        trusted: False for headers of a caller that anybody may be: the block's runs are a new trace, which
            is linked to what the headers name; they say nothing of project, tags, metadata, baggage, and
            whether to record.
        options: what LangSmith's has beside these, which is left out, and counted in `clew.stats()` as
            ``options_ignored``.

    Raises:
        ArgumentTypeError: `parent`, `project_name`, `tags` or `metadata` is something else, or an option nobody's.
        AlreadyEnteredError: the instance was used for a block before.

    Source:
        LangSmith's ``tracing_context``, in which each block sets back what it does not name.

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

    __slots__ = ("_ambient", "_enabled", "_given", "_own", "_tokens")

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
            ignore_langsmiths(options, "tracing_context")
        self._given = None if parent is None else _given(parent, trusted=trusted)
        self._own = hand_down(tags, metadata, project_name)
        self._enabled = enabled
        self._tokens: List[Tuple[ContextVar[Any], Token[Any]]] = []

    def __enter__(self) -> None:
        self._enter_once("tracing_context")
        given, own = self._given, self._own
        identity, around = current_identity.get(), ambient.get()
        before = identity, around, current_baggage.get()
        is_enabled, is_sampled, linked = around.is_enabled, around.is_sampled, around.linked
        # Where a run has begun between that block and this one, it hands down what was said there.
        is_said_here = given is not None or around.under is identity
        if given is not None:
            identity, linked = given.identity, given.linked
            is_enabled = is_enabled and given.is_recorded
            is_sampled = identity is None or identity.is_sampled
            self._set(current_identity, identity)
            if given.baggage is not None:
                self._set(current_baggage, given.baggage)
        if is_said_here and around.inherited is not None:
            own = around.inherited if own is None else around.inherited.overlaid(own)
        if self._enabled is not None:
            is_enabled = bool(self._enabled)
        self._ambient = Ambient(identity, own, linked, is_enabled=is_enabled, is_sampled=is_sampled)
        self._ambient.before = before
        self._set(ambient, self._ambient)

    def _set(self, variable: ContextVar[Any], value: object) -> None:
        self._tokens.append((variable, variable.set(value)))

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        tokens, self._tokens = self._tokens, []
        if not tokens:
            return
        if ambient.get() is not self._ambient:
            # A block that was opened inside is left later, and goes back to what was before this one.
            self._ambient.is_left = True
            report_exit_out_of_order("a tracing_context")
            return
        if current_identity.get() is not self._ambient.under:
            report_exit_out_of_order("a tracing_context")
            tokens = [(variable, token) for variable, token in tokens if variable is not current_identity]
        try:
            for variable, token in reversed(tokens):
                variable.reset(token)
        except ValueError:
            if not self._ambient.is_carried:
                report_foreign_exit()
                return
            # As with a block of `trace`: a generator's consumer has taken it to another context.
            before = dict(zip((current_identity, ambient, current_baggage), self._ambient.before))
            for variable, _ in tokens:
                variable.set(before[variable])
        around = ambient.get()
        while around.is_left:
            identity, around, baggage = around.before
            current_identity.set(identity)
            ambient.set(around)
            current_baggage.set(baggage)
        _skip_exited(current_identity.get())


def _skip_exited(identity: Optional[Identity]) -> None:
    while identity is not None and hasattr(identity, "exited_to"):
        identity = identity.exited_to
        current_identity.set(identity)


def context_under(parent: Union[Parent, Literal["ignore"]]) -> tracing_context:
    """
    Return a block for what one call or one block says of its parent, in which "ignore" is for a new trace.
    """
    return tracing_context(parent=False if isinstance(parent, str) and parent == "ignore" else parent)
