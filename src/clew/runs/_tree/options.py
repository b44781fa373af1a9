"""
Checks of the options that a program passes to a run: names, ids, times, tags, metadata, errors and events.

Each function returns the option in plain types, or raises an error that says what to do. Values are copied in
`clew.runs._tree.kept`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Dict, Iterable, Mapping, Optional, Sized, Tuple
from uuid import UUID

from clew._shared.incidents import report
from clew.context._stepping.kinds import is_plain_function
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.kept.copier import MAX_STRING_CHARS, call_without_tracing, copy_value
from clew.runs._tree.kept.errors import text_of
from clew.runs._tree.kept.payloads import recorded_error, redact_error
from clew.runs._tree.kept.texts import bounded_repr, bounded_str, cut

__all__ = (
    "Unset",
    "check_bound",
    "check_hook",
    "check_id",
    "check_mapping",
    "check_name",
    "check_project_name",
    "check_run_type",
    "check_tags",
    "check_time",
    "check_usage",
    "error_text",
    "event_fields",
    "ignore_langsmith_options",
    "metadata_of_extra",
    "options_of_config",
    "time_of",
    "unset",
)


class Unset:
    """
    The type of `unset`, the default of an option for which None has a meaning.
    """

    def __repr__(self) -> str:
        return "..."


unset: Unset = Unset()


def check_name(name: object) -> str:
    """
    Return the name of a run as a plain string, or raise.
    """
    return _plain_string(name, "name of a run", "name={!r}")


def check_run_type(run_type: object) -> str:
    """
    Return the type of a run as a plain string, "chain" for None, or raise.
    """
    return "chain" if run_type is None else _plain_string(run_type, "run_type of a run", "one, such as 'tool'")


def check_project_name(project_name: object) -> Optional[str]:
    """
    Return the project of a run as a plain string, None for None, or raise.
    """
    if project_name is None:
        return None
    return _plain_string(project_name, "project_name", "the name of the project, or leave it out")


def _plain_string(text: object, what: str, remedy: str) -> str:
    if type(text) is str and len(text) <= MAX_LABEL_CHARS:
        return text
    if isinstance(text, str):
        # Not `str(text)`, which for an enum may be another text than its value.
        return cut(text, MAX_LABEL_CHARS)
    shown = bounded_repr(text)
    raise ArgumentTypeError(
        f"expected the {what} as a string, got {shown}; pass {remedy.format(bounded_str(text, MAX_LABEL_CHARS))}"
    )


# Names, types, projects and tags are truncated after this.
MAX_LABEL_CHARS = 4_096
MAX_TAGS = 1_000

# Options of LangSmith's functions that have a meaning only together with LangSmith's client.
_LANGSMITH_OPTIONS = frozenset(
    "address attachments client dangerously_allow_filesystem distributed_parent_id exclude_child_runs "  # noqa: SIM905  shorter
    "ls_client reference_example_id replicas serialized".split()
)


def ignore_langsmith_options(options: Dict[str, Any], where: str) -> None:
    """
    Count the options that only LangSmith's client uses; raise for unknown ones.
    """
    unknown = sorted(options.keys() - _LANGSMITH_OPTIONS)
    if unknown:
        raise ArgumentTypeError(
            f"expected the options that {where} has, got {', '.join(unknown)}; leave them out, or look for a typo"
        )
    named = sorted(name for name, value in options.items() if value is not None)
    if named:
        report(
            "options_ignored",
            f"{where} was given {', '.join(named)}, which is LangSmith's alone and does nothing here; leave it out",
        )


def metadata_of_extra(
    options: Dict[str, Any], metadata: Optional[Mapping[str, Any]], where: str
) -> Optional[Mapping[str, Any]]:
    """
    Return `metadata` merged over that of LangSmith's option ``extra``, and check the other options.

    In the ``langsmith_extra`` of one call, the option is named ``run_extra``.
    """
    if not options:
        return metadata
    for name in ("extra", "run_extra"):
        given = check_mapping(options.pop(name, None) or {}, name).get("metadata")
        if given is not None:
            metadata = {**check_mapping(given, "metadata"), **check_mapping(metadata or {}, "metadata")}
    ignore_langsmith_options(options, where)
    return metadata


def error_text(error: object) -> str:
    """
    Return an error as text. For an exception this is what Python prints, with the traceback.
    """
    if isinstance(error, BaseException):
        return text_of(recorded_error(error, error.__traceback__)) or ""
    try:
        text: str = call_without_tracing(bounded_str, error, MAX_STRING_CHARS)
    except Exception as failure:  # noqa: BLE001  the program's own __str__
        return f"<{type(error).__name__} that cannot be formatted: {type(failure).__name__}>"
    return redact_error(text)


def options_of_config(config: Any) -> Dict[str, Any]:
    """
    Return the options in a LangChain config under the names of ``langsmith_extra=``. LangChain need not be installed.
    """
    config = check_mapping(config, "config in langsmith_extra=")
    found = {"tags": config.get("tags"), "metadata": config.get("metadata"), "name": config.get("run_name")}
    try:
        found["parent"] = _parent_of_callbacks(config.get("callbacks"))
    except Exception as error:  # noqa: BLE001  callbacks are objects of any library
        report("configs_refused", "the callbacks of a LangChain config could not be read for the parent", error=error)
    return {key: value for key, value in found.items() if value is not None}


def _parent_of_callbacks(callbacks: Any) -> Optional[str]:
    parent_id = getattr(callbacks, "parent_run_id", None)
    for handler in getattr(callbacks, "handlers", None) or ():
        # Only this tracer sends its runs to LangSmith. The run of another handler would be missing there.
        if any(each.__name__ == "LangChainTracer" for each in type(handler).__mro__):
            order = getattr(handler.run_map.get(str(parent_id)), "dotted_order", None)
            if isinstance(order, str):
                return order
    return None


def check_bound(bound: object, name: str) -> int:
    """
    Return a bound in bytes or runs, or raise; `name` is the name of the option.
    """
    if isinstance(bound, bool) or not isinstance(bound, int):
        raise ArgumentTypeError(f"expected {name} as a whole number, got {bounded_repr(bound)}; pass 1 or more")
    if bound < 1:
        raise ArgumentValueError(f"expected {name} to be positive, got {bound!r}; pass 1 or more")
    return bound


def check_id(run_id: Any) -> str:
    """
    Return the id of a run as text, or raise.
    """
    try:
        return str(run_id if isinstance(run_id, UUID) else UUID(run_id))
    except (AttributeError, TypeError, ValueError):
        raise ArgumentValueError(
            f"expected the id of a run as a UUID or its text, got {bounded_repr(run_id)}; leave it out for a new one"
        ) from None


def check_time(moment: Any, what: str) -> int:
    """
    Return a datetime as nanoseconds since the epoch, or raise; `what` is its name in the error.

    Without a time zone it is in UTC, as with LangSmith.
    """
    if not isinstance(moment, datetime):
        raise ArgumentTypeError(
            f"expected the {what} as a datetime, got {bounded_repr(moment)}; "
            f"pass one, such as datetime.now(timezone.utc)"
        )
    if moment.utcoffset() is None:
        moment = moment.replace(tzinfo=timezone.utc)
    time_ns: int = (moment - time_of(0)) // timedelta(microseconds=1) * 1000
    if time_ns < 0:
        raise ArgumentValueError(
            f"expected the {what} to be from 1970 on, got {bounded_repr(moment)}; look where it comes from"
        )
    return time_ns


def time_of(time_ns: int) -> datetime:
    """
    Return a time in nanoseconds since the epoch as a datetime in UTC.
    """
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=time_ns // 1000)


def event_fields(event: Mapping[str, Any]) -> Dict[str, Any]:
    """
    Return a copy of an event. A ``time`` as LangSmith has it becomes ``time_ns``.
    """
    fields = dict(event)
    time = fields.get("time")
    if time is not None and "time_ns" not in fields:
        with suppress(ValueError, TypeError):  # not a time: keep it unchanged
            if isinstance(time, str):
                time = datetime.fromisoformat(f"{time[:-1]}+00:00" if time[-1:] == "Z" else time)
            fields["time_ns"] = check_time(time, "time of an event")
            del fields["time"]
    copied: Dict[str, Any] = copy_value(fields)
    return copied


def check_tags(tags: Any) -> Tuple[str, ...]:
    """
    Return tags as plain strings, or raise.
    """
    if isinstance(tags, str):
        raise ArgumentTypeError(
            f"expected a list of tags, got the string {bounded_repr(tags)}; pass [{bounded_repr(tags)}]"
        )
    if not isinstance(tags, Iterable):
        raise ArgumentTypeError(f"expected a list of tags, got {bounded_repr(tags)}; pass a list of strings")
    checked = [bounded_str(tag, MAX_LABEL_CHARS) for tag in islice(tags, MAX_TAGS + 1)]
    if len(checked) > MAX_TAGS:
        checked[-1] = f"<cut: {len(tags)} tags>" if isinstance(tags, Sized) else "<cut: more tags>"
    return tuple(checked)


def check_hook(hook: Any, what: str) -> Any:
    """
    Return a function that the program passes, None for None, or raise; `what` is its name in the error.
    """
    if hook is not None and not is_plain_function(hook):
        raise ArgumentTypeError(
            f"expected {what} as a plain function, got {bounded_repr(hook)}; "
            f"pass one that is not async and does not yield"
        )
    return hook


def check_mapping(mapping: Any, what: str) -> Mapping[str, Any]:
    """
    Return the mapping, or raise; `what` is its name in the error.
    """
    if isinstance(mapping, Mapping):
        return mapping
    raise ArgumentTypeError(f"expected the {what} as a dict, got {bounded_repr(mapping)}; pass {{'key': value}}")


# The keys that LangSmith's server knows: counts of tokens, and costs.
_USAGE = frozenset(
    "input_cost input_cost_details input_token_details input_tokens output_cost output_cost_details "  # noqa: SIM905  shorter
    "output_token_details output_tokens total_cost total_tokens".split()
)


def check_usage(usage: Any) -> Mapping[str, Any]:
    """
    Return the usage of a model. Raise for an unknown key, as LangSmith does.
    """
    unknown = sorted(map(str, check_mapping(usage, "usage_metadata").keys() - _USAGE))
    if unknown:
        raise ArgumentValueError(
            f"expected the usage_metadata to have {', '.join(sorted(_USAGE))}, got {', '.join(unknown)}; "
            f"look for a typo, or pass it as metadata"
        )
    given: Mapping[str, Any] = usage
    return given
