"""
The options of `clew.configure`: how each is checked, which variable of the environment stands for it, its default.

They are put into force in `clew.exporters.configuration`.
"""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, Union

from clew._shared.incidents import report
from clew.context._stepping.kinds import kind_of
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.exporters.protocol import Exporter
from clew.runs._tree.kept.hiding import HiddenNames, checked_names, checked_redact
from clew.runs._tree.options import check_bound
from clew.runs._tree.settings import MAX_QUEUED_BYTES, Settings

__all__ = ("CHECKS", "IF_REFUSED", "VARIABLES", "report_variable", "text_in", "value_of_environment")


def _exporters_of(exporter: object) -> List[Exporter]:
    several = exporter if isinstance(exporter, (list, tuple)) else [exporter]
    exporters: List[Any] = [_exporter_named(one) if isinstance(one, str) else one for one in several]
    for one in exporters:
        if isinstance(one, type) or not (hasattr(one, "export") and hasattr(one, "shutdown")):
            raise ArgumentTypeError(
                f"expected an exporter, got {one!r}; pass an object that has export(runs) and shutdown(timeout), "
                f"or a text such as 'jsonl:runs.jsonl'"
            )
        for name in ("export", "export_starts", "shutdown"):
            kind = kind_of(getattr(one, name, None))
            if kind != "function":  # whose call would do nothing
                raise ArgumentTypeError(
                    f"expected an exporter whose {name} is a function, got a {kind} function in {one!r}; "
                    f"let it run what is asynchronous itself, for example by asyncio.run(...)"
                )
    if not exporters:
        raise ArgumentValueError("expected at least one exporter, got none; pass exporter=None to have none")
    return exporters


def _exporter_named(text: str) -> Exporter:
    kind, _, rest = text.partition(":")
    make = _KINDS.get(kind)
    if make is None or ":" not in text:
        raise ArgumentValueError(
            f"expected an exporter as one of 'jsonl:FILE', 'langsmith:' and 'memory:', got {text!r}; write one of these"
        )
    return make(rest)


# Each loads what it needs when it is asked for.


def _json_lines(path: str) -> Exporter:
    from clew.exporters.jsonl import JSONLinesExporter

    if not path:
        raise ArgumentValueError("expected the name of a file after 'jsonl:', got none; write 'jsonl:runs.jsonl'")
    return JSONLinesExporter(path)


def _langsmith(project_name: str) -> Exporter:
    from clew.exporters.langsmith import LangSmithExporter

    return LangSmithExporter(project_name=project_name or None)


def _memory(rest: str) -> Exporter:
    from clew.exporters.memory import MemoryExporter

    if rest:
        raise ArgumentValueError(f"expected nothing after 'memory:', got {rest!r}; leave it out")
    return MemoryExporter()


_KINDS: Dict[str, Callable[[str], Exporter]] = {"jsonl": _json_lines, "langsmith": _langsmith, "memory": _memory}


def _switch(text: str) -> bool:
    is_on = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    try:
        return is_on[text.lower()]
    except KeyError:
        raise ArgumentValueError(f"expected 0 or 1, got {text!r}; write one of them") from None


def _ratio(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentValueError(f"expected a ratio from 0 to 1, got {text!r}; 0.1 records a tenth") from None


def _names(text: str) -> Union[bool, List[str]]:
    try:
        return _switch(text)
    except ArgumentValueError:
        return [name.strip() for name in text.split(",") if name.strip()]


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ArgumentValueError(f"expected a number of bytes, got {text!r}; write one such as 67108864") from None


# The exporter last, so that what it gets is as the others say.
VARIABLES: Dict[str, Any] = {
    "CLEW_PROJECT": ("project_name", str),
    "CLEW_SERVICE": ("service", str),
    "CLEW_SAMPLE": ("sampler", _ratio),
    "CLEW_ENABLED": ("enabled", _switch),
    "CLEW_MAX_QUEUED_BYTES": ("max_queued_bytes", _whole_number),
    "CLEW_HIDE": ("hide", _names),
    "CLEW_HIDE_INPUTS": ("hide_inputs", _switch),
    "CLEW_HIDE_OUTPUTS": ("hide_outputs", _switch),
    "CLEW_HIDE_METADATA": ("hide_metadata", _switch),
    "CLEW_EXPORT": ("exporter", str),
}


# LangSmith's client reads the first one that is set. For it, "true" is the only value that hides.
_LANGSMITH_NAMES: Dict[str, Tuple[str, ...]] = {
    f"CLEW_{what}": (f"LANGSMITH_{what}", f"LANGCHAIN_{what}")
    for what in ("HIDE_INPUTS", "HIDE_OUTPUTS", "HIDE_METADATA")
}
# Whoever sets such a variable wants to hide something.
IF_REFUSED: Dict[str, Any] = {"hide_inputs": True, "hide_outputs": True, "hide_metadata": True}


def _checked_project_name(value: object) -> str:
    return _checked_text(value, "project_name")


def _checked_service(value: object) -> str:
    return _checked_text(value, "service")


def _checked_text(value: object, what: str) -> str:
    if isinstance(value, str):
        return value
    raise ArgumentTypeError(f"expected {what} as a string, got {value!r}; pass {str(value)!r}")


def _checked_switch(option: str) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if isinstance(value, bool):
            return value
        remedy = "pass redact=, which takes a function" if callable(value) else "pass one of them"
        raise ArgumentTypeError(f"expected {option} as True or False, got {value!r}; {remedy}")

    return check


def _checked_sampler(value: Any) -> Any:
    Settings().sampler = value  # it raises
    return value


CHECKS: Dict[str, Callable[[Any], Any]] = {
    "project_name": _checked_project_name,
    "service": _checked_service,
    "sampler": _checked_sampler,
    "enabled": _checked_switch("enabled"),
    "max_queued_bytes": lambda value: check_bound(value, "max_queued_bytes"),
    "hide": checked_names,
    "hide_inputs": _checked_switch("hide_inputs"),
    "hide_outputs": _checked_switch("hide_outputs"),
    "hide_metadata": _checked_switch("hide_metadata"),
    "redact": checked_redact,
    "exporter": _exporters_of,
}
# Of the options that are None otherwise.
_DEFAULTS: Dict[str, Callable[[], Any]] = {
    "enabled": lambda: True,
    "max_queued_bytes": lambda: MAX_QUEUED_BYTES,
    "exporter": tuple,
    "hide": HiddenNames,
    "hide_inputs": bool,
    "hide_outputs": bool,
    "hide_metadata": bool,
}


def text_in(environ: Mapping[str, str], name: str) -> Optional[Tuple[str, str]]:
    """
    Return the name and text of a variable, or of the one of LangSmith's that stands for it; None if none is set.
    """
    for each in (name, *_LANGSMITH_NAMES.get(name, ())):
        text = environ.get(each, "").strip()
        if text:
            return each, text
    return None


def value_of_environment(option: str) -> Any:
    """
    Return the checked value of an option from the environment, or its default.
    """
    for name, (each, read) in VARIABLES.items():
        found = text_in(os.environ, name) if each == option else None
        if found is not None:
            try:
                return CHECKS[option](read(found[1]))
            except Exception as error:  # noqa: BLE001  as in `configure_from_environment`
                report_variable(found[0], error)
                if option in IF_REFUSED:
                    return IF_REFUSED[option]
    make = _DEFAULTS.get(option)
    return None if make is None else make()


def report_variable(name: str, error: Exception) -> None:
    report("environment_refused", f"the environment variable {name} was refused: {error}", error=error)
