"""
The run tree as headers, and headers as the parent of what comes next.

The formats themselves are in `clew.propagation`; who sends and who receives is for the integrations.
"""

from __future__ import annotations

from abc import abstractmethod
from contextvars import Token
from types import TracebackType
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    Mapping as MappingOf,
    NamedTuple,
    Optional,
    Protocol,
    Tuple,
    Type,
    Union,
    overload,
)

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew._shared.one_use import EnteredOnce
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import Fields, read_once
from clew.propagation.langsmith import METADATA, PROJECT, TAGS, DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import RANDOM, SAMPLED, TraceParent
from clew.propagation.tracestate import TraceState
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.blocks import current_baggage, current_identity, report_exit_out_of_order, report_foreign_exit
from clew.runs._tree.identity import Identity, Inherited, Remote, Unsampled, Upstream
from clew.runs._tree.ids import new_id_text, now_ns

__all__ = (
    "HeaderFormat",
    "Received",
    "add_format",
    "baggage",
    "get_baggage",
    "get_current_headers",
    "headers_of",
    "read_dotted_order",
    "read_headers",
    "remove_format",
    "set_baggage",
)

NO_BAGGAGE = Baggage()
_NO_STATE = TraceState()
_ID_OF_ROOT = slice(22, 58)  # of a dotted order
_SAMPLED_FLAGS = f"{SAMPLED:02x}"
_RANDOM_FLAGS = f"{SAMPLED | RANDOM:02x}"
_OWN_NAMES = frozenset(("traceparent", "tracestate", "baggage", "langsmith-trace"))
# Servers take some 8,190 bytes of a header, and refuse the request that has more.
MOST_ORDER_CHARS = 8_000

_formats_guard = ForkSafeLock()


class Received(NamedTuple):
    """
    Hold what one format says of a request: its parent, and what goes along.
    """

    trace_parent: TraceParent
    trace_state: TraceState = _NO_STATE
    baggage: Baggage = NO_BAGGAGE


class HeaderFormat(Protocol):
    """
    Be one more format of headers, beside W3C's and LangSmith's.

    It is read where neither of these two names a parent, and written always. What it raises is counted.
    """

    name: str

    @abstractmethod
    def read(self, headers: Any) -> Optional[Received]:
        """
        Return what the headers say in this format, None if there is nothing.
        """

    @abstractmethod
    def write(self, sent: Received) -> MappingOf[str, str]:
        """
        Return the headers that say it in this format.
        """


# Replaced as a whole, so that no reader needs a lock.
_formats: Tuple[HeaderFormat, ...] = ()


def add_format(header_format: HeaderFormat) -> None:
    """
    Read and write one more format of headers from now on, in the whole process.
    """
    global _formats
    with _formats_guard.lock:
        _formats = (*_formats, header_format)


def remove_format(header_format: HeaderFormat) -> None:
    """
    Undo `add_format`.
    """
    global _formats
    with _formats_guard.lock:
        _formats = tuple(other for other in _formats if other is not header_format)


class _Sent(Inherited):
    """
    Be what a run of another process hands down, read from its baggage when somebody asks.
    """

    __slots__ = ("_baggage",)

    def __init__(self, baggage: Baggage, upstream: Upstream) -> None:
        self._baggage = baggage
        self.upstream = upstream

    def langsmith(self) -> Iterator[BaggageMember]:
        """
        Yield the members that are LangSmith's and mean something here.
        """
        return (member for member in self._baggage.members if member.key in (PROJECT, TAGS, METADATA))

    def __getattr__(self, name: str) -> Any:
        if name not in ("metadata", "project_name", "tags"):
            raise AttributeError(name)
        self.metadata, self.tags, self.project_name = LangSmithBaggage.from_baggage(self._baggage)
        return getattr(self, name)


