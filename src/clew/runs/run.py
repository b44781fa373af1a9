"""
`RunTree`, a run while it is open, and how one is opened.

How it becomes the current one is in `clew.runs.current`; what is read of it afterwards, in `clew.runs.recording`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from clew._shared.incidents import report
from clew.errors import ArgumentTypeError
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.attributes import NON_RECORDING, MutableRun
from clew.runs._tree.blocks import Ambient, ambient
from clew.runs._tree.forks import register_fork_hooks
from clew.runs._tree.hooks import notify_start
from clew.runs._tree.identity import Identity, Inherited, Remote, Unsampled, hand_down
from clew.runs._tree.ids import new_id_text, now_ns
from clew.runs._tree.kept.copier import copy_payload
from clew.runs._tree.kept.errors import ErrorText, describe_error, status_of
from clew.runs._tree.options import (
    check_id,
    check_mapping,
    check_name,
    check_run_type,
    check_time,
    event_fields,
    metadata_of_extra,
)
from clew.runs.finished import Identified, Run
from clew.runs.sampling import Filing, settings

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType
    from uuid import UUID

__all__ = ("RunTree", "ignored", "loaded_headers", "open_run")


class _ByHand:
    """
    Hold what a run has to remember that is made by hand.
    """

    __slots__ = ("beside", "drafts", "is_untold")

    beside: Dict[int, RunTree]  # the drafts of the run above that it is one of
    drafts: Dict[int, RunTree]  # those made under it, as long as neither they nor it are posted
    is_untold: bool  # there until everybody was told of its end

    def __init__(self) -> None:
        self.beside = {}
        self.drafts = {}
        self.is_untold = True


class RunTree(MutableRun, Identified):
    """
    Be one run while it is open: read its ids, add to its payload, make children, end it.

    You get one from `get_current_run_tree()` and from a `trace` block. Once the run has ended its ids
    can still be read and children made; what would change it does nothing and is counted in
    `clew.stats()` as ``runs_changed_after_end``.

    A tree can also be made by hand: `RunTree(...)`, `post()` to start it, `create_child(...)`, `end()`.

    Context:
        *When*: nothing is captured. *What the callee sees*: nothing; a run made by hand is not made
        current, `traceable` and `trace` do that. *What comes back*: nothing. Any thread may call the
        methods.

    Args:
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever".
        inputs, outputs, metadata: dicts, copied.
        tags: strings.
        project_name: the project of the run and its children.
        error: with which it will end, as `end` takes it.
        start_time: instead of now, a datetime, in UTC if it does not say otherwise; not before that of the run above.
        end_time: of a run that is over already, likewise: it ends when it is posted.
        events: as `add_event` takes them.
        id: a UUID of your own, or its text, instead of a new one.
        parent_run: the run above, a `RunTree` or a finished `Run`.
        options: what LangSmith's has beside these: the metadata of ``extra`` counts, and all else is left out and
            counted in `clew.stats()` as ``options_ignored``.

    Raises:
        ArgumentTypeError: an option is something else than it says, or nobody's.
        ArgumentValueError: `id` is no UUID.
    """

    __slots__ = (
        "__weakref__",
        "_by_hand",
        "_filing",
        "_identity",
        "_is_draft",
    )

    end_time_ns: Optional[int]
    _identity: Identity
    _filing: Filing  # there once the run has ended, if there is one
    _by_hand: _ByHand  # there if no call and no block will end it
    _is_draft: bool  # there until a run made by hand is posted

    def __new__(  # noqa: D102  the class's docstring documents it
        cls,
        name: str,
        run_type: Optional[str] = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        outputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        error: Union[str, BaseException, None] = None,
        start_time: Optional[datetime] = None,
        end_time: Optional[datetime] = None,
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
        id: Union[UUID, str, None] = None,  # noqa: A002  LangSmith's name
        parent_run: Union[RunTree, Run, None] = None,
        **options: Any,
    ) -> RunTree:
        metadata = metadata_of_extra(options, metadata, "RunTree")
        above = None if parent_run is None else _checked_parent(parent_run)
        run = _draft(above, name, run_type, inputs, hand_down(tags, metadata, project_name), start_time, id)
        run._take(outputs, error, end_time, events)
        return run

    @classmethod
    def detached(cls, identity: Identity) -> RunTree:
        """
        Return a run that stands for one that has ended: it knows who it was, and no payload.
        """
        run = object.__new__(cls)
        run._identity = identity
        run._run_type = "chain"
        run._inputs = {}
        run._error = run.end_time_ns = run._attributes = None
        run._status = "ended"
        return run

    @classmethod
    def from_headers(cls, headers: Any, *, trusted: bool = True) -> Optional[RunTree]:
        """
        Return the run of another process that the headers of a request name as the parent; None if they name none.

        It is there to make children of: with `create_child`, or as ``parent=`` of `tracing_context`. If the
        headers name one parent in LangSmith's format and another one in W3C's, it is the first, and the runs
        under it are linked to the second.

        Args:
            headers: a dict, a list of pairs, a WSGI environ, ASGI's pairs of bytes or a framework's own
                collection; names in any case. What is not valid in them counts as not there.
            trusted: False for headers of a caller that anybody may be: the runs under it are roots, which are
                linked to it, and it says nothing of project, tags, metadata, baggage, and whether to record.

        Source:
            W3C Trace Context, levels 1 and 2; W3C Baggage; LangSmith's distributed tracing.

        Example:
            >>> import clew
            >>> parent = clew.RunTree.from_headers(
            ...     {"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
            ... )
            >>> parent.create_child("serve").parent_span_id
            '00f067aa0ba902b7'
        """
        remote, _ = loaded_headers().read_headers(headers, is_trusted=trusted)
        return None if remote is None else cls.detached(remote)

    @classmethod
    def from_dotted_order(cls, dotted_order: str) -> Optional[RunTree]:
        """
        Return the run that LangSmith's dotted order names, to make children of; None if it is not valid.
        """
        remote = loaded_headers().read_dotted_order(dotted_order)
        return None if remote is None else cls.detached(remote)

    def to_headers(self) -> Dict[str, str]:
        """
        Return the headers that make this run the parent of what a request starts elsewhere.

        They are `traceparent`, `tracestate`, `baggage` and `langsmith-trace`, those that there are, in
        W3C's and LangSmith's formats. Of a run that nobody records they are those that the request being
        served came with, so that its trace goes on.

        Context:
            *When*: the program's baggage is that of this call. Thread-safe.

        Example:
            >>> import clew
            >>> with clew.record(), clew.trace("call") as run:
            ...     headers = run.to_headers()
            >>> headers["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-03"
            True
        """
        is_recorded = not self._is_ignored and (bool(_hooks.start_hooks) or not hasattr(self, "_is_draft"))
        headers: Dict[str, str] = loaded_headers().headers_of(self._identity, is_recorded=is_recorded)
        return headers

    def create_child(
        self,
        name: str,
        run_type: Optional[str] = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        outputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        error: Union[str, BaseException, None] = None,
        start_time: Optional[datetime] = None,
        end_time: Optional[datetime] = None,
        run_id: Union[UUID, str, None] = None,
        **options: Any,
    ) -> RunTree:
        """
        Return a new run under this one, which may have ended; `post()` starts it.

        Of further options it is as with `RunTree` itself.
        """
        metadata = metadata_of_extra(options, metadata, "create_child")
        run = _draft(self, name, run_type, inputs, hand_down(tags, metadata, project_name), start_time, run_id)
        run._take(outputs, error, end_time)
        if hasattr(self, "_is_draft"):
            run._by_hand.beside = self._by_hand.drafts
            run._by_hand.beside[id(run)] = run
        return run

    def _take(
        self,
        outputs: Optional[Mapping[str, Any]],
        error: Union[str, BaseException, None],
        end_time: Optional[datetime],
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
    ) -> None:
        """
        Have a new run made by hand be what else was said of it.
        """
        if outputs is not None:
            self.add_outputs(outputs)
        if events is not None:
            self.add_event(events)
        self._will_end(error, None if end_time is None else check_time(end_time, "end_time"))

    def _will_end(self, error: Union[str, BaseException, None], end_time_ns: Optional[int]) -> None:
        if error is not None:
            self.error = error
        if end_time_ns is not None:
            self._change(lambda: setattr(self._own_attributes(), "end_time_ns", end_time_ns))

    def post(self, exclude_child_runs: bool = True) -> None:  # noqa: FBT001, FBT002  LangSmith's signature
        """
        Start a run made by hand: whoever records runs now gets it. On any other run this does nothing.

        Args:
            exclude_child_runs: False to start those, too, that were made under it with `create_child` until now, and
                those under them.
        """
        waiting: List[RunTree] = [self]
        for run in waiting:  # without recursion: a tree may be deeper than the stack
            drafts = run._post()
            if not exclude_child_runs:
                waiting.extend(drafts)

    def _post(self) -> List[RunTree]:
        try:
            del self._is_draft  # like `live`: decides between two threads
        except AttributeError:
            return []
        drafts, self._by_hand.drafts = self._by_hand.drafts, {}
        self._by_hand.beside.pop(id(self), None)
        if self._is_ignored:
            pass
        elif not _hooks.start_hooks:
            self._ignore_changes()
        else:
            notify_start(self)
            if self._attributes is not None and self._attributes.end_time_ns is not None:
                self.close("success")  # it was made as one that is over
            self._tell_end()  # of one that was ended first
        return list(drafts.values())

    def patch(self, *, exclude_inputs: Optional[bool] = None) -> None:  # noqa: ARG002  LangSmith's
        """
        End the run, unless it has ended. Whoever records has got it then, and there is nothing to be sent again.

        Args:
            exclude_inputs: is LangSmith's, and does nothing: the inputs are recorded as they are at the end.
        """
        if hasattr(self, "_by_hand"):
            self.close("success")

    def end(
        self,
        *,
        outputs: Optional[Mapping[str, Any]] = None,
        error: Union[str, BaseException, None] = None,
        end_time: Optional[datetime] = None,
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """
        End the run: with `outputs` as a success, with `error` as a failure. A second end is counted.

        Of a traced call, or a block, this only says what is to be recorded: it ends when the call or the block
        does, and an exception that leaves it has the last word.

        Args:
            outputs: a dict, added to what there is; not to what `set` has put there.
            error: a text, or an exception, of which its text with the traceback is kept.
            end_time: instead of now, a datetime, in UTC if it does not say otherwise; not before the start.
            events: as `add_event` takes them.
            metadata: as `add_metadata` takes it.
        """
        end_time_ns = None if end_time is None else check_time(end_time, "end_time")
        said_more = any(said is not None for said in (outputs, error, end_time, events, metadata))
        attributes = self._attributes
        if attributes is not None and attributes.end_time_ns is not None:
            self._change(lambda: setattr(attributes, "end_time_ns", None))  # what was said before was another end
        if outputs is not None and (attributes is None or "outputs" not in attributes.replaced):
            self.add_outputs(outputs)
        if events is not None:
            self.add_event(events)
        if metadata is not None:
            self.add_metadata(metadata)
        self._will_end(error, end_time_ns)
        ends_here = hasattr(self, "_by_hand")
        if ends_here and not self.close("success") and not said_more:
            self._change(lambda: None)  # which counts it, as all else is counted that comes too late

    def add_event(self, event: Union[str, Mapping[str, Any], Sequence[Union[str, Mapping[str, Any]]]]) -> None:
        """
        Add an event, or several in a list: a dict, or its name alone. ``time_ns`` is filled in where it is missing.

        LangSmith's ``time``, a datetime or its text, will do for it.
        """
        if isinstance(event, (list, tuple)):
            for each in event:
                self.add_event(each)
            return
        named = {"name": event} if isinstance(event, str) else event_fields(check_mapping(event, "event"))
        time_ns, start_time_ns = now_ns(), self._identity.start_time_ns
        if time_ns < start_time_ns:  # the clock was set back
            time_ns = start_time_ns
        fields = {"time_ns": time_ns, **named}
        self._change(lambda: self._own_attributes().events.append(fields))

    def close(self, status: str, error: Union[str, ErrorText, None] = None) -> bool:
        """
        End the run with a status, once, and return whether this call was the one that ended it.
        """
        identity = self._identity
        try:
            # Deleting the slot is what decides between two threads that end a run at once, and what
            # lets go of the payload: from here on the context leads to the identity alone.
            del identity.live
        except AttributeError:
            return False
        end_time_ns = now_ns()
        attributes = self._attributes
        if attributes is not None:
            if attributes.error is not None and status == "success":
                status, error = "error", attributes.error
            if attributes.end_time_ns is not None:
                end_time_ns = attributes.end_time_ns
        self._error = error
        self.end_time_ns = end_time_ns if end_time_ns > identity.start_time_ns else identity.start_time_ns
        filing = settings.filing
        if filing is not None:
            self._filing = filing  # what is said later is for later runs, whenever this one is read
        self._status = status
        if attributes is not None and attributes.on_end is not None:
            attributes.on_end(self)
        if _hooks.end_hooks and self._attributes is not NON_RECORDING:
            if hasattr(self, "_by_hand"):
                self._tell_end()
            else:
                for hook in _hooks.end_hooks:
                    hook(self)
        return True

    def _tell_end(self) -> None:
        """
        Tell everybody that a run made by hand has ended, once it is both: posted, and ended.
        """
        if hasattr(self, "_is_draft") or self._status == "pending":
            return
        try:
            # Whichever comes second has found the other one done; where two threads both have, this decides.
            del self._by_hand.is_untold
        except AttributeError:
            return
        for hook in _hooks.end_hooks:
            hook(self)

    def call_at_end(self, hook: Callable[[RunTree], object]) -> None:
        """
        Have a function called with this run when it has ended. What it raises is counted in `clew.stats()`.
        """

        def call(run: RunTree) -> None:
            try:
                hook(run)
            except Exception as error:  # noqa: BLE001  it is the program's own, and comes from in between its calls
                report("end_hooks_failed", f"on_end of the run {run.name!r} failed", error=error)

        self._own_attributes().on_end = call

    def fail(self, error: BaseException, traceback: Optional[TracebackType]) -> None:
        """
        End the run by an exception, as an error or as cancelled; `traceback` is where to start telling.

        It raises none: that would be seen in place of the one that the program is waiting for.
        """
        if self._status != "pending":
            return
        told = None
        try:
            told = describe_error(error, traceback)
            self.close(status_of(error), told)
        except Exception as failure:  # noqa: BLE001  a hook, or the stack has no room left for one more call
            if self._status == "pending":
                # As `close` would, but with no call, not even of the clock.
                self._status = "error"
                self._error = told
                self.end_time_ns = self._identity.start_time_ns
                try:  # noqa: SIM105  `suppress` is a call
                    del self._identity.live
                except AttributeError:
                    pass
            if not isinstance(failure, RecursionError):  # which Python up to 3.9 lets nobody do much after
                report("end_hooks_failed", f"the end of the run {self.name!r} could not be told", error=failure)

    def __repr__(self) -> str:
        return f"<clew.RunTree {self.name!r} {self._status}>"


@lru_cache(maxsize=None)
def loaded_headers() -> Any:
    """
    Return the module `clew.runs.headers`, which is loaded now: most programs neither read nor send any.
    """
    from clew.runs import headers

    return headers


def _checked_parent(parent_run: Any) -> RunTree:
    if isinstance(parent_run, RunTree):
        return parent_run
    if isinstance(parent_run, Run):
        return RunTree.detached(parent_run._identity)
    raise ArgumentTypeError(
        f"expected parent_run= as a RunTree or a Run, got {type(parent_run).__name__} {parent_run!r}; "
        f"pass the run, or what RunTree.from_headers or RunTree.from_dotted_order makes of it"
    )


_new = object.__new__


def open_run(
    parent: Optional[Identity],
    around: Ambient,
    name: str,
    run_type: str,
    inputs: Dict[str, Any],
    own: Optional[Inherited],
    digits: Optional[str] = None,
) -> RunTree:
    """
    Return a new open run under `parent`, or a root; `inputs` is a copy already.

    The random digits of its id are given if these have decided that it is recorded.

    The two objects are filled in here, not by an `__init__` of each: this is half the cost of a run.
    """
    identity = Identity()
    start_time_ns = now_ns()
    if around.under is parent:
        if parent is None and around.linked:
            identity.linked = around.linked
        if around.inherited is not None:
            own = around.inherited if own is None else around.inherited.overlaid(own)
    if parent is None:
        identity.inherited = own
    else:
        inherited = parent.inherited
        if own is not None:
            inherited = own if inherited is None else inherited.overlaid(own)
        identity.inherited = inherited
        # The clock may have been set back since; a server that sorts by time would lose the child.
        if start_time_ns < parent.start_time_ns:
            start_time_ns = parent.start_time_ns
    identity.name = name
    identity.parent = parent
    identity.start_time_ns = start_time_ns
    identity._order = None
    identity._id_text = None if digits is None else new_id_text(start_time_ns, digits)
    run = _new(RunTree)  # not RunTree(), which is for people
    run._identity = identity
    run._run_type = run_type
    run._inputs = inputs
    run._error = run.end_time_ns = run._attributes = None
    run._status = "pending"
    identity.live = run
    return run


def _draft(
    above: Optional[RunTree],
    name: str,
    run_type: Optional[str],
    inputs: Optional[Mapping[str, Any]],
    own: Optional[Inherited],
    start_time: Optional[datetime],
    run_id: Union[UUID, str, None],
) -> RunTree:
    """
    Return a new run that is made by hand, and not announced yet.
    """
    id_text = None if run_id is None else check_id(run_id)
    name, run_type, around = check_name(name), check_run_type(run_type), ambient.get()
    start_time_ns = None if start_time is None else check_time(start_time, "start_time")
    is_ignored = above is not None and above._is_ignored
    parent, linked = None if above is None else above._identity.parent if is_ignored else above._identity, None
    if isinstance(parent, Remote) and not parent.is_trusted:
        parent, linked = None, parent
    decided = settings.decide(name, run_type, own, id_text) if parent is None and settings.is_sampling else None
    if isinstance(decided, Unsampled):
        run = ignored(decided)
    else:
        run = open_run(parent, around, name, run_type, copy_payload(inputs, "input"), own, decided)
        if start_time_ns is not None:
            _start_at(run._identity, start_time_ns, decided)
    if id_text is not None:
        run._identity._id_text = id_text
    if linked is not None:
        run._identity.linked = (linked,)
    run._is_draft = True
    run._by_hand = _ByHand()
    if is_ignored or not around.is_enabled or (parent is not None and not parent.is_sampled):
        run._ignore_changes()
    return run


def _start_at(identity: Identity, start_time_ns: int, digits: Optional[str]) -> None:
    parent = identity.parent
    identity.start_time_ns = start_time_ns = max(start_time_ns, 0 if parent is None else parent.start_time_ns)
    if digits is not None:
        identity._id_text = new_id_text(start_time_ns, digits)


def ignored(identity: Identity) -> RunTree:
    """
    Return a run that stands for one that nobody records.
    """
    run = RunTree.detached(identity)
    run._ignore_changes()
    return run


register_fork_hooks()
