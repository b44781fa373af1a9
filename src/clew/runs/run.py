"""
`RunTree`, a run while it is open, and `Run`, the frozen one that is read afterwards.

How a run becomes the current one is in `clew.runs.current`; what collects runs, elsewhere.
"""

from __future__ import annotations

from functools import lru_cache
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

from clew._locks import ForkSafeLock
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
from clew.runs.identity import Ambient, Identity, Inherited, Remote, Unsampled, ambient, hand_down, new_id_text, now_ns
from clew.runs.sampling import settings

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

__all__ = ("Link", "Run", "RunTree")

# One lock for the rare changes from outside; starting and ending a run take none.
_guard = ForkSafeLock()


class _Unset:
    """
    Say of an option that it was not given, where None says something.
    """

    def __repr__(self) -> str:
        return "..."


_UNSET = _Unset()


class Link(NamedTuple):
    """
    Name a run of another trace, or of elsewhere in this one.
    """

    trace_id: UUID
    span_id: str


class _Identified:
    """
    Give a run the attributes that follow from its identity.
    """

    __slots__ = ("_identity",)

    _identity: Identity

    @property
    def name(self) -> str:
        """
        The name of the run.
        """
        return self._identity.name

    @property
    def id(self) -> UUID:
        """
        The UUIDv7 of the run, made when first asked for.
        """
        return self._identity.id

    @property
    def trace_id(self) -> UUID:
        """
        The id of the trace, which is that of its root run.
        """
        return self._identity.trace_id

    @property
    def span_id(self) -> str:
        """
        The low 64 bits of `id` as 16 hexadecimal digits, which is how W3C headers name the run.
        """
        return self._identity.span_id

    @property
    def parent_id(self) -> Optional[UUID]:
        """
        The `id` of the parent run, None for a root.
        """
        parent = self._identity.parent
        return None if parent is None else parent.id

    @property
    def parent_run_id(self) -> Optional[UUID]:
        """
        The same, by LangSmith's name.
        """
        return self.parent_id

    @property
    def parent_span_id(self) -> Optional[str]:
        """
        The `span_id` of the parent run, None for a root.
        """
        parent = self._identity.parent
        return None if parent is None else parent.span_id

    @property
    def links(self) -> Tuple[Link, ...]:
        """
        The runs that this one is linked to and not nested under: see `clew.detached`, and `RunTree.from_headers`.
        """
        identity = self._identity
        if not hasattr(identity, "linked") and isinstance(identity.parent, Remote):
            identity = identity.parent  # whose headers named two parents
        return tuple(Link(linked.trace_id, linked.span_id) for linked in getattr(identity, "linked", ()))

    @property
    def dotted_order(self) -> str:
        """
        LangSmith's place of the run, which is start time and id of each run from the root down, joined by dots.
        """
        return self._identity.dotted_order

    @property
    def start_time_ns(self) -> int:
        """
        When the run started, in nanoseconds since the epoch; never before its parent.
        """
        return self._identity.start_time_ns

    @property
    def project_name(self) -> Optional[str]:
        """
        The project of the run: its own, its parent's, or that of `clew.configure`; None where none was named.
        """
        inherited = self._identity.inherited
        return (None if inherited is None else inherited.project_name) or settings.project_name

    @property
    def service(self) -> Optional[str]:
        """
        The program that made the run, as `clew.configure` was told; None where it was not.
        """
        return settings.service