def read_headers(headers: Any, *, is_trusted: bool = True) -> Tuple[Optional[Remote], Baggage]:
    """
    Return the run that some headers name as the parent, None if they name none, and the program's own baggage.

    Of a caller who is not trusted only the ids are read, not even whether it records the trace.
    """
    if _formats:
        headers = read_once(headers)
    fields = Fields.from_headers(headers)
    trace_parent = TraceParent.from_header(fields.traceparent)
    order = DottedOrder.from_header(fields.langsmith_trace)
    trace_state = None
    baggage = NO_BAGGAGE
    if trace_parent is not None:
        trace_state = TraceState.from_header(fields.tracestate) if is_trusted else None
    elif order is None:
        received = _read_further(headers)
        if received is not None:
            trace_parent, trace_state, baggage = received
    if not is_trusted:
        baggage, trace_state = NO_BAGGAGE, None
        if trace_parent is not None:
            trace_parent = trace_parent._replace(flags=SAMPLED)
    elif fields.baggage is not None:
        baggage = Baggage.from_header(fields.baggage)
    if order is not None:
        remote = _parent_by_order(order, trace_parent, trace_state, baggage)
    elif trace_parent is not None:
        remote = _parent_by_span(trace_parent, trace_state, baggage)
    else:
        return None, LangSmithBaggage.without(baggage)
    remote.is_trusted = is_trusted
    return remote, _baggage_from(remote.upstream)


def read_dotted_order(text: object) -> Optional[Remote]:
    """
    Return the run that LangSmith's dotted order names, None if it is not valid.
    """
    order = DottedOrder.from_header(text)
    if order is None:
        return None
    upstream = Upstream(order.trace_id, None)
    return Remote(_Sent(NO_BAGGAGE, upstream), upstream, order)


def _parent_by_span(trace_parent: TraceParent, trace_state: Optional[TraceState], baggage: Baggage) -> Remote:
    own = LangSmithBaggage.without(baggage)
    upstream = Upstream(trace_parent.trace_id, own, trace_state, is_random=trace_parent.is_random)
    return Remote(_Sent(baggage, upstream), upstream, None, trace_parent, trace_state)


def _parent_by_order(
    order: DottedOrder, trace_parent: Optional[TraceParent], trace_state: Optional[TraceState], baggage: Baggage
) -> Remote:
    own = LangSmithBaggage.without(baggage)
    trace_id = order.trace_id
    linked = None
    if trace_parent is None:
        upstream = Upstream(trace_id, own)
    else:
        if trace_parent.span_id == order.run_id[16:]:
            # The same run. Its trace may have come to it from somebody who knows W3C's format only.
            trace_id = trace_parent.trace_id
        else:
            linked = _parent_by_span(trace_parent, None, NO_BAGGAGE)
        # What is said of another trace is not for this one.
        is_same = trace_parent.trace_id == trace_id
        upstream = Upstream(
            trace_id, own, trace_state if is_same else None, is_random=is_same and trace_parent.is_random
        )
    remote = Remote(_Sent(baggage, upstream), upstream, order, trace_parent, trace_state)
    if linked is not None:
        remote.linked = (linked,)
    return remote


def _read_further(headers: Any) -> Optional[Received]:
    for each in _formats:
        received = _read_by(each, headers)
        if received is not None:
            return received
    return None


def _read_by(header_format: HeaderFormat, headers: Any) -> Optional[Received]:
    try:
        received = header_format.read(headers)
        if received is None:
            return None
        trace_parent, trace_state, baggage = received
        # Which is read as the one of a request, as it may be anything.
        read = TraceParent.from_header(trace_parent.to_header())
        return None if read is None else Received(read, TraceState(trace_state.items()), Baggage(baggage.members))
    except Exception as error:  # noqa: BLE001  it is somebody else's format, and a request to be served
        _report_failure(header_format, "read", error)
        return None


def _report_failure(header_format: HeaderFormat, verb: str, error: Exception) -> None:
    report(
        "formats_failed",
        f"a format of headers, {header_format.name}, failed to {verb}; they go on without it",
        error=error,
    )


def headers_of(identity: Optional[Identity], *, is_recorded: bool = True) -> Dict[str, str]:
    """
    Return the headers that make a run the parent of what comes next, elsewhere.

    For a run that nobody records they are those that its own parent came with.
    """
    span_id = None
    if identity is not None and not is_recorded and not isinstance(identity, (Remote, Unsampled)):
        span_id = identity.span_id
        identity = identity.parent
    inherited = None if identity is None else identity.inherited
    upstream = None if inherited is None else inherited.upstream
    own = current_baggage.get()
    if own is None:
        own = _baggage_from(upstream)
    if identity is None:
        headers = {}
    elif not isinstance(identity, Remote):
        headers = _own_headers(identity, upstream) if identity.is_sampled else _headers_of_unsampled(identity)
    elif _hooks.start_hooks and not identity.is_sampled:
        headers = _unsampled_headers(identity, span_id)
    else:
        headers = _passed_headers(identity)
    if inherited is not None or own:
        text = own.to_header() if inherited is None else _baggage_of(inherited, own)
        if text is not None:
            headers["baggage"] = text
    if _formats:
        _write_further(headers, own)
    return headers


