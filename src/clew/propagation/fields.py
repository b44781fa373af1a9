"""
Reading the headers of a request in whichever shape somebody has them.

What the values mean is for the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Dict, Iterable, List, NamedTuple, Optional

from clew.incidents import report

__all__ = ("Fields",)

# By the length of the name, most headers of a request need no second look.
_NAMES = {11: "traceparent", 10: "tracestate", 7: "baggage", 15: "langsmith-trace"}
_IN_ENVIRON = {f"HTTP_{name.upper().replace('-', '_')}": name for name in _NAMES.values()}
# A request with more headers than this is none; servers stop at a hundred or so.
MOST_HEADERS = 10_000


class Fields(NamedTuple):
    """
    Hold the values of the headers that carry a trace, as text.

    Args:
        traceparent: None if there is none, or more than one, which makes it invalid.
        tracestate: all of them, joined by commas; None if there is none.
        baggage: the same.
        langsmith_trace: as `traceparent`.
    """

    traceparent: Optional[str] = None
    tracestate: Optional[str] = None
    baggage: Optional[str] = None
    langsmith_trace: Optional[str] = None

    @classmethod
    def from_headers(cls, headers: Any) -> Fields:
        """
        Read a collection of headers, whichever.

        Names in any case, as str or bytes, with one value each or several: a dict, pairs in a list, as
        ASGI has them, a WSGI environ, the headers of httpx, requests, urllib3, aiohttp, Flask, Django
        and Starlette, or an `email.message.Message`. Of anything else, nothing.
        """
        found: Dict[str, List[str]] = {}
        try:
            _collect(headers, found)
        except Exception as error:  # noqa: BLE001  it is somebody else's collection, and a request to be served
            report("headers_unreadable", f"headers in {type(headers).__name__} could not be read", error=error)
        return cls(
            _only(found.get("traceparent")),
            _joined(found.get("tracestate")),
            _joined(found.get("baggage")),
            _only(found.get("langsmith-trace")),
        )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Fields:
        """
        Read the variables TRACEPARENT, TRACESTATE and BAGGAGE, as of `os.environ`.
        """
        get = environment.get
        return cls(get("TRACEPARENT"), get("TRACESTATE"), get("BAGGAGE"))


def _collect(headers: Any, found: Dict[str, List[str]]) -> None:
    is_environ = isinstance(headers, Mapping) and "wsgi.version" in headers
    for key, value in islice(_pairs_of(headers), MOST_HEADERS):
        text = _text_of(key)
        name = _IN_ENVIRON.get(text) if is_environ else _NAMES.get(len(text))
        if name is not None and (is_environ or text.lower() == name):
            found.setdefault(name, []).extend(map(_text_of, value if isinstance(value, (list, tuple)) else (value,)))


def _pairs_of(headers: Any) -> Iterable[Any]:
    # httpx has all values of a name there; in the `items` of the others a name comes once for each.
    for method in ("multi_items", "items"):
        if hasattr(headers, method):
            pairs: Iterable[Any] = getattr(headers, method)()
            return pairs
    return () if headers is None or isinstance(headers, (str, bytes)) else iter(headers)


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    # What HTTP itself says of its bytes; none of it fails.
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else ""


def _only(values: Optional[List[str]]) -> Optional[str]:
    return values[0] if values and len(values) == 1 else None


def _joined(values: Optional[List[str]]) -> Optional[str]:
    return ",".join(values) if values else None
