"""
`RunTree`, a run while it is open, and how one is opened.

How it becomes the current one is in `clew.runs.current`; what is read of it afterwards, in `clew.runs.recording`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

from clew._locks import ForkSafeLock
from clew.additions import Additions, Metadata, Tags, Unset, unset
from clew.incidents import report
from clew.payloads import (
    check_id,
    check_mapping,
    check_name,
    check_tags,
    copy_payload,
    copy_value,
    describe_error,
    metadata_of_extra,
    status_of,
)
from clew.runs import sampling as _sampling
from clew.runs.identity import Ambient, Identity, Inherited, Remote, Unsampled, ambient, hand_down, new_id_text, now_ns
from clew.runs.recording import Identified
from clew.runs.sampling import Filing, announce, settings

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

__all__ = ("RunTree", "draft_run", "ignored", "loaded_headers", "open_run")

# One lock for the rare changes from outside; starting and ending a run take none.
_guard = ForkSafeLock()


class RunTree(Identified):
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
        inputs, metadata: dicts, copied.
        tags: strings.
        project_name: the project of the run and its children.
        id: a UUID of your own, or its text, instead of a new one.
        parent_run: the run above.
        options: what LangSmith's has beside these: the metadata of ``extra`` counts, and all else is left out and
            counted in `clew.stats()` as ``options_ignored``.
    """

    __slots__ = (
        "__weakref__",
        "_additions",
        "_filing",
        "_is_by_hand",
        "_is_draft",
        "end_time_ns",
        "error",
        "inputs",
        "result",
        "run_type",
        "status",
    )

    run_type: str
    inputs: Dict[str, Any]
    result: Any  # a copy of what the traced function returned, unset until it has
    error: Optional[str]
    status: str
    end_time_ns: Optional[int]
    _additions: Optional[Additions]
    _filing: Filing  # there once the run has ended, if there is one
    _is_by_hand: bool  # there if no call and no block will end it
    _is_draft: bool  # there until a run made by hand is posted

    def __new__(  # noqa: D102  the class's docstring documents it
        cls,
        name: str,
        run_type: str = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        id: Union[UUID, str, None] = None,  # noqa: A002  LangSmith's name
        parent_run: Optional[RunTree] = None,
        **options: Any,
    ) -> RunTree:
        metadata = metadata_of_extra(options, metadata, "RunTree")
        if parent_run is not None:
            return parent_run.create_child(
                name, run_type, inputs=inputs, tags=tags, metadata=metadata, project_name=project_name, run_id=id
            )
        return draft_run(None, name, run_type, inputs, hand_down(tags, metadata, project_name), id)

    @classmethod
    def detached(cls, identity: Identity) -> RunTree:
        """
        Return a run that stands for one that has ended: it knows who it was, and no payload.
        """
        run = object.__new__(cls)
        run._identity = identity
        run.run_type = "chain"
        run.inputs = {}
        run.error = run.end_time_ns = run._additions = None
        run.status = "ended"
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
        is_recorded = not self.is_ignored and (bool(_sampling.start_hooks) or not hasattr(self, "_is_draft"))
        headers: Dict[str, str] = loaded_headers().headers_of(self._identity, is_recorded=is_recorded)
        return headers

    @property
    def outputs(self) -> Optional[Dict[str, Any]]:
        """
        The outputs of the run, in a new dict: what was returned, over what was added. None where there are none.
        """
        additions = self._additions
        added = None if additions is None else additions.outputs
        if additions is not None and "outputs" in additions.replaced:
            return added and dict(added)
        try:
            result = self.result
        except AttributeError:
            return added and dict(added)
        return {**(added or _NOTHING), **(result if type(result) is dict else {"output": result})}

    @property
    def tags(self) -> List[str]:
        """
        The tags of the run, with what it inherited, what it was given and what was added.

        What is appended to the list is added to the run.
        """
        return Tags(self)

    def all_tags(self) -> List[str]:
        """
        Return the tags in a list that is nobody else's.
        """
        inherited, additions = self._identity.inherited, self._additions
        is_inherited = inherited is not None and (additions is None or "tags" not in additions.replaced)
        return [
            *(inherited.tags if inherited is not None and is_inherited else ()),
            *(() if additions is None else additions.tags),
        ]

    @property
    def metadata(self) -> Dict[str, Any]:
        """
        The metadata of the run, with what it inherited, what it was given and what was added.

        What is set in the dict is added to the run.
        """
        return Metadata(self)

    def all_metadata(self) -> Dict[str, Any]:
        """
        Return the metadata in a dict that is nobody else's.
        """
        inherited, additions = self._identity.inherited, self._additions
        is_inherited = inherited is not None and (additions is None or "metadata" not in additions.replaced)
        return {
            **(inherited.metadata if inherited is not None and is_inherited else _NOTHING),
            **(_NOTHING if additions is None else additions.metadata),
        }

    @property
    def events(self) -> List[Mapping[str, Any]]:
        """
        The events of the run so far, in a new list.
        """
        return [] if self._additions is None else list(self._additions.events)

    def create_child(
        self,
        name: str,
        run_type: str = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        run_id: Union[UUID, str, None] = None,
        **options: Any,
    ) -> RunTree:
        """
        Return a new run under this one, which may have ended; `post()` starts it.

        Of further options it is as with `RunTree` itself.
        """
        metadata = metadata_of_extra(options, metadata, "create_child")
        is_ignored = self.is_ignored
        parent = self._identity.parent if is_ignored else self._identity
        child = draft_run(parent, name, run_type, inputs, hand_down(tags, metadata, project_name), run_id)
        if is_ignored:
            child.ignore_changes()
        return child

    def post(self) -> None:
        """
        Start a run made by hand: whoever records runs now gets it. On any other run this does nothing.
        """
        try:
            del self._is_draft  # like `live`: decides between two threads
        except AttributeError:
            return
        if self.is_ignored:
            return
        if _sampling.start_hooks:
            announce(self)
        else:
            self.ignore_changes()

    def patch(self) -> None:
        """
        End the run, unless it has ended. Whoever records has got it then, and there is nothing to be sent again.
        """
        if self.status == "pending":
            self.end()

    def end(
        self,
        *,
        outputs: Optional[Mapping[str, Any]] = None,
        error: Optional[str] = None,
        metadata: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """
        End the run: with `outputs` as a success, with `error` as a failure. A second end is counted.

        Of a traced call, or a block, this only says what is to be recorded: it ends when the call or the block
        does, and an exception that leaves it has the last word.
        """
        if outputs is not None:
            self.add_outputs(outputs)
        if metadata is not None:
            self.add_metadata(metadata)
        if not hasattr(self, "_is_by_hand"):
            if error is not None:
                self._change(lambda: setattr(self._added(), "error", error))
        elif not self.close("success" if error is None else "error", error) and outputs is None and metadata is None:
            self._report_late_change()

    def add_tags(self, tags: Union[str, Sequence[str]]) -> None:
        """
        Add one tag or several to this run. Children do not get them.
        """
        added = (tags,) if isinstance(tags, str) else check_tags(tags)
        self._change(lambda: self._added().tags.extend(added))

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """
        Add metadata to this run, over what it had. Children do not get it.
        """
        if self._additions is _IGNORED:
            return
        added = copy_value(dict(check_mapping(metadata, "metadata")))
        self._change(lambda: self._added().metadata.update(added))

    def add_inputs(self, inputs: Mapping[str, Any]) -> None:
        """
        Add to the inputs of the run, over what they were.
        """
        if self._additions is _IGNORED:
            return
        added = copy_payload(inputs, "input")

        def change() -> None:
            self.inputs = {**self.inputs, **added}

        self._change(change)

    def add_outputs(self, outputs: Mapping[str, Any]) -> None:
        """
        Add to the outputs of the run, over what they were.
        """
        if self._additions is _IGNORED:
            return
        added = copy_payload(outputs, "output")
        self._change(lambda: self._added().add_outputs(added))

    def set(
        self,
        *,
        inputs: Union[Mapping[str, Any], Unset, None] = unset,
        outputs: Union[Mapping[str, Any], Unset, None] = unset,
        tags: Union[Sequence[str], Unset, None] = unset,
        metadata: Union[Mapping[str, Any], Unset, None] = unset,
    ) -> None:
        """
        Replace what is named, inherited tags and metadata included; None takes it out.

        Outputs that are set stay: what the traced function returns does not get into them any more.
        """
        if self._additions is _IGNORED:
            return
        changes: List[Callable[[], None]] = []
        if not isinstance(inputs, Unset):
            copied = copy_payload(inputs, "input")
            changes.append(lambda: setattr(self, "inputs", copied))
        if not isinstance(outputs, Unset):
            made = None if outputs is None else copy_payload(outputs, "output")
            changes.append(lambda: self._added().replace("outputs", made))
        if not isinstance(tags, Unset):
            checked = list(check_tags(tags or ()))
            changes.append(lambda: self._added().replace("tags", checked))
        if not isinstance(metadata, Unset):
            given = copy_value(dict(check_mapping(metadata or {}, "metadata")))
            changes.append(lambda: self._added().replace("metadata", given))
        self._change(lambda: [change() for change in changes])

    def add_event(self, event: Union[str, Mapping[str, Any], Sequence[Union[str, Mapping[str, Any]]]]) -> None:
        """
        Add an event, or several in a list: a dict, or its name alone. ``time_ns`` is filled in where it is missing.
        """
        if isinstance(event, (list, tuple)):
            for each in event:
                self.add_event(each)
            return
        named = {"name": event} if isinstance(event, str) else copy_value(dict(check_mapping(event, "event")))
        fields = {"time_ns": now_ns(), **named}
        self._change(lambda: self._added().events.append(fields))

    def close(self, status: str, error: Optional[str] = None) -> bool:
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
        additions = self._additions
        if additions is not None and additions.error is not None and status == "success":
            status, error = "error", additions.error
        self.error = error
        end_time_ns = now_ns()
        self.end_time_ns = end_time_ns if end_time_ns > identity.start_time_ns else identity.start_time_ns
        filing = settings.filing
        if filing is not None:
            self._filing = filing  # what is said later is for later runs, whenever this one is read
        self.status = status
        if additions is not None and additions.on_end is not None:
            additions.on_end(self)
        if _sampling.end_hooks and self._additions is not _IGNORED and not hasattr(self, "_is_draft"):
            for hook in _sampling.end_hooks:
                hook(self)
        return True

    def call_at_end(self, hook: Callable[[RunTree], object]) -> None:
        """
        Have a function called with this run when it has ended. What it raises is counted in `clew.stats()`.
        """

        def call(run: RunTree) -> None:
            try:
                hook(run)
            except Exception as error:  # noqa: BLE001  it is the program's own, and comes from in between its calls
                report("end_hooks_failed", f"on_end of the run {run.name!r} failed", error=error)

        self._added().on_end = call

    def fail(self, error: BaseException, traceback: Optional[TracebackType]) -> None:
        """
        End the run by an exception, as an error or as cancelled; `traceback` is where to start telling.
        """
        if self.status == "pending":
            self.close(status_of(error), describe_error(error, traceback))

    @property
    def is_ignored(self) -> bool:
        """
        Whether nobody records this run, nor will.
        """
        return self._additions is _IGNORED

    def ignore_changes(self) -> None:
        """
        Have what is added from now on go nowhere: the run of a block that nobody records.
        """
        self._additions = _IGNORED

    def _added(self) -> Additions:
        if self._additions is None:
            self._additions = Additions()
        return self._additions

    def _change(self, change: Callable[[], object]) -> None:
        if self._additions is _IGNORED:
            return
        with _guard.lock:
            if self.status == "pending":
                change()
                return
        # Not under the lock: a handler of the log may want to change a run, too.
        self._report_late_change()

    def _report_late_change(self) -> None:
        report("runs_changed_after_end", f"the run {self.name!r} was changed after it had ended; change it earlier")

    def __repr__(self) -> str:
        return f"<clew.RunTree {self.name!r} {self.status}>"


@lru_cache(maxsize=None)
def loaded_headers() -> Any:
    """
    Return the module `clew.runs.headers`, which is loaded now: most programs neither read nor send any.
    """
    from clew.runs import headers

    return headers


_new = object.__new__
_NOTHING: Mapping[str, Any] = {}
_IGNORED = Additions()


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
    run.run_type = run_type
    run.inputs = inputs
    run.error = run.end_time_ns = run._additions = None
    run.status = "pending"
    identity.live = run
    return run


def draft_run(
    parent: Optional[Identity],
    name: str,
    run_type: str,
    inputs: Optional[Mapping[str, Any]],
    own: Optional[Inherited],
    run_id: Union[UUID, str, None] = None,
) -> RunTree:
    """
    Return a new run that is made by hand, and not announced yet.
    """
    id_text = None if run_id is None else check_id(run_id)
    around = ambient.get()
    linked = None
    if isinstance(parent, Remote) and not parent.is_trusted:
        parent, linked = None, parent
    decided = None
    if parent is None and settings.is_sampling:
        decided = settings.decide(check_name(name), run_type, own, id_text)
    if isinstance(decided, Unsampled):
        run = ignored(decided)
    else:
        run = open_run(parent, around, check_name(name), run_type, copy_payload(inputs, "input"), own, decided)
    if id_text is not None:
        run._identity._id_text = id_text
    if linked is not None:
        run._identity.linked = (linked,)
    run._is_draft = run._is_by_hand = True
    if not around.is_enabled or (parent is not None and not parent.is_sampled):
        run.ignore_changes()
    return run


def ignored(identity: Identity) -> RunTree:
    """
    Return a run that stands for one that nobody records.
    """
    run = RunTree.detached(identity)
    run.ignore_changes()
    return run