class RunTree(_Identified):
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
    _additions: Optional[_Additions]
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
        run = draft_run(None, name, run_type, inputs, hand_down(tags, metadata, project_name))
        run._take_id(id)
        return run

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
        is_recorded = not self.is_ignored and (bool(start_hooks) or not hasattr(self, "_is_draft"))
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
        return _Tags(self)

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
        return _Metadata(self)

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
        child = draft_run(parent, name, run_type, inputs, hand_down(tags, metadata, project_name))
        if is_ignored:
            child.ignore_changes()
        child._take_id(run_id)
        return child

    def _take_id(self, run_id: Union[UUID, str, None]) -> None:
        if run_id is not None:
            self._identity._id_text = check_id(run_id)

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
        if start_hooks:
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
        inputs: Union[Mapping[str, Any], _Unset, None] = _UNSET,
        outputs: Union[Mapping[str, Any], _Unset, None] = _UNSET,
        tags: Union[Sequence[str], _Unset, None] = _UNSET,
        metadata: Union[Mapping[str, Any], _Unset, None] = _UNSET,
    ) -> None:
        """
        Replace what is named, inherited tags and metadata included; None takes it out.

        Outputs that are set stay: what the traced function returns does not get into them any more.
        """
        if self._additions is _IGNORED:
            return
        changes: List[Callable[[], None]] = []
        if not isinstance(inputs, _Unset):
            copied = copy_payload(inputs, "input")
            changes.append(lambda: setattr(self, "inputs", copied))
        if not isinstance(outputs, _Unset):
            made = None if outputs is None else copy_payload(outputs, "output")
            changes.append(lambda: self._added().replace("outputs", made))
        if not isinstance(tags, _Unset):
            checked = list(check_tags(tags or ()))
            changes.append(lambda: self._added().replace("tags", checked))
        if not isinstance(metadata, _Unset):
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
        self.status = status
        if additions is not None and additions.on_end is not None:
            additions.on_end(self)
        if end_hooks and self._additions is not _IGNORED and not hasattr(self, "_is_draft"):
            for hook in end_hooks:
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

    def _added(self) -> _Additions:
        if self._additions is None:
            self._additions = _Additions()
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


class _Tags(List[str]):
    """
    Be the tags of a run, to be read and added to, as LangSmith's are.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunTree) -> None:
        super().__init__(run.all_tags())
        self._run = run

    def append(self, tag: str) -> None:
        self.extend([tag])

    def extend(self, tags: Iterable[str]) -> None:
        added = check_tags(tags)
        super().extend(added)
        self._run.add_tags(added)

    def __iadd__(self, tags: Iterable[str]) -> _Tags:  # type: ignore[override,misc]
        self.extend(tags)
        return self

    def __reduce__(self) -> Any:
        return list, (list(self),)


class _Metadata(Dict[str, Any]):
    """
    Be the metadata of a run, to be read and added to, as LangSmith's is.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunTree) -> None:
        super().__init__(run.all_metadata())
        self._run = run

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self.update({key: default})
        return self[key]

    def update(self, *given: Any, **more: Any) -> None:
        added = dict(*given, **more)
        super().update(added)
        self._run.add_metadata(added)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class _Additions:
    """
    Hold what was added to a run while it was open; most runs have none.
    """

    __slots__ = ("error", "events", "metadata", "on_end", "outputs", "replaced", "tags")

    def __init__(self) -> None:
        self.error: Optional[str] = None
        self.on_end: Optional[Callable[[RunTree], object]] = None
        self.outputs: Optional[Dict[str, Any]] = None
        self.tags: List[str] = []
        self.metadata: Dict[str, Any] = {}
        self.events: List[Mapping[str, Any]] = []
        self.replaced: FrozenSet[str] = frozenset()  # what of these stands instead of all else, and not beside it

    def replace(self, name: str, value: object) -> None:
        setattr(self, name, value)
        self.replaced |= {name}

    def add_outputs(self, outputs: Dict[str, Any]) -> None:
        self.outputs = {**(self.outputs or _NOTHING), **outputs}


