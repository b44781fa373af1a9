"""
A run as a JSON-shaped dict, and back: `StoredRun`, and the trees that stored runs form.

Where the dicts are written to is for the exporters; a `Run` is only looked at, so that this room needs no run tree.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)
from uuid import UUID

from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.ordering import in_order
from clew.runs.finished import Run

__all__ = ("StoredLink", "StoredRun", "record_of", "trees_of")

# Where the id of the first run stands in a dotted order, behind its time.
_STAMP_CHARS = len("20260102T030405000006Z")
_UUID_CHARS = 36


def _make_encoder() -> Callable[[Any], str]:
    """
    Return a function from a value to its JSON, in ASCII and on one line.

    `JSONEncoder.encode` makes the encoder in C anew for each value, which takes longer than to use it. Where there is
    none, or it has another interface, `encode` will do.
    """
    # Every value in a run has a JSON form; should there be one that has not, the run is worth more than its type.
    encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=repr).encode
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    probe: Any = {"a": [1, 2.5, None, True, "\u00e9"], "b": {}}
    try:
        encode_in_c = make(None, repr, json.encoder.encode_basestring_ascii, None, ":", ",", *(False, False, True))
        if "".join(encode_in_c(probe, 0)) == encode(probe):
            return lambda value: "".join(encode_in_c(value, 0))
    except Exception:  # noqa: BLE001, S110  as above
        pass
    return encode


encode_json: Callable[[Any], str] = _make_encoder()


def record_of(run: Run) -> Dict[str, Any]:
    """
    Return a run as a dict that JSON can hold: its attributes by their names, ids as text, without its children.

    It shares the payload with the run.
    """
    identity = run._identity
    parent = identity.parent
    return {
        "id": identity.id_text(),
        "trace_id": _trace_id(run),
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


def line_of(run: Run) -> str:
    """
    Return the record of a run as a line of JSON, in half the time: the encoder sees what is not always alike.
    """
    identity = run._identity
    id_text = identity.id_text()
    parent = identity.parent
    if parent is None:
        above = '"parent_id":null,"parent_span_id":null'
    else:
        parent_text = parent.id_text()
        above = f'"parent_id":"{parent_text}","parent_span_id":"{parent_text[19:23]}{parent_text[24:]}"'
    tags, metadata, events = run.tags, run.metadata, run.events
    # Only a run that says so itself, or one whose parent is of another kind, can have links.
    links = run.links if parent is not None and type(parent) is not type(identity) else getattr(identity, "linked", ())
    if tags or metadata or events or links:
        record = record_of(run)
        more = encode_json({name: record[name] for name in ("tags", "metadata", "events", "links")})[1:-1]
    else:
        more = '"tags":[],"metadata":{},"events":[],"links":[]'
    try:
        labels = _labels(identity.name, run.run_type, run.project_name, run.service, run.status)
    except TypeError:  # a label that nobody checked, and that cannot be looked up
        labels = _labels.__wrapped__(identity.name, run.run_type, run.project_name, run.service, run.status)
    return (
        f'{{"id":"{id_text}","trace_id":"{_trace_id(run)}","span_id":"{id_text[19:23]}{id_text[24:]}",{above},'
        f'"dotted_order":"{identity.dotted_order}","start_time_ns":{identity.start_time_ns},'
        f'"end_time_ns":{"null" if run.end_time_ns is None else run.end_time_ns},'
        f"{labels},"
        f'"error":{"null" if run.error is None else encode_json(run.error)},'
        f'"inputs":{encode_json(run.inputs)},"outputs":{encode_json(run.outputs)},{more}}}\n'
    )


@lru_cache(maxsize=1024, typed=True)
def _labels(name: str, run_type: str, project_name: Optional[str], service: Optional[str], status: str) -> str:
    # The runs of one function are alike in these.
    labels = {"name": name, "run_type": run_type, "project_name": project_name, "service": service, "status": status}
    return encode_json(labels)[1:-1]


def _trace_id(run: Run) -> str:
    inherited = run._identity.inherited
    if inherited is not None and inherited.upstream is not None:
        return str(UUID(inherited.upstream.trace_id))
    # Not by walking up to the root, which may be far away.
    return run._identity.dotted_order[_STAMP_CHARS : _STAMP_CHARS + _UUID_CHARS]


class StoredLink(NamedTuple):
    """
    Name a run of another trace, or of elsewhere in this one: a `clew.Link` that was stored.
    """

    trace_id: UUID
    span_id: str


class StoredRun:
    """
    Be one run that was read back, frozen, with the attributes of a `clew.Run`.

    Args:
        record: as `record_of` makes it. What it does not say has its default, and what is not known is left out.
        children: the runs under this one.

    Raises:
        ArgumentValueError: the record is not one of a run.
    """

    __slots__ = (
        "children",
        "dotted_order",
        "end_time_ns",
        "error",
        "events",
        "id",
        "inputs",
        "links",
        "metadata",
        "name",
        "outputs",
        "parent_id",
        "parent_span_id",
        "project_name",
        "run_type",
        "service",
        "span_id",
        "start_time_ns",
        "status",
        "tags",
        "trace_id",
    )

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
        fill = super().__setattr__
        for name, (kinds, default) in _FIELDS.items():
            value = record.get(name, default)
            if not isinstance(value, kinds):
                raise ArgumentValueError(
                    f"expected the record of a run, found {name} {value!r} in it; pass what record_of has returned"
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
                f"expected the record of a run, found {error!r} in it; pass what record_of has returned"
            ) from error
        fill("children", tuple(children))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"expected a stored run to be read only, found {name!r} set; make a StoredRun of a record")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"expected a stored run to be read only, found {name!r} deleted")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.status}, {len(self.children)} children>"


_NONE = type(None)
_REQUIRED = object()  # is of no kind that a field may have

# For each field that is taken as it is: what it may be, and what it is where the record says nothing.
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


def trees_of(records: Iterable[Mapping[str, Any]]) -> Tuple[StoredRun, ...]:
    """
    Return the roots of the trees that the records form, each with its `children`, by the time they started.

    The records may come in any order. A run whose parent is not among them is a root, and of two records of one run
    the last one holds.

    Raises:
        ArgumentValueError: a record is not one of a run.
    """
    return plant([StoredRun(record) for record in records])


def plant(stored: Iterable[StoredRun]) -> Tuple[StoredRun, ...]:
    """
    Return the roots of the trees that runs form.
    """
    runs = {run.id: run for run in stored}
    # Who came by W3C's headers knows of its parent but the trace and the span.
    by_span = {(run.trace_id, run.span_id): run.id for run in runs.values()}
    below: Dict[Optional[UUID], List[StoredRun]] = {}
    by_time = sorted(runs.values(), key=lambda run: run.start_time_ns)
    for run in by_time:
        above = run.parent_id if run.parent_id in runs else by_span.get((run.trace_id, run.parent_span_id or ""))
        below.setdefault(above, []).append(run)
    tops = below.pop(None, [])
    # Backwards, so that each finds its children complete.
    for run in reversed(in_order(by_time, tops, lambda run: below.get(run.id, []))):
        object.__setattr__(run, "children", tuple(below.get(run.id, ())))
    return tuple(tops)


def json_of_trees(roots: Sequence[Run], indent: Optional[int] = None) -> Iterator[str]:
    """
    Yield the parts of a JSON text: a list of the roots, each with its ``children``. Without recursion, as above.
    """
    if indent is not None and (isinstance(indent, bool) or not isinstance(indent, int)):
        raise ArgumentTypeError(f"expected indent as a number of blanks or None, got {indent!r}; pass 2")
    encode = json.JSONEncoder(indent=indent, default=repr).encode

    def new_line(depth: int) -> str:
        return "" if indent is None else "\n" + " " * (indent * depth)

    between = ", " if indent is None else ","
    yield "["
    # Of each run that is open: its children, those who are still to come.
    waiting: List[Iterator[Run]] = [iter(roots)]
    is_first = True
    while waiting:
        depth = 2 * len(waiting) - 1
        run = next(waiting[-1], None)
        if run is None:
            waiting.pop()
            yield ("" if is_first else new_line(depth - 1)) + "]"
            if waiting:
                yield new_line(depth - 2) + "}"
            is_first = False
            continue
        if not is_first:
            yield between
        yield new_line(depth)
        # The text of one run, its last brace taken off; no string in it has a line break of its own.
        text = encode(record_of(run))[:-1].rstrip()
        yield text.replace("\n", new_line(depth)) + between + new_line(depth + 1) + '"children": ['
        waiting.append(iter(run.children))
        is_first = True
