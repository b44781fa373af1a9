"""
Who a run is: its ids, its place under its parent, and what its children inherit. No payload.

This is what the run tree keeps in the context, so it is small and outlives its run.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Callable, ClassVar, List, Mapping, Optional, Sequence, Tuple
from uuid import UUID

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.runs._tree.kept.copier import copy_value, set_caller
from clew.runs._tree.options import check_mapping, check_project_name, check_tags

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.propagation.langsmith import DottedOrder
    from clew.propagation.traceparent import TraceParent
    from clew.propagation.tracestate import TraceState
    from clew.runs.run import RunTree

__all__ = (
    "Ambient",
    "Identity",
    "Inherited",
    "Nobody",
    "Remote",
    "Unsampled",
    "Upstream",
    "ambient",
    "current_baggage",
    "current_identity",
    "hand_down",
    "new_id_text",
    "new_random_digits",
    "now_ns",
    "report_exit_out_of_order",
    "report_foreign_exit",
)

now_ns: Callable[[], int] = time.time_ns
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
    live: RunTree  # while the run is open
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


class Ambient:
    """
    Hold what `tracing_context` and `detached` have said, for the runs that begin right under one, or as roots.

    Runs further down have it from the run above them.
    """

    __slots__ = (
        "before",
        "inherited",
        "is_carried",
        "is_enabled",
        "is_left",
        "is_recorded",
        "is_sampled",
        "linked",
        "under",
    )

    under: Optional[Identity]
    inherited: Optional[Inherited]
    linked: Tuple[Identity, ...]  # of the next root
    is_enabled: bool
    is_sampled: bool
    is_recorded: bool
    # Of a block of `tracing_context`: the run, this and the baggage that were current before it.
    before: Tuple[Optional[Identity], Ambient, Optional[Baggage]]
    is_left: bool  # before a block that was opened inside
    is_carried: bool  # once a traced generator was suspended in the block

    def __init__(
        self,
        under: Optional[Identity],
        inherited: Optional[Inherited] = None,
        linked: Tuple[Identity, ...] = (),
        *,
        is_enabled: bool = True,
        is_sampled: bool = True,
    ) -> None:
        self.under = under
        self.inherited = inherited
        self.linked = linked
        self.is_enabled = is_enabled
        self.is_sampled = is_sampled
        self.is_recorded = is_enabled and is_sampled
        self.is_left = self.is_carried = False


# Outside of all blocks.
_NOTHING_SAID = Ambient(None)

# None at the top of a program, and wherever the context was lost.
current_identity: ContextVar[Optional[Identity]] = ContextVar("clew_current_run", default=None)
# The program's own, None where nobody has set any: that of the headers holds, if there were some.
current_baggage: ContextVar[Optional[Baggage]] = ContextVar("clew_baggage", default=None)
ambient: ContextVar[Ambient] = ContextVar("clew_ambient", default=_NOTHING_SAID)


# Inside of what runs for the sake of a copy alone.
_UNRECORDED = Ambient(None, is_enabled=False)


def _call_unrecorded(fn: Callable[..., Any], *args: Any) -> Any:
    before = ambient.get()
    token = None
    try:
        token = ambient.set(_UNRECORDED)
        return fn(*args)
    finally:
        if token is None:  # an interrupt came in between
            ambient.set(before)
        else:
            ambient.reset(token)


set_caller(_call_unrecorded)


def _make_ids() -> None:
    # Those that nobody has asked for yet would be made in each of the two processes, and be others in each: what the
    # child does would be under a run that is nowhere. Only what is current here has to be looked at, as that is all
    # that the child goes on with. A time that has no date, for one, keeps nobody from forking.
    with suppress(Exception):
        for tip in (current_identity.get(), *ambient.get().linked):
            _ = None if tip is None else tip.dotted_order  # which takes the ids of all above
            root = tip
            while root is not None:
                for linked in getattr(root, "linked", ()):
                    _ = linked.dotted_order
                root = root.parent


def _leave_runs_to_the_parent() -> None:
    # The one process that ends them, and says so, is the one that began them. Here they are as runs that have ended.
    identity = current_identity.get()
    while identity is not None:
        with suppress(AttributeError):
            del identity.live
        identity = identity.parent


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_make_ids, after_in_child=_leave_runs_to_the_parent)


def report_exit_out_of_order(block: str) -> None:
    """
    Count that a block was left before one that was opened inside it, or in another context.
    """
    report(
        "blocks_left_out_of_order",
        f"{block} was left while another run was current, or in another context; "
        f"close blocks in the reverse order of opening, in the function that opened them",
    )


def report_foreign_exit() -> None:
    """
    Count that a block was left in another context than it was entered in.
    """
    report(
        "blocks_left_in_another_context",
        "a run was left in another context than it was entered in; enter and leave it in one task or thread",
    )


# Of the next ids the last 64 bits: the system takes about as long to draw those of one as those of many.
_random_digits: List[str] = []
_MOST_DRAWN = 64
_RANDOM_BITS = int("3fffffffffffffff" * _MOST_DRAWN, 16)
_VARIANT_BITS = int("8000000000000000" * _MOST_DRAWN, 16)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random_digits.clear)


def new_random_digits() -> str:
    """
    Return the last 64 bits of a new id, 62 of which are random, as hexadecimal digits.
    """
    try:
        return _random_digits.pop()  # in one step, so that no two threads get the same
    except IndexError:
        digits, *others = _drawn()
        _random_digits.extend(others)
        return digits


def new_id_text(time_ns: int, digits: Optional[str] = None) -> str:
    """
    Return a new UUIDv7 as it is written, of the given random digits if there are any.

    Source:
        RFC 9562, section 5.7, with the fraction of the millisecond in ``rand_a`` (section 6.2, method
        3), so that ids sort by start time; the 62 bits of ``rand_b`` are the system's randomness.
    """
    moment = f"{time_ns * 4096 // 1_000_000 & 0xFFF_FFFF_FFFF_FFFF:015x}"
    if digits is None:
        digits = new_random_digits()
    return f"{moment[:8]}-{moment[8:12]}-7{moment[12:]}-{digits[:4]}-{digits[4:]}"


def _drawn() -> List[str]:
    drawn = int.from_bytes(os.urandom(8 * _MOST_DRAWN), "big") & _RANDOM_BITS | _VARIANT_BITS
    return drawn.to_bytes(8 * _MOST_DRAWN, "big").hex(" ", 8).split()


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
