"""
`Run`, which is read of a run, and `record()`: the runs of a block of code, to look at and to test against.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple, Type, Union

from clew.errors import AlreadyEnteredError, RunLookupError
from clew.runs._tree.drawing import check_tree, draw_tree
from clew.runs._tree.identity import Identity, Remote
from clew.runs._tree.kept.errors import ErrorText, text_of
from clew.runs._tree.ordering import in_order
from clew.runs.sampling import Filing, add_start_hook, remove_start_hook, settings

if TYPE_CHECKING:
    from uuid import UUID

    from clew.runs.run import RunTree

__all__ = ("Identified", "Link", "Recording", "Run", "record")


class Link(NamedTuple):
    """
    Name a run of another trace, or of elsewhere in this one.
    """

    trace_id: UUID
    span_id: str


class Identified:
    """
    Give a run the attributes that follow from its identity.
    """

    __slots__ = ()

    _identity: Identity  # in a slot of the class that derives from this

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
        The project of the run: its own, its parent's, or that of `clew.configure` at its end; None where there is none.
        """
        inherited = self._identity.inherited
        own = None if inherited is None else inherited.project_name
        if own:
            return own
        filing: Optional[Filing] = getattr(self, "_filing", settings.filing)
        return None if filing is None else filing.project_name

    @property
    def service(self) -> Optional[str]:
        """
        The program that made the run, as `clew.configure` was told by its end; None where it was not.
        """
        filing: Optional[Filing] = getattr(self, "_filing", settings.filing)
        return None if filing is None else filing.service


class Run(Identified):
    """
    Be one recorded run, frozen: what `record()` gives, with its `children` in the order they started.

    Beside what is listed here it has `id`, `trace_id`, `span_id`, `parent_id`, `parent_span_id`,
    `dotted_order`, `name`, `start_time_ns`, `project_name`, `links` and `error`, as `RunTree` has.

    Attributes:
        run_type: LangSmith's kind of run, such as "chain" or "tool".
        status: "success", "error", "cancelled", or "pending" for a run that has not ended yet.
        inputs: a JSON-shaped dict.
        outputs: a JSON-shaped dict; None where there are none.
        tags: strings, inherited ones included.
        metadata: a JSON-shaped dict, inherited entries included.
        events: dicts with ``name`` and ``time_ns``.
        end_time_ns: nanoseconds since the epoch; None while the run is pending.
        children: the runs under this one.
    """

    __slots__ = (
        "_error",
        "_filing",
        "_identity",
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
    _filing: Optional[Filing]
    children: Tuple[Run, ...]
    end_time_ns: Optional[int]
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
        fill("_filing", settings.filing if run._status == "pending" else getattr(run, "_filing", None))
        fill("run_type", run._run_type)
        fill("status", run._status)
        fill("_error", run._error)
        fill("inputs", run._inputs)
        fill("outputs", run.outputs)
        fill("end_time_ns", run.end_time_ns)
        fill("tags", tuple(run.all_tags()))
        fill("metadata", run.all_metadata())
        fill("events", tuple(run.events))
        fill("children", children)

    @property
    def error(self) -> Optional[str]:
        """
        The exception that has ended the run, with its traceback, as text; None where there is none.
        """
        return text_of(self._error)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"expected a finished run to be read only, found {name!r} set; change the RunTree while it is open"
        )

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"expected a finished run to be read only, found {name!r} deleted")

    def __repr__(self) -> str:
        return f"<clew.Run {self.name!r} {self.status}, {len(self.children)} children>"


