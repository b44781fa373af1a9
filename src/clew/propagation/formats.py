"""
Add formats of headers to W3C's and LangSmith's: each one translates its own headers from and to W3C's.

OpenTelemetry's propagators are added by `clew.integrations.opentelemetry`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Dict, Mapping, Optional, Protocol, Tuple

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.propagation.baggage import Baggage
from clew.propagation.fields import Fields
from clew.propagation.langsmith import KEYS
from clew.propagation.traceparent import TraceParent

__all__ = ("HeaderFormat", "add_format", "remove_format")

_OWN_NAMES = frozenset(("traceparent", "tracestate", "baggage", "langsmith-trace"))

_guard = ForkSafeLock()
# Replaced as a whole, so that readers need no lock.
added: Tuple[HeaderFormat, ...] = ()


class HeaderFormat(Protocol):
    """
    A format of headers that is used in addition to W3C's and LangSmith's.

    It is read if neither of those names a parent, and always written. `clew.stats()` counts its exceptions as
    ``"formats_failed"``; the headers are read or written without it.
    """

    name: str

    @abstractmethod
    def read(self, headers: Any) -> Optional[Mapping[str, str]]:
        """
        Return W3C's headers with the same meaning: `traceparent`, `tracestate` and `baggage`; None if there are none.
        """

    @abstractmethod
    def write(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """
        Return the headers of this format with the same meaning as W3C's headers.
        """


def add_format(header_format: HeaderFormat) -> None:
    """
    Read and write one more format of headers from now on, in the whole process.
    """
    global added
    with _guard.lock:
        added = (*added, header_format)


def remove_format(header_format: HeaderFormat) -> None:
    """
    Undo `add_format`.
    """
    global added
    with _guard.lock:
        added = tuple(other for other in added if other is not header_format)


def read_added(headers: Any, fields: Fields) -> Tuple[Fields, Optional[TraceParent]]:
    """
    Return the fields and the parent of the first added format that names a parent; if none does, the given fields.
    """
    for header_format in added:
        try:
            found = header_format.read(headers)
            if found is None:
                continue
            translated = Fields.from_headers(dict(found))
        except Exception as error:  # noqa: BLE001  the format is the program's; its error must not fail the request
            _report_failure(header_format, "read", error)
            continue
        trace_parent = TraceParent.from_header(translated.traceparent)
        if trace_parent is not None:
            return translated._replace(baggage=fields.baggage or translated.baggage), trace_parent
    return fields, None


def write_added(headers: Dict[str, str], baggage: Optional[Baggage]) -> None:
    """
    Add the headers of all added formats to W3C's headers.
    """
    if "traceparent" not in headers:
        return
    w3c: Dict[str, str] = {name: headers[name] for name in ("traceparent", "tracestate") if name in headers}
    own_baggage = None if baggage is None else baggage._without(KEYS).to_header()
    if own_baggage is not None:
        w3c["baggage"] = own_baggage
    for header_format in added:
        try:
            written = {str(name): str(text) for name, text in header_format.write(w3c).items()}
        except Exception as error:  # noqa: BLE001  as in `read_added`
            _report_failure(header_format, "write", error)
            continue
        headers.update({name: text for name, text in written.items() if name.lower() not in _OWN_NAMES})


def _report_failure(header_format: HeaderFormat, verb: str, error: Exception) -> None:
    report(
        "formats_failed",
        f"the added format {header_format.name} failed to {verb} headers; the request goes on without it",
        error=error,
    )
