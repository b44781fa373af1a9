"""
Functions that make the recorded copy of what a traced function returns or yields. They call the program's hooks.

`clew.runs._tree.kept.payloads` copies the other parts of a run, and `clew.runs._tree.kept.signature` reads inputs.
"""

from __future__ import annotations

from itertools import count
from typing import Any, Callable, Dict, Mapping, Optional

from clew.runs._tree.kept.copier import call_without_tracing, copy_for_run, copy_item
from clew.runs._tree.kept.hiding import hiding
from clew.runs._tree.kept.payloads import drop_payload, process_payload, redact_payload
from clew.runs._tree.kept.sizes import note, size_of_object

__all__ = ("copier_of_items", "copier_of_results")


def copier_of_results(process: Optional[Callable[[Any], Mapping[str, Any]]]) -> Callable[[Any], Any]:
    """
    Return a function that turns a return value into the recorded one, by what is hidden now.

    Args:
        process: `process_outputs`.
    """
    if hiding.outputs:
        return lambda _: {}
    copy = copy_for_run if process is None else lambda result: process_payload(process, result, "outputs")
    if hiding.redact is None:
        return copy

    def copy_past_redact(result: Any) -> Dict[str, Any]:
        copied = copy(result)
        return redact_payload(copied if type(copied) is dict else {"output": copied}, "outputs")

    return copy_past_redact


def copier_of_items(process: Optional[Callable[[Any], Any]], *, is_reduced: bool) -> Callable[[Any], Any]:
    """
    Return a function that turns an item of a stream into the recorded one, by what is hidden now.

    Args:
        process: `process_chunk`.
        is_reduced: whether a `reduce_fn` gets the items themselves.
    """
    if hiding.outputs:
        return lambda _: None
    if process is not None:
        return lambda chunk: _processed_chunk(process, chunk)
    return _itself if is_reduced else copy_item


def _itself(chunk: Any) -> Any:
    # The items of a stream are of about the same size, so that looking at some of them is enough.
    if not next(_numbers) % _LOOKED_AT:
        note(_LOOKED_AT * size_of_object(chunk))
    return chunk


_numbers = count()
_LOOKED_AT = 8


def _processed_chunk(process: Callable[[Any], Any], chunk: Any) -> Any:
    try:
        return copy_item(call_without_tracing(process, chunk))
    except Exception as error:  # noqa: BLE001  the hook may be there to hide the item, so drop the item
        return drop_payload("chunk", f"process_chunk raised {type(error).__name__}", error)