def _baggage_from(upstream: Optional[Upstream]) -> Baggage:
    return NO_BAGGAGE if upstream is None or upstream.baggage is None else upstream.baggage


def _own_headers(identity: Identity, upstream: Optional[Upstream]) -> Dict[str, str]:
    order = identity.dotted_order
    # Cut out of it, as making these anew takes longer.
    trace_id = order[_ID_OF_ROOT].replace("-", "") if upstream is None else upstream.trace_id
    flags = _RANDOM_FLAGS if upstream is None or upstream.is_random else _SAMPLED_FLAGS
    headers = {"traceparent": f"00-{trace_id}-{order[-17:-13]}{order[-12:]}-{flags}"}
    if len(order) <= MOST_ORDER_CHARS:
        headers["langsmith-trace"] = order
    else:
        report(
            "langsmith_trace_dropped",
            "a run is too far down in its tree for a langsmith-trace, and is sent as a traceparent alone",
        )
    if upstream is not None and upstream.trace_state:
        headers["tracestate"] = upstream.trace_state.to_header() or ""
    return headers


def _headers_of_unsampled(root: Identity) -> Dict[str, str]:
    return {"traceparent": f"00-{root.trace_hex()}-{root.span_id}-{RANDOM:02x}"}


def _passed_headers(remote: Remote) -> Dict[str, str]:
    headers: Dict[str, str] = {}
    if remote.trace_parent is not None:
        headers["traceparent"] = remote.trace_parent.to_header() or ""
    if remote.trace_state:
        headers["tracestate"] = remote.trace_state.to_header() or ""
    if remote.order is not None:
        headers["langsmith-trace"] = remote.dotted_order
    return headers


def _unsampled_headers(remote: Remote, span_id: Optional[str]) -> Dict[str, str]:
    # It is a run of ours that sends them, though one that nobody will hear of.
    headers = _passed_headers(remote)
    headers.pop("langsmith-trace", None)
    if span_id is None:
        span_id = new_id_text(now_ns())[-17:].replace("-", "")
    if remote.trace_parent is not None:
        headers["traceparent"] = remote.trace_parent._replace(span_id=span_id).to_header() or ""
    return headers


def _baggage_of(inherited: Inherited, own: Baggage) -> Optional[str]:
    # Both never change, and most requests are sent with the same two as the one before.
    written = getattr(inherited, "written", None)
    if written is not None and written[0] is own:
        text: Optional[str] = written[1]
        return text
    if isinstance(inherited, _Sent):
        text = Baggage(inherited.langsmith()).followed_by(own).to_header()  # to the letter
    else:
        text = LangSmithBaggage(inherited.metadata, inherited.tags, inherited.project_name).added_to(own).to_header()
        if own:  # of one request, where what is handed down may be of all
            return text
    inherited.written = own, text
    return text


def _write_further(headers: Dict[str, str], own: Baggage) -> None:
    trace_parent = TraceParent.from_header(headers.get("traceparent"))
    if trace_parent is None:
        return
    sent = Received(trace_parent, TraceState.from_header(headers.get("tracestate")), own)
    for each in _formats:
        try:
            written = {str(name): str(text) for name, text in each.write(sent).items()}
        except Exception as error:  # noqa: BLE001  it is somebody else's format, and a request to be sent
            _report_failure(each, "write", error)
            continue
        headers.update({name: text for name, text in written.items() if name.lower() not in _OWN_NAMES})


def get_current_headers() -> Dict[str, str]:
    """
    Return the headers that make the current run the parent of what a request starts elsewhere.

    They are `traceparent`, `tracestate`, `baggage` and `langsmith-trace`, those that there are. Where nobody
    records, they are the ones that came with the request that is being served, so that its trace goes on.

    Context:
        *When*: the run and the baggage that are current at this call. Thread-safe.

    Source:
        W3C Trace Context, levels 1 and 2; W3C Baggage; LangSmith's distributed tracing.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("call"):
        ...     sorted(clew.get_current_headers())
        ['langsmith-trace', 'traceparent']
    """
    return headers_of(current_identity.get())


@overload
def get_baggage(key: str) -> Optional[str]: ...


@overload
def get_baggage() -> Dict[str, str]: ...


