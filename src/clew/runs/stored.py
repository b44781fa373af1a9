"""
A run as a dict that JSON can hold, and back: `StoredRun`, and the trees that stored runs form.

The JSON text is written in `clew.runs._tree.serialising`, files in `clew.exporters.jsonl`.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple
from uuid import UUID

from clew.errors import ArgumentValueError
from clew.runs._tree.ordering import in_order
from clew.runs.finished import Run

__all__ = ("StoredLink", "StoredRun", "record_of", "trees_of")


def record_of(run: Run) -> Dict[str, Any]:
    """
    Return a run as a dict that JSON can hold: its attributes by name, ids as text, without its children.

    The dict shares inputs, outputs, metadata and events with the run.
    """
    identity = run._identity
    parent = identity.parent
    return {
        "id": identity.id_text(),
        "trace_id": trace_id_text(run),
        "span_id": identity.span_id,
        "parent_id": None if parent is None else parent.id_text(),
        "parent_span_id": None if parent is None else parent.span_id,
        "dotted_order": identity.dotted_order,
        "start_time_ns": run.start_time_ns,
        "end_time_ns": run.end_time_ns,
        "name": run.name,
        "run_type": run.run_type,
        "project_name": run.project_name,
        "service": run.service,
        "status": run.status,
        "error": run.error,
        "inputs": run.inputs,
        "outputs": run.outputs,
        "tags": list(run.tags),
        "metadata": run.metadata,
        "events": list(run.events),
        "links": [{"trace_id": str(link.trace_id), "span_id": link.span_id} for link in run.links],
    }


# In a dotted order, the id of the root follows its start time.
_STAMP_CHARS = len("20260102T030405000006Z")
_UUID_CHARS = 36


def trace_id_text(run: Run) -> str:
    """
    Return the trace id of a run as text, without walking up to the root, which may be far away.
    """
    inherited = run._identity.inherited
    if inherited is not None and inherited.upstream is not None:
        return str(UUID(inherited.upstream.trace_id))
    return run._identity.dotted_order[_STAMP_CHARS : _STAMP_CHARS + _UUID_CHARS]


class StoredLink(NamedTuple):
    """
    A `clew.Link` that was stored: the ids of a run elsewhere in this trace, or in another one.
    """

    trace_id: UUID
    span_id: str


_NONE = type(None)
_REQUIRED = object()  # is of none of the types, so that a field without a value is refused

# The fields whose value is taken from the record unchanged: their types, and their default.
_FIELDS: Dict[str, Tuple[Tuple[type, ...], Any]] = {
    "span_id": ((str,), _REQUIRED),
    "parent_span_id": ((str, _NONE), None),
    "dotted_order": ((str,), ""),
    "name": ((str,), _REQUIRED),
    "run_type": ((str,), "chain"),
    "project_name": ((str, _NONE), None),
    "service": ((str, _NONE), None),
    "start_time_ns": ((int,), _REQUIRED),
    "end_time_ns": ((int, _NONE), None),
    "status": ((str,), "pending"),
    "error": ((str, _NONE), None),
    "inputs": ((dict,), {}),
    "outputs": ((dict, _NONE), None),
    "metadata": ((dict,), {}),
}


class StoredRun:
    """
    A run that was read back: read-only, with the attributes of a `clew.Run`.

    Args:
        record: a dict as `record_of` returns it. Fields that are missing have their default, unknown ones are ignored.
        children: the runs directly below this one.

    Raises:
        ArgumentValueError: the record does not describe a run.
    """

    __slots__ = (*_FIELDS, "children", "events", "id", "links", "parent_id", "tags", "trace_id")

    children: Tuple[StoredRun, ...]
    dotted_order: str
    end_time_ns: Optional[int]
    error: Optional[str]
    events: Tuple[Mapping[str, Any], ...]
    id: UUID
    inputs: Dict[str, Any]
    links: Tuple[StoredLink, ...]
    metadata: Dict[str, Any]
    name: str
    outputs: Optional[Dict[str, Any]]
    parent_id: Optional[UUID]
    parent_span_id: Optional[str]
    project_name: Optional[str]
    run_type: str
    service: Optional[str]
    span_id: str
    start_time_ns: int
    status: str
    tags: Tuple[str, ...]
    trace_id: UUID

    def __init__(self, record: Mapping[str, Any], children: Sequence[StoredRun] = ()) -> None:
        fill = super().__setattr__  # the class's own refuses
        for name, (kinds, default) in _FIELDS.items():
            value = record.get(name, default)
            if not isinstance(value, kinds):
                raise ArgumentValueError(
                    f"expected the record of a run, found {name} {value!r} in it; pass what record_of returns"
                )
            fill(name, value)
        try:
            for name in ("id", "trace_id", "parent_id"):
                text = record.get(name)
                fill(name, None if text is None and name == "parent_id" else UUID(text))
            fill(
                "links", tuple(StoredLink(UUID(link["trace_id"]), link["span_id"]) for link in record.get("links", ()))
            )
            fill("tags", tuple([str(tag) for tag in record.get("tags", ())]))
            fill("events", tuple([dict(event) for event in record.get("events", ())]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArgumentValueError(
                f"expected the record of a run, found {error!r} in it; pass what record_of returns"
            ) from error
        fill("children", tuple(children))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"expected a stored run to be read only, found {name!r} set; make a new StoredRun")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"expected a stored run to be read only, found {name!r} deleted")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.status}, {len(self.children)} children>"


def trees_of(records: Iterable[Mapping[str, Any]]) -> Tuple[StoredRun, ...]:
    """
    Return the roots of the trees that the records form, sorted by start time, each with its `children`.

    The records may come in any order. A run whose parent is missing is a root. Of two records of the same run the
    last one counts.

    Raises:
        ArgumentValueError: a record does not describe a run.
    """
    return link_trees([StoredRun(record) for record in records])


def link_trees(stored: Iterable[StoredRun]) -> Tuple[StoredRun, ...]:
    """
    Set the `children` of the runs, and return the roots.
    """
    runs = {run.id: run for run in stored}
    # Under a parent from W3C headers, a run knows its parent's trace and span only.
    by_span = {(run.trace_id, run.span_id): run.id for run in runs.values()}
    below: Dict[Optional[UUID], List[StoredRun]] = {}
    by_time = sorted(runs.values(), key=lambda run: run.start_time_ns)
    for run in by_time:
        above = run.parent_id if run.parent_id in runs else by_span.get((run.trace_id, run.parent_span_id or ""))
        below.setdefault(above, []).append(run)
    roots = below.pop(None, [])
    for run in in_order(by_time, roots, lambda run: below.get(run.id, [])):
        object.__setattr__(run, "children", tuple(below.get(run.id, ())))
    return tuple(roots)
