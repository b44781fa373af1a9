"""
`Run`, a recorded run that is read only, and `Link`.

The open run is in `clew.runs.run`, and `record()`, which collects runs, in `clew.runs.recording`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple, Union
from uuid import UUID

from clew.errors import ArgumentTypeError
from clew.runs._tree.added import NON_RECORDING
from clew.runs._tree.attributes import MutableRun
from clew.runs._tree.identity import Identity, Remote
from clew.runs._tree.kept.errors import ErrorText, text_of
from clew.runs._tree.settings import Resource, settings

__all__ = ("Link", "Run")


class Link(NamedTuple):
    """
    The ids of a related run that is not the parent: in another trace, or elsewhere in this one.
    """

    trace_id: UUID
    span_id: str


class Identified:
    """
    The attributes that open and finished runs read from their identity.
    """

    __slots__ = ()

    _identity: Identity  # each subclass has a slot for it

    @property
    def name(self) -> str:
        """
        The name of the run.
        """
        return self._identity.name

    @property
    def id(self) -> UUID:
        """
        The UUIDv7 of the run, made at first use.
        """
        return self._identity.id

    @property
    def trace_id(self) -> UUID:
        """
        The id of the trace, which is the id of its root run.
        """
        return self._identity.trace_id

    @property
    def span_id(self) -> str:
        """
        The low 64 bits of `id` as 16 hexadecimal digits. W3C headers name the run by it.
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
        The `parent_id`, under LangSmith's name.
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
        The related runs that are not the parent: see `clew.detached` and `RunTree.from_headers`.
        """
        identity = self._identity
        if not hasattr(identity, "linked") and isinstance(identity.parent, Remote):
            identity = identity.parent  # if its headers named two parents, it has the second one as a link
        return tuple(Link(linked.trace_id, linked.span_id) for linked in getattr(identity, "linked", ()))

    @property
    def dotted_order(self) -> str:
        """
        LangSmith's sort key: the start time and id of each run from the root to this one, joined by dots.
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
        The project of the run: its own, its parent's, or the one set with `clew.configure` when it ended; else None.
        """
        inherited = self._identity.inherited
        own = None if inherited is None else inherited.project_name
        if own:
            return own
        resource: Optional[Resource] = getattr(self, "_resource", settings.resource)
        return None if resource is None else resource.project_name

    @property
    def service(self) -> Optional[str]:
        """
        The name of the program, as set with `clew.configure` when the run ended; None if it was not set.
        """
        resource: Optional[Resource] = getattr(self, "_resource", settings.resource)
        return None if resource is None else resource.service


class Run(Identified):
    """
    A recorded run, read only. `record()` and exporters get runs of this type.

    It also has `id`, `trace_id`, `span_id`, `parent_id`, `parent_span_id`, `dotted_order`, `name`, `start_time_ns`,
    `project_name`, `service`, `links` and `error`, with the same meaning as in `RunTree`.

    Attributes:
        run_type: LangSmith's kind of run, such as "chain" or "tool".
        status: "success", "error", "cancelled", or "pending" for a run that has not ended yet.
        inputs: a JSON-shaped dict.
        outputs: a JSON-shaped dict; None if there are none.
        tags: strings, inherited ones included.
        metadata: a JSON-shaped dict, inherited entries included.
        events: dicts with ``name`` and ``time_ns``.
        end_time_ns: nanoseconds since the epoch; None while the run is pending.
        children: the runs directly below this one, in the order in which they started.
    """

    __slots__ = (
        "_error",
        "_identity",
        "_resource",
        "children",
        "end_time_ns",
        "events",
        "inputs",
        "metadata",
        "outputs",
        "run_type",
        "status",
        "tags",
    )

    _error: Union[str, ErrorText, None]
    _resource: Optional[Resource]
    children: Tuple[Run, ...]
    end_time_ns: Optional[int]
    events: Tuple[Mapping[str, Any], ...]
    inputs: Dict[str, Any]
    metadata: Dict[str, Any]
    outputs: Optional[Dict[str, Any]]
    run_type: str
    status: str
    tags: Tuple[str, ...]

    def __init__(self, run: MutableRun, children: Tuple[Run, ...]) -> None:
        status = run._status  # once, and first: another thread may be ending the run
        is_pending = status == "pending"
        values = (
            run._error,
            run._identity,
            settings.resource if is_pending else getattr(run, "_resource", None),
            children,
            None if is_pending else run.end_time_ns,
            tuple((run._attributes or NON_RECORDING).events),
            run._inputs,
            run._all_metadata(),
            run._all_outputs(),
            run._run_type,
            status,
            tuple(run._all_tags()),
        )
        for fill, value in zip(_fill_slots, values):
            fill(self, value)

    @property
    def error(self) -> Optional[str]:
        """
        The exception that ended the run, with its traceback, as text; None if there is none.
        """
        return text_of(self._error)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"expected a finished run to be read only, found {name!r} set; change the RunTree while it is open"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"expected a finished run to be read only, found {name!r} deleted")

    # It never changes, so that a copy is of no use.

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, memo: object) -> Run:
        return self

    def __reduce__(self) -> Any:
        raise ArgumentTypeError(
            f"expected an object that can be pickled, found {self!r}, which holds objects of this process; "
            f"send what clew.runs.stored.record_of(run) returns, or the text of Recording.to_json()"
        )

    def __repr__(self) -> str:
        return f"<clew.Run {self.name!r} {self.status}, {len(self.children)} children>"


# In the order of the names. `object.__setattr__` takes twice as long.
_fill_slots: Tuple[Callable[[Run, object], None], ...] = tuple(Run.__dict__[name].__set__ for name in Run.__slots__)