def get_baggage(key: Optional[str] = None) -> Union[Dict[str, str], str, None]:
    """
    Return what the program sends along with its requests, or one value of it.

    That is what `set_baggage` and `baggage` have set, and what came with the headers of a parent.

    Context:
        *When*: it reads the context of this call. Thread-safe.

    Args:
        key: whose value to return, None if it is not there; without it, all of them in a new dict.

    Example:
        >>> import clew
        >>> with clew.baggage(tenant="acme"):
        ...     clew.get_baggage("tenant"), clew.get_baggage()
        ('acme', {'tenant': 'acme'})
    """
    found = _current_baggage()
    if key is not None:
        return found.get(key)
    values: Dict[str, str] = {}
    for member in found.members:
        values.setdefault(member.key, member.value)
    return values


def set_baggage(key: str, value: Optional[str]) -> None:
    """
    Have the program send a value along with its requests, from here on in this context.

    Context:
        *When*: it changes the context of this call, as setting a ContextVar does; `baggage` does it for a
        block. *What the callee sees*: jobs, tasks and generators have it as any ContextVar. *What comes
        back*: nothing.

    Args:
        key: a token: ASCII letters, digits and some punctuation, no space.
        value: any text, None for taking it out.

    Raises:
        ArgumentTypeError: `value` is no string.
        ArgumentValueError: no header may have that key, or it is one of LangSmith's.

    Source:
        W3C Baggage. Everybody on the way can read it: no place for secrets.

    Example:
        >>> import clew
        >>> clew.set_baggage("tenant", "acme")
        >>> clew.get_baggage("tenant")
        'acme'
        >>> clew.set_baggage("tenant", None)
    """
    current_baggage.set(_changed([(key, value)]))


def _current_baggage() -> Baggage:
    found = current_baggage.get()
    if found is None:
        identity = current_identity.get()
        inherited = None if identity is None else identity.inherited
        found = _baggage_from(None if inherited is None else inherited.upstream)
    return found


def _changed(items: Iterable[Tuple[Any, Any]]) -> Baggage:
    changed = _current_baggage()
    for key, value in items:
        if value is None:
            changed = changed.without(key)
            continue
        if not isinstance(value, str):
            raise ArgumentTypeError(
                f"expected the value of {key!r} in the baggage as a string, got {value!r}; pass str(...) of it"
            )
        member = BaggageMember(key, value)
        if member.to_text() is None:
            raise ArgumentValueError(
                f"expected a key of ASCII letters, digits and !#$%&'*+-.^_`|~, got {key!r}; "
                f"it is the name of a header's member"
            )
        if not LangSmithBaggage.without(Baggage([member])):
            raise ArgumentValueError(
                f"expected a key of the program's own, got {key!r}, which is LangSmith's; "
                f"pass tags, metadata and project_name to tracing_context"
            )
        changed = changed.updated(key, value)
    return changed


class baggage(EnteredOnce):  # noqa: N801  used like a function
    """
    Have the program send some values along with its requests, for a block of code.

    Context:
        *When*: at the entry of the block, in its context. *What the callee sees*: jobs, tasks and
        generators that begin in the block have it as any ContextVar. *What comes back*: at the exit, the
        baggage is what it was before. A block that is left in another context leaves that one's alone, one
        that is left after the baggage was set inside it leaves what was set there, and both are counted in
        `clew.stats()`. An instance is for one block.

    Args:
        items: a dict, for keys that are no names in Python.
        more: values by name. None takes a value out.

    Raises:
        ArgumentTypeError: a value is no string.
        ArgumentValueError: no header may have a key, or it is one of LangSmith's.
        AlreadyEnteredError: the instance was used for a block before.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("call"), clew.baggage({"user-id": "7"}, tenant="acme"):
        ...     clew.get_current_headers()["baggage"]
        'user-id=7,tenant=acme'
    """

    __slots__ = ("_baggage", "_items", "_token")

    def __init__(self, items: Optional[MappingOf[str, Optional[str]]] = None, /, **more: Optional[str]) -> None:
        self._items: Dict[str, Optional[str]] = {**(items or {}), **more}
        self._baggage: Optional[Baggage] = None
        self._token: Optional[Token[Optional[Baggage]]] = None
        self._is_entered = False

    def __enter__(self) -> None:
        self._enter_once("baggage")
        self._baggage = _changed(self._items.items())
        self._token = current_baggage.set(self._baggage)

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        if current_baggage.get() is not self._baggage:
            report_exit_out_of_order("a block of baggage")
            return
        try:
            current_baggage.reset(token)
        except ValueError:
            report_foreign_exit()
