"""
Who a run is: its ids, its place under its parent, and what its children inherit. No payload.

This is what the run tree keeps in the context, so it is small and outlives its run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, List, Mapping, Optional, Sequence, Tuple
from uuid import UUID

from clew._shared.locks import ForkSafeLock
from clew.runs._tree.ids import new_id_text, now_ns
from clew.runs._tree.kept.copier import copy_value
from clew.runs._tree.options import check_mapping, check_project_name, check_tags

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.propagation.langsmith import DottedOrder
    from clew.propagation.traceparent import TraceParent
    from clew.propagation.tracestate import TraceState

__all__ = (
    "Identity",
    "Inherited",
    "Nobody",
    "Remote",
    "Unsampled",
    "Upstream",
    "hand_down",
)

_id_guard = ForkSafeLock()


class Upstream:
    """
    Hold what came with the headers of a request and is the same for all runs under it. It never changes.
    """

    __slots__ = ("baggage", "is_random", "trace_id", "trace_state")

    trace_id: str  # as in a traceparent
    is_random: bool  # whether the one who began the trace says so of its id: see `clew.propagation.traceparent`
    trace_state: Optional[TraceState]
    baggage: Optional[Baggage]  # the program's own, without what is LangSmith's; None where nothing could come along

    def __init__(
        self,
        trace_id: str,
        baggage: Optional[Baggage],
        trace_state: Optional[TraceState] = None,
        *,
        is_random: bool = False,
    ) -> None:
        self.trace_id = trace_id
        self.is_random = is_random
        self.trace_state = trace_state
        self.baggage = baggage


class Inherited:
    """
    Hold what a run hands down to its children: project, tags, metadata, what came with the headers. It never changes.
    """

    __slots__ = ("metadata", "project_name", "tags", "upstream", "written")

    metadata: Mapping[str, Any]
    project_name: Optional[str]
    tags: Tuple[str, ...]
    upstream: Optional[Upstream]
    written: Tuple[Baggage, Optional[str]]  # the program's baggage, and the header of both, once it was written

    def __init__(
        self,
        project_name: Optional[str],
        tags: Tuple[str, ...],
        metadata: Mapping[str, Any],
        upstream: Optional[Upstream] = None,
    ) -> None:
        self.project_name = project_name
        self.tags = tags
        self.metadata = metadata
        self.upstream = upstream

    def overlaid(self, own: Inherited) -> Inherited:
        """
        Return what a child hands down that has `own` on top of what it inherits from this.
        """
        return Inherited(
            own.project_name or self.project_name,
            (*self.tags, *(tag for tag in own.tags if tag not in self.tags)),
            {**self.metadata, **own.metadata},
            self.upstream,
        )


def hand_down(
    tags: Optional[Sequence[str]], metadata: Optional[Mapping[str, Any]], project_name: Optional[str]
) -> Optional[Inherited]:
    """
    Return what a run with these options of its own hands down, None if they are all empty.
    """
    if not tags and not metadata and project_name is None:
        return None
    copied = copy_value(dict(check_mapping(metadata or {}, "metadata")))
    return Inherited(check_project_name(project_name), check_tags(tags or ()), copied)


class Identity:
    """
    Name one run: enough to nest under it, and to say which trace it belongs to.

    The context holds one of these. While the run is open, `live` leads to it; ending the run deletes
    that slot, so that a timer or task that captured the context keeps no payload in memory.
    """

    __slots__ = (
        "_id_text",
        "_order",
        "exited_to",
        "inherited",
        "is_carried",
        "linked",
        "live",
        "name",
        "parent",
        "start_time_ns",
    )

    name: str
    parent: Optional[Identity]
    inherited: Optional[Inherited]
    start_time_ns: int
    _id_text: Optional[str]  # None until somebody has asked for it
    _order: Optional[str]  # the dotted order, None until somebody has asked for it or for that of a child
    # The others are filled only when and as long as there is something to fill in, which keeps the
    # start of a run cheap.
    live: Any  # the RunTree, while the run is open
    exited_to: Optional[Identity]  # once a `trace` block of this run was left out of order
    is_carried: bool  # once a traced generator was suspended in a `trace` block of this run
    linked: Tuple[Identity, ...]  # for a root that was started beside somebody, or headers that name two parents
    # Whether the trace is recorded: that of what is made here, unless a subclass says otherwise.
    is_sampled: ClassVar[bool] = True

    def id_text(self) -> str:
        """
        Return the run's UUIDv7 as it is written, made when it is first asked for.
        """
        text = self._id_text
        if text is None:
            # Two threads may be the first to ask; both must get the same answer.
            with _id_guard.lock:
                text = self._id_text
                if text is None:
                    self._id_text = text = new_id_text(self.start_time_ns)
        return text

    @property
    def id(self) -> UUID:
        """
        The run's UUIDv7.
        """
        return UUID(self.id_text())

    @property
    def trace_id(self) -> UUID:
        """
        The id of the trace: that of its root, or the one that came with the headers.
        """
        return UUID(self.trace_hex())

    def trace_hex(self) -> str:
        """
        Return the id of the trace as in a `traceparent`, as 32 hexadecimal digits.
        """
        inherited = self.inherited
        if inherited is not None and inherited.upstream is not None:
            return inherited.upstream.trace_id
        root = self
        # A loop: a chain of jobs that each outlive their parent may be deeper than any stack.
        while root.parent is not None:
            root = root.parent
        return root.id_text().replace("-", "")

    @property
    def span_id(self) -> str:
        """
        The low 64 bits of the id, as 16 hexadecimal digits.
        """
        return self.id_text()[-17:].replace("-", "")

    @property
    def dotted_order(self) -> str:
        """
        LangSmith's place of the run, which is start time and id of each run from the root down, joined by dots.
        """
        order = self._order
        if order is None:
            above = self.parent
            # Whoever asks for one run's asks for its siblings', too.
            before = "" if above is None else above._order or above._find_order()
            part = _dotted_part(self)
            self._order = order = f"{before}.{part}" if before else part
        return order

    def _find_order(self) -> str:
        unknown: List[Identity] = []
        above: Optional[Identity] = self
        while above is not None and above._order is None:
            unknown.append(above)
            above = above.parent
        parts = [above._order] if above is not None and above._order else []
        parts.extend(map(_dotted_part, reversed(unknown)))
        order = ".".join(parts)
        self._order = order
        return order


class Remote(Identity):
    """
    Name a run of another process, by what its headers say.
    """

    __slots__ = ("is_trusted", "order", "trace_parent", "trace_state", "upstream")

    name: str = "remote"
    inherited: Optional[Inherited]
    upstream: Upstream
    is_trusted: bool  # or to be linked to only
    order: Optional[DottedOrder]
    # As they came, also where they are of another trace than `order`, which is linked to then.
    trace_parent: Optional[TraceParent]
    trace_state: Optional[TraceState]

    def __init__(
        self,
        inherited: Inherited,
        upstream: Upstream,
        order: Optional[DottedOrder],
        trace_parent: Optional[TraceParent] = None,
        trace_state: Optional[TraceState] = None,
    ) -> None:
        self.is_trusted = True
        self.inherited = inherited
        self.upstream = upstream
        self.order = order
        self.trace_parent = trace_parent
        self.trace_state = trace_state
        # A W3C parent is no run of LangSmith's, and the first one under it is a root there.
        self._order = "" if order is None else order.to_header() or ""

    def id_text(self) -> str:
        """
        Return the UUID of the run as it is written; of a run that has but a span id, that after zeros.
        """
        if self.order is not None:
            return (self._order or "")[-36:]
        span_id = "0" * 16 if self.trace_parent is None else self.trace_parent.span_id
        return f"00000000-0000-0000-{span_id[:4]}-{span_id[4:]}"

    @property
    def is_sampled(self) -> bool:  # type: ignore[override]  # a property, for one that can be read
        """
        Whether whoever sent the headers records the trace.
        """
        trace_parent = self.trace_parent
        return trace_parent is None or trace_parent.is_sampled or hasattr(self, "linked")

    @property
    def parent(self) -> Optional[Remote]:  # type: ignore[override]  # made when asked for
        """
        The run above, which LangSmith's format names, too.
        """
        above = None if self.order is None else self.order.parent
        return None if above is None else Remote(Inherited(None, (), {}, self.upstream), self.upstream, above)

    @property
    def start_time_ns(self) -> int:  # type: ignore[override]  # as above
        """
        When the run started; 0 where that is not known.
        """
        return 0 if self.order is None else self.order.start_ns


class Unsampled(Identity):
    """
    Name the root of a trace that is not recorded; in a traced call it stands where the run would, and costs less.
    """

    __slots__ = ("_digits",)

    is_sampled: ClassVar[bool] = False
    parent: ClassVar[None] = None  # type: ignore[misc]  # a root has none, and it need not be filled in
    status = _status = "unsampled"

    _digits: str

    def id_text(self) -> str:
        """
        Return the id that was given, or the UUIDv7 whose random bits have been decided by.
        """
        return self._id_text or new_id_text(self.start_time_ns, self._digits)

    @property
    def _identity(self) -> Unsampled:
        return self

    def fail(self, error: BaseException, traceback: object) -> None:
        """
        Say nothing.
        """


class Nobody(Identity):
    """
    Name no run: for a `run_tree` that is filled in where there is none, and whoever gets that as a parent.
    """

    __slots__ = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.parent: Optional[Identity] = None
        self.inherited: Optional[Inherited] = None
        self.start_time_ns: int = now_ns()
        self._id_text = None
        self._order = None


# The last second that was written, as most runs start in the same one; replaced as a whole.
_last_second: Tuple[int, str] = (-1, "")


def _dotted_part(identity: Identity) -> str:
    global _last_second
    seconds, rest_ns = divmod(identity.start_time_ns, 1_000_000_000)
    known, stamp = _last_second
    if seconds != known:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        _last_second = seconds, stamp
    return f"{stamp}{rest_ns // 1000:06d}Z{identity.id_text()}"