class Run(_Identified):
    """
    Be one recorded run, frozen: what `record()` gives, with its `children` in the order they started.

    Beside what is listed here it has `id`, `trace_id`, `span_id`, `parent_id`, `parent_span_id`,
    `dotted_order`, `name`, `start_time_ns`, `project_name` and `links`, as `RunTree` has.

    Attributes:
        run_type: LangSmith's kind of run, such as "chain" or "tool".
        status: "success", "error", "cancelled", or "pending" for a run that has not ended yet.
        error: the exception with its traceback, as text.
        inputs: a JSON-shaped dict.
        outputs: a JSON-shaped dict; None where there are none.
        tags: strings, inherited ones included.
        metadata: a JSON-shaped dict, inherited entries included.
        events: dicts with ``name`` and ``time_ns``.
        end_time_ns: nanoseconds since the epoch; None while the run is pending.
        children: the runs under this one.
    """

    __slots__ = (
        "children",
        "end_time_ns",
        "error",
        "events",
        "inputs",
        "metadata",
        "outputs",
        "run_type",
        "status",
        "tags",
    )

    children: Tuple[Run, ...]
    end_time_ns: Optional[int]
    error: Optional[str]
    events: Tuple[Mapping[str, Any], ...]
    inputs: Dict[str, Any]
    metadata: Dict[str, Any]
    outputs: Optional[Dict[str, Any]]
    run_type: str
    status: str
    tags: Tuple[str, ...]

    def __init__(self, run: RunTree, children: Tuple[Run, ...]) -> None:
        fill = super().__setattr__
        fill("_identity", run._identity)
        fill("run_type", run.run_type)
        fill("status", run.status)
        fill("error", run.error)
        fill("inputs", run.inputs)
        fill("outputs", run.outputs)
        fill("end_time_ns", run.end_time_ns)
        fill("tags", tuple(run.all_tags()))
        fill("metadata", run.all_metadata())
        fill("events", tuple(run.events))
        fill("children", children)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"expected a finished run to be read only, found {name!r} set; change the RunTree while it is open"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"expected a finished run to be read only, found {name!r} deleted")

    def __repr__(self) -> str:
        return f"<clew.Run {self.name!r} {self.status}, {len(self.children)} children>"


@lru_cache(maxsize=None)
def loaded_headers() -> Any:
    """
    Return the module `clew.runs.headers`, which is loaded now: most programs neither read nor send any.
    """
    from clew.runs import headers

    return headers


_new = object.__new__
_NOTHING: Mapping[str, Any] = {}
_IGNORED = _Additions()

# Who is told when a run starts. An empty tuple: recording is off, and `traceable`
# calls its function straight away. Replaced as a whole, so that no reader needs a lock.
start_hooks: Tuple[Callable[[RunTree], object], ...] = ()
_added_start_hooks: Tuple[Callable[[RunTree], object], ...] = ()
# Who is told when a run that was announced has ended; as above.
end_hooks: Tuple[Callable[[RunTree], object], ...] = ()


def add_start_hook(hook: Callable[[RunTree], object]) -> None:
    global _added_start_hooks
    with _guard.lock:
        _added_start_hooks = (*_added_start_hooks, hook)
        switch_recording()


def remove_start_hook(hook: Callable[[RunTree], object]) -> None:
    global _added_start_hooks
    with _guard.lock:
        _added_start_hooks = tuple(other for other in _added_start_hooks if other != hook)
        switch_recording()


def switch_recording() -> None:
    """
    Have it as `settings.is_enabled` says, which has the last word.
    """
    global start_hooks
    with _guard.lock:
        start_hooks = _added_start_hooks if settings.is_enabled else ()


def add_end_hook(hook: Callable[[RunTree], object]) -> None:
    global end_hooks
    with _guard.lock:
        end_hooks = (*end_hooks, hook)


def remove_end_hook(hook: Callable[[RunTree], object]) -> None:
    global end_hooks
    with _guard.lock:
        end_hooks = tuple(other for other in end_hooks if other != hook)


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
) -> RunTree:
    around = ambient.get()
    linked = None
    if isinstance(parent, Remote) and not parent.is_trusted:
        parent, linked = None, parent
    decided = settings.decide(check_name(name), run_type, own) if parent is None and settings.is_sampling else None
    if isinstance(decided, Unsampled):
        run = ignored(decided)
    else:
        run = open_run(parent, around, check_name(name), run_type, copy_payload(inputs, "input"), own, decided)
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


def announce(run: RunTree) -> None:
    for hook in start_hooks:
        hook(run)
