"""
Runs as JSON text: one run on one line, or whole trees.

The dicts are made in `clew.runs.stored`, files are written in `clew.exporters.jsonl`.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Callable, Iterator, List, Optional, Sequence

from clew.errors import ArgumentTypeError
from clew.runs.finished import Run
from clew.runs.stored import record_of, trace_id_text

__all__ = ("encode_json", "json_of_trees", "line_of")


def _make_encoder() -> Callable[[Any], str]:
    """
    Return a function from a value to its JSON, in ASCII and on one line.

    `JSONEncoder.encode` builds the C encoder anew for each value, which takes longer than using it. Build it once,
    and fall back on `encode` where there is no C encoder, or one with another interface.
    """
    # A value without a JSON form is written as its `repr`: losing its type is better than losing the run.
    encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=repr).encode
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    probe: Any = {"a": [1, 2.5, None, True, "\u00e9"], "b": {}}
    try:
        encode_in_c = make(None, repr, json.encoder.encode_basestring_ascii, None, ":", ",", *(False, False, True))
        if "".join(encode_in_c(probe, 0)) == encode(probe):
            return lambda value: "".join(encode_in_c(value, 0))
    except Exception:  # noqa: BLE001, S110  no C encoder, or another interface
        pass
    return encode


encode_json: Callable[[Any], str] = _make_encoder()


def line_of(run: Run) -> str:
    """
    Return `record_of(run)` as a line of JSON.

    Builds the fixed part of the line by hand and runs the JSON encoder only on the fields that vary: from the call to
    the file, a run takes 30 to 40 % longer if the encoder gets the whole record.
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
    # A run has links of its own, or those of a parent that came by headers.
    links = run.links if parent is not None and type(parent) is not type(identity) else getattr(identity, "linked", ())
    if tags or metadata or events or links:
        record = record_of(run)
        more = encode_json({name: record[name] for name in ("tags", "metadata", "events", "links")})[1:-1]
    else:
        more = '"tags":[],"metadata":{},"events":[],"links":[]'
    try:
        labels = _labels(identity.name, run.run_type, run.project_name, run.service, run.status)
    except TypeError:  # a label of a type that nothing has checked, and that has no hash
        labels = _labels.__wrapped__(identity.name, run.run_type, run.project_name, run.service, run.status)
    return (
        f'{{"id":"{id_text}","trace_id":"{trace_id_text(run)}","span_id":"{id_text[19:23]}{id_text[24:]}",{above},'
        f'"dotted_order":"{identity.dotted_order}","start_time_ns":{identity.start_time_ns},'
        f'"end_time_ns":{"null" if run.end_time_ns is None else run.end_time_ns},'
        f"{labels},"
        f'"error":{"null" if run.error is None else encode_json(run.error)},'
        f'"inputs":{encode_json(run.inputs)},"outputs":{encode_json(run.outputs)},{more}}}\n'
    )


@lru_cache(maxsize=1024, typed=True)
def _labels(name: str, run_type: str, project_name: Optional[str], service: Optional[str], status: str) -> str:
    # Cached: all runs of one function have the same labels.
    labels = {"name": name, "run_type": run_type, "project_name": project_name, "service": service, "status": status}
    return encode_json(labels)[1:-1]


def json_of_trees(roots: Sequence[Run], indent: Optional[int] = None) -> Iterator[str]:
    """
    Yield the parts of a JSON text: a list of the roots, each with its ``children``.

    It does not recurse: a tree may be deeper than the stack.
    """
    if indent is not None and (isinstance(indent, bool) or not isinstance(indent, int)):
        raise ArgumentTypeError(f"expected indent as a number of blanks or None, got {indent!r}; pass 2")
    encode = json.JSONEncoder(indent=indent, default=repr).encode

    def new_line(depth: int) -> str:
        return "" if indent is None else "\n" + " " * (indent * depth)

    between = ", " if indent is None else ","
    yield "["
    # For each level, from the roots to the current run: the runs that are still to be written.
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
        # The text of one run without its closing brace. Line breaks inside strings are escaped.
        text = encode(record_of(run))[:-1].rstrip()
        yield text.replace("\n", new_line(depth)) + between + new_line(depth + 1) + '"children": ['
        waiting.append(iter(run.children))
        is_first = True
