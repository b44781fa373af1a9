"""
The identity of a run: its ids, its place below its parent, and what its children inherit. No payload.

The run tree keeps an identity in the context, so it is small and outlives its run.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, List, Optional, Tuple
from uuid import UUID

from clew._shared.locks import keep_first
from clew.runs._tree import forks as _forks
from clew.runs._tree.ids import digits_of, new_id_text, now_ns
from clew.runs._tree.inherited import Inherited, InheritedFromHeaders

if TYPE_CHECKING:
    from clew.propagation.carrier import Incoming

__all__ = (
    "LEVELS",
    "Ancestor",
    "Identity",
    "NoRun",
    "Remote",
    "UnsampledRoot",
    "links_to",
    "shorten_chain",
)


# How many levels of runs may be reachable before `shorten_chain` looks at them.
LEVELS = 8


class Identity:
    """
    The ids of one run, and its place in the trace: enough to nest a child under it.

    The context holds an identity. While the run is open, `live` refers to the run. The end of the run deletes
    that slot, so a timer or task that captured the context keeps no payload in memory.
    """

    __slots__ = (
        "_id_text",
        "_order",
        "inherited",
        "is_suspended",
        "levels_left",
        "linked",
        "live",
        "name",
        "parent",
        "run_before",
        "start_time_ns",
    )

    name: str
    parent: Optional[Identity]
    inherited: Optional[Inherited]
    start_time_ns: int
    levels_left: int  # at so many levels below, `shorten_chain` looks at what is reachable above
    _id_text: Optional[str]  # empty until first needed: see `clew.runs._tree.forks`
    _order: Optional[str]  # the dotted order, None until first needed
    # The slots below stay unset until they have a value, which keeps the start of a run cheap.
    live: Any  # the RunTree, while the run is open
    run_before: Optional[Identity]  # set when the run's `trace` block exits out of order: the run before the block
    is_suspended: bool  # set when the run's `trace` block is open at a ``yield`` of a traced generator
    linked: Tuple[Identity, ...]  # the links of a detached root, or of headers that name two parents
    # Whether the trace is recorded. Traces that begin here are, unless a subclass says otherwise.
    is_sampled: ClassVar[bool] = True

    def id_text(self) -> str:
        """
        Return the text of the run's UUIDv7, which is created when it is first needed.
        """
        text = self._id_text
        return text or _forks.create_id(self)

    @property
    def id(self) -> UUID:
        """
        The run's UUIDv7.
        """
        return UUID(self.id_text())

    @property
    def trace_id(self) -> UUID:
        """
        The id of the trace: that of the root run, or the trace id of the received headers.
        """
        return UUID(self.trace_hex())

    def trace_hex(self) -> str:
        """
        Return the id of the trace as 32 hexadecimal digits, as a `traceparent` has it.
        """
        inherited = self.inherited
        if inherited is not None and inherited.upstream is not None:
            return inherited.upstream.trace_id  # type: ignore[return-value]  # headers with a parent have one
        root = self
        # Not recursive: a chain of jobs that outlive their parents may be deeper than the stack.
        while root.parent is not None:
            root = root.parent
        return root._trace_hex if type(root) is Ancestor else root.id_text().replace("-", "")

    @property
    def span_id(self) -> str:
        """
        The low 64 bits of the id, as 16 hexadecimal digits.
        """
        return self.id_text()[-17:].replace("-", "")

    @property
    def dotted_order(self) -> str:
        """
        The start times and ids of all runs from the root down to this one, joined by dots: LangSmith's format.
        """
        order = self._order
        if order is None:
            above = self.parent
            # Cached in the parent, too: a caller usually asks for the siblings as well.
            before = "" if above is None else above._order or above._find_order()
            part = _dotted_part(self)
            self._order = order = f"{before}.{part}" if before else part
        return order

    def _find_order(self) -> str:
        unknown: List[Identity] = []
        above: Optional[Identity] = self
        known: Optional[str] = None
        while above is not None:
            known = above._order  # once: the thread of an exporter may forget it meanwhile
            if known is not None:
                break
            unknown.append(above)
            above = above.parent
        parts = [known] if known else []
        parts.extend(map(_dotted_part, reversed(unknown)))
        order = ".".join(parts)
        self._order = order
        return order


class Ancestor(Identity):
    """
    The ids of a run, in place of its identity: it refers to no run above, so nothing of those is kept.

    Args:
        identity: the run.
        order: the dotted order below which a child writes its own; empty for a child that is a root to LangSmith.
    """

    __slots__ = ("_trace_hex",)

    parent: ClassVar[None] = None  # type: ignore[misc]  # the runs above are not kept
    levels_left: ClassVar[int] = LEVELS  # type: ignore[misc]  # as above

    _trace_hex: str

    def __init__(self, identity: Identity, order: Optional[str] = None) -> None:
        self.name = identity.name
        self.inherited = identity.inherited
        self.start_time_ns = identity.start_time_ns
        self._id_text = identity.id_text()
        self._order = identity.dotted_order if order is None else order
        self._trace_hex = identity.trace_hex()

    def trace_hex(self) -> str:
        """
        Return the id of the trace as 32 hexadecimal digits.
        """
        return self._trace_hex


def links_to(identities: Tuple[Identity, ...]) -> Tuple[Identity, ...]:
    """
    Return the links of a new root to these runs, such that a chain of roots keeps no more than the last link.
    """
    return tuple(
        Ancestor(each) if type(each) is Identity and (each.parent is not None or hasattr(each, "linked")) else each
        for each in identities
    )


# A dotted order does not grow beyond this; the next run begins a root to LangSmith. A hundred levels.
MOST_ORDER_CHARS = 6_000
_PART_CHARS = 59


def shorten_chain(identity: Identity, parent: Identity) -> None:
    """
    Make `identity` the child of `parent`, and let go of the runs above the nearest one that has ended.

    A job that starts its successor makes a chain of parents without end. So, every few levels, the identity of an
    ended run in the chain is cut off from those above: its parent becomes an `Ancestor`, which has ids only. A parent
    whose dotted order is too long becomes an `Ancestor`, too, below which a new order begins.
    """
    nearest, levels = parent, 1
    while True:
        above = nearest.parent
        if above is None or type(above) is not Identity:
            break
        if not hasattr(nearest, "live"):
            nearest.parent = Ancestor(above)
            break
        nearest = above
        levels += 1
    identity.levels_left = LEVELS - levels % LEVELS
    top = nearest.parent or nearest
    if len(getattr(top, "_order", None) or "") + _PART_CHARS * levels > MOST_ORDER_CHARS:
        identity.linked = (Ancestor(parent),)
        identity.parent = Ancestor(parent, "")
        identity.levels_left = LEVELS - 1
        inherited = identity.inherited
        if inherited is None or inherited.upstream is None:
            # The trace keeps its id, though LangSmith's root is another run from here on.
            from clew.propagation.carrier import Incoming  # here, as few programs nest so deep

            own = Inherited(None, (), {}) if inherited is None else inherited
            identity.inherited = Inherited(
                own.project_name,
                own.tags,
                own.metadata,
                Incoming(parent.trace_hex(), None, is_random=True),
                own.size_bytes,
            )


class Remote(Identity):
    """
    The identity of a run in another process, read from headers.
    """

    __slots__ = ("is_trusted", "upstream")

    name: str = "remote"
    levels_left: ClassVar[int] = LEVELS  # type: ignore[misc]  # its parents are read from the headers when needed
    inherited: Inherited
    upstream: Incoming
    is_trusted: bool  # False: new runs are linked to it instead of nested below it

    def __init__(self, upstream: Incoming, *, inherited: Optional[Inherited] = None, is_trusted: bool = True) -> None:
        self.is_trusted = is_trusted
        self.inherited = (  # pyright: ignore[reportIncompatibleVariableOverride]  # never None here
            inherited or InheritedFromHeaders(upstream)
        )
        self.upstream = upstream
        # LangSmith knows no run for a W3C parent: the first run below it is a root there.
        self._order = "" if upstream.order is None else upstream.order.to_header() or ""

    def id_text(self) -> str:
        """
        Return the text of the run's UUID. If only the span id is known, the digits before it are zeros.
        """
        if self._order:
            return self._order[-36:]
        span_id = "0" * 16 if self.upstream.trace_parent is None else self.upstream.trace_parent.span_id
        return f"00000000-0000-0000-{span_id[:4]}-{span_id[4:]}"

    @property
    def is_sampled(self) -> bool:  # type: ignore[override]  # a property, for one that can be read
        """
        Whether the sender of the headers records the trace.
        """
        return self.upstream.trace_parent is None or self.upstream.trace_parent.is_sampled

    @property
    def parent(self) -> Optional[Remote]:  # type: ignore[override]  # made when asked for
        """
        The parent of the run; only LangSmith's format names it.
        """
        above = self.upstream.above()
        return None if above is None else Remote(above, inherited=Inherited(None, (), {}, above))

    @property
    def start_time_ns(self) -> int:  # type: ignore[override]  # as above
        """
        When the run started, in nanoseconds since the epoch; 0 if unknown.
        """
        return 0 if self.upstream.order is None else self.upstream.order.start_ns


class UnsampledRoot(Identity):
    """
    The root of a trace that is not sampled. A traced call uses it in place of a run, at a lower cost.

    It is created for each such call, so whatever few of them need is created when it is needed.
    """

    __slots__ = ("_number", "_start_time_ns")

    is_sampled: ClassVar[bool] = False
    parent: ClassVar[None] = None  # type: ignore[misc]  # a root has no parent; a class attribute costs nothing
    levels_left: ClassVar[int] = LEVELS  # type: ignore[misc]  # as above
    status = _status = "unsampled"

    _number: int  # the random bits that the sampler decided by
    _start_time_ns: int

    def id_text(self) -> str:
        """
        Return the given id, or a UUIDv7 with the random bits that the sampler decided by.
        """
        return self._id_text or new_id_text(self.start_time_ns, digits_of(self._number))

    @property
    def start_time_ns(self) -> int:  # type: ignore[override]  # read from the clock when first needed
        """
        When the start was first needed, in nanoseconds since the epoch.
        """
        try:
            return self._start_time_ns
        except AttributeError:
            return keep_first(self, "_start_time_ns", now_ns())  # the id contains it

    @property
    def _order(self) -> str:  # type: ignore[override]  # as `start_time_ns`
        return _dotted_part(self)

    @property
    def _identity(self) -> UnsampledRoot:
        return self

    def _fail(self, error: BaseException, traceback: object) -> None:
        """
        Do nothing: the run is not recorded.
        """


class NoRun(Identity):
    """
    The identity behind a ``run_tree`` argument where no run is current. As a parent, it begins a new trace.
    """

    __slots__ = ()

    def __init__(self, name: str) -> None:
        self.name = name
        self.parent: Optional[Identity] = None
        self.inherited: Optional[Inherited] = None
        self.start_time_ns: int = now_ns()
        self.levels_left = LEVELS
        self._id_text = _forks.uncreated_id
        self._order = None


# The second of the last written start time. Most runs start in the same second. Replaced as a whole.
_last_second: Tuple[int, str] = (-1, "")


def _dotted_part(identity: Identity) -> str:
    global _last_second
    seconds, rest_ns = divmod(identity.start_time_ns, 1_000_000_000)
    known, stamp = _last_second
    if seconds != known:
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        _last_second = seconds, stamp
    return f"{stamp}{rest_ns // 1000:06d}Z{identity.id_text()}"