class Recording:
    """
    Hold the runs that started while a `record()` block was open, in the order in which they started.

    It can be read at any time, in the block and after it; what is read is the state at that moment,
    so a run that had not ended yet shows as ``pending`` and, read again later, as what became of it.
    """

    __slots__ = ("_is_entered", "_on_start", "_started")

    def __init__(self) -> None:
        self._started: List[RunTree] = []
        # list.append is atomic, so that every thread can report here without a lock.
        self._on_start: Callable[[RunTree], object] = self._started.append
        self._is_entered = False

    def __enter__(self) -> Recording:
        if self._is_entered:
            raise AlreadyEnteredError("expected a recording to be entered once; call record() for each block")
        self._is_entered = True
        add_start_hook(self._on_start)
        return self

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        remove_start_hook(self._on_start)

    @property
    def roots(self) -> Tuple[Run, ...]:
        """
        The runs that have no parent in this recording, each with its `children`.

        More than one root where one was expected is what a lost context looks like.
        """
        started = list(self._started)
        below: Dict[int, List[RunTree]] = {id(run._identity): [] for run in started}
        tops: List[RunTree] = []
        here = _ByHeaders(started)
        for run in started:
            below.get(id(here.found(run._identity.parent)), tops).append(run)
        order = in_order(started, tops, lambda run: below[id(run._identity)])
        frozen: Dict[int, Run] = {}
        # Backwards, so that each finds its children complete.
        for run in reversed(order):
            children = tuple(frozen.pop(id(child)) for child in below[id(run._identity)])
            frozen[id(run)] = Run(run, children)
        return tuple(frozen[id(run)] for run in tops)

    def __iter__(self) -> Iterator[Run]:
        """
        Iterate over all runs, each before its children.
        """
        waiting = list(reversed(self.roots))
        while waiting:
            run = waiting.pop()
            waiting.extend(reversed(run.children))
            yield run

    def __len__(self) -> int:
        return len(self._started)

    def find_all(
        self, *, name: Optional[str] = None, run_type: Optional[str] = None, status: Optional[str] = None
    ) -> Tuple[Run, ...]:
        """
        Return the runs that fit everything that is given.
        """
        return tuple(
            run
            for run in self
            if (name is None or run.name == name)
            and (run_type is None or run.run_type == run_type)
            and (status is None or run.status == status)
        )

    def find(self, *, name: Optional[str] = None, run_type: Optional[str] = None, status: Optional[str] = None) -> Run:
        """
        Return the one run that fits everything that is given.

        Raises:
            RunLookupError: no run fits, or more than one.
        """
        found = self.find_all(name=name, run_type=run_type, status=status)
        if len(found) == 1:
            return found[0]
        asked = ", ".join(
            f"{key}={value!r}" for key, value in (("name", name), ("run_type", run_type), ("status", status)) if value
        )
        raise RunLookupError(
            f"expected one run with {asked or 'anything'}, found {len(found)}; "
            f"use find_all, or look at the tree:\n{self.tree() or '(no runs)'}"
        )

    def tree(self, *, details: bool = False) -> str:
        """
        Return the runs as an indented tree, one line a run: the name, and the status if no success.

        Args:
            details: add each run's duration, and the last line of its error.
        """
        return "\n".join(draw_tree(self.roots, details=details))

    def to_json(self, *, indent: Optional[int] = None) -> str:
        """
        Return the runs as a JSON text: a list of the roots, each with its ``children``.

        Args:
            indent: the number of blanks for each level; without it, all is on one line.

        Example:
            >>> import clew, json
            >>> with clew.record() as runs, clew.trace("fetch"):
            ...     pass
            >>> json.loads(runs.to_json())[0]["name"]
            'fetch'
        """
        from clew.runs._tree.serialising import json_of_trees  # here, as most programs need no JSON

        return "".join(json_of_trees(self.roots, indent))

    def assert_tree(self, expected: str) -> None:
        """
        Check that the runs form the expected tree.

        Args:
            expected: what `tree()` returns, or the same with plain indentation for each level. The
                order of siblings does not matter, as threads and tasks finish when they like.

        Raises:
            TreeMismatchError: they do not; the message has the difference.

        Example:
            >>> import clew
            >>> with clew.record() as runs:
            ...     with clew.trace("outer"):
            ...         with clew.trace("inner"):
            ...             pass
            >>> runs.assert_tree('''
            ...     outer
            ...       inner
            ... ''')
        """
        check_tree(self.roots, expected)

    def __repr__(self) -> str:
        return f"<clew.Recording of {len(self._started)} runs>"


class _ByHeaders:
    """
    Find the runs of this recording that others came to as a parent by headers, which name them by their ids.
    """

    __slots__ = ("_runs", "_started")

    def __init__(self, started: List[RunTree]) -> None:
        self._started = started
        self._runs: Optional[Dict[str, Identity]] = None  # few recordings need it

    def found(self, parent: Optional[Identity]) -> Optional[Identity]:
        if not isinstance(parent, Remote):
            return parent
        if self._runs is None:
            self._runs = {run.span_id: run._identity for run in self._started}
        found = self._runs.get(parent.span_id)
        return parent if found is None or found.trace_hex() != parent.trace_hex() else found


def record() -> Recording:
    """
    Return a `Recording`: ``with record() as runs:`` switches recording on and collects every run.

    Overlapping blocks each get everything. A run belongs to the recordings that were open when it
    started; its end is seen whenever it comes.

    Context:
        *When*: nothing is captured; the block is process-wide and gets the runs of every thread, task
        and context. *What the callee sees*: no change. *What comes back*: nothing. Thread-safe; each
        call gives a recording for one block.

    Example:
        >>> import clew
        >>> with clew.record() as runs:
        ...     with clew.trace("fetch"):
        ...         pass
        >>> print(runs.tree())
        fetch
    """
    return Recording()
