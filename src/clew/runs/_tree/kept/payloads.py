"""
The parts of a run as they are recorded: copied, with secrets hidden, and as the program's hooks return them.

Values are copied in `clew.runs._tree.kept.copier`; what is hidden is in `clew.runs._tree.kept.hiding`.
"""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, Callable, Dict, Mapping, Optional, Tuple, Union

from clew._shared.incidents import report
from clew.runs._tree.kept.at_once import repeated
from clew.runs._tree.kept.copier import (
    MAX_STRING_CHARS,
    call_without_tracing,
    copy_for_run,
    copy_measured,
    copy_value,
    unreadable,
)
from clew.runs._tree.kept.errors import ErrorText, describe_error, text_of
from clew.runs._tree.kept.hiding import check_redacted, hiding
from clew.runs._tree.kept.texts import cut

__all__ = (
    "copy_inputs",
    "copy_metadata",
    "copy_metadata_measured",
    "copy_outputs",
    "drop_payload",
    "process_payload",
    "recorded_error",
    "redact_error",
    "redact_event",
    "redact_payload",
)


def copy_inputs(inputs: object) -> Dict[str, Any]:
    """
    Return the recorded copy of inputs that the program passes. If they are no mapping, it is ``{"input": inputs}``.
    """
    return {} if hiding.inputs else redact_payload(_copy_mapping(inputs, "input"), "inputs")


def copy_outputs(outputs: object) -> Dict[str, Any]:
    """
    Return the recorded copy of outputs. If they are no mapping, it is ``{"output": outputs}``.
    """
    return {} if hiding.outputs else redact_payload(_copy_mapping(outputs, "output"), "outputs")


def copy_metadata(metadata: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Return the recorded copy of metadata. It shows ``session_id``, by which LangSmith groups runs of a conversation.
    """
    return copy_metadata_measured(metadata)[0]


def copy_metadata_measured(metadata: Mapping[str, Any]) -> Tuple[Dict[str, Any], int]:
    """
    Return a copy as `copy_metadata` does, and about how many bytes it takes.

    The size is not noted for the next run of the thread: metadata of a block may never come to a run.
    """
    readable = {} if hiding.metadata else _readable(metadata)
    if not readable:
        return {}, 0
    copied, size = copy_measured(readable)
    if type(copied) is not dict:
        copied = {"metadata": copied}
    if "session_id" in copied and isinstance(readable, dict):
        copied["session_id"] = copy_value(dict.get(readable, "session_id"))
    return redact_payload(copied, "metadata"), size


def _copy_mapping(payload: object, name: str) -> Dict[str, Any]:
    if payload is None:
        return {}
    copied = copy_for_run(_readable(payload))
    return copied if type(copied) is dict else {name: copied}


def _readable(payload: object) -> object:
    if type(payload) is dict:  # as nearly always, and the check for a `Mapping` is slow
        return payload
    try:
        if isinstance(payload, Mapping) and not isinstance(payload, dict):
            return call_without_tracing(repeated, partial(dict, payload))
    except Exception as error:  # noqa: BLE001  methods of a mapping that the program defines
        return unreadable(payload, error)
    return payload


def process_payload(process: Callable[[Any], Mapping[str, Any]], value: Any, part: str) -> Dict[str, Any]:
    """
    Return a copy of `process(value)`. If `process` fails, return a marker instead of the payload.
    """
    try:
        copied: Dict[str, Any] = copy_for_run(call_without_tracing(lambda: dict(process(value))))
        return copied
    except Exception as error:  # noqa: BLE001  fail closed: `process` may be there to remove secrets
        return drop_payload(part, f"process_{part} raised {type(error).__name__}", error)


def redact_payload(payload: Dict[str, Any], part: str) -> Dict[str, Any]:
    """
    Return inputs, outputs, metadata or an event as `redact` returns them. If it fails, return a marker instead.
    """
    if hiding.redact is None:
        return payload
    try:
        copied: Dict[str, Any] = copy_value(dict(_redacted(payload, part)))
        return copied
    except Exception as error:  # noqa: BLE001  fail closed
        return drop_payload(part, f"redact raised {type(error).__name__}", error)


def redact_event(event: Dict[str, Any]) -> Dict[str, Any]:
    """
    Return an event as `redact` returns it. A name that is no str, or a time that is no int, is replaced.
    """
    redacted = redact_payload(event, "event")
    if type(redacted.get("name")) is not str:
        redacted["name"] = "<dropped>"
    if type(redacted.get("time_ns")) is not int:
        redacted["time_ns"] = event["time_ns"]
    return redacted


def redact_error(text: str) -> str:
    """
    Return the text of an error as `redact` returns it. If it fails, return a marker instead.
    """
    if hiding.redact is None:
        return text
    try:
        return cut(_redacted(text, "error"), MAX_STRING_CHARS)
    except Exception as error:  # noqa: BLE001  fail closed
        reason = f"redact raised {type(error).__name__}"
        drop_payload("error", reason, error)
        return f"<dropped: {reason}>"


def recorded_error(error: BaseException, traceback: Optional[TracebackType]) -> Union[str, ErrorText]:
    """
    Return the text of an exception, as `redact` returns it.
    """
    described = describe_error(error, traceback)
    return described if hiding.redact is None else redact_error(text_of(described) or "")


def drop_payload(part: str, reason: str, error: Optional[Exception] = None) -> Dict[str, Any]:
    """
    Report that a part of a run is not recorded. Return the marker for it.
    """
    # The log names the place of the error, not its message, which may contain the value to hide.
    report("payloads_dropped", f"{reason}{_place_of(error)}, so the {part} of a run were not recorded")
    return {"clew.dropped": reason}


def _redacted(value: Any, part: str) -> Any:
    redact = hiding.redact
    found = value if redact is None else call_without_tracing(redact, value, part)
    check_redacted(found, part)
    return found


def _place_of(error: Optional[Exception]) -> str:
    traceback = None if error is None else error.__traceback__
    if traceback is None:
        return ""
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return f" in {traceback.tb_frame.f_code.co_filename}, line {traceback.tb_lineno}"
