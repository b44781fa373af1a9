"""
Find the headers that carry a trace in a collection of headers of any library.

The values stay text here; a module for each header reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from itertools import islice
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from clew._shared.incidents import report
from clew.propagation._text import plain

__all__ = ("Fields", "all_values")

_LISTS = frozenset(("tracestate", "baggage"))
_NAMES = frozenset(("traceparent", "langsmith-trace", *_LISTS))
# The first letters of these names. Most headers of a request are skipped by their first letter.
_STARTS = frozenset("tTbBlL")
_STARTS_IN_BYTES = frozenset((b"t", b"T", b"b", b"B", b"l", b"L"))
_IN_BYTES = {name.encode(): name for name in _NAMES}
_IN_ENVIRON = tuple([(f"HTTP_{name.upper().replace('-', '_')}", name) for name in sorted(_NAMES)])
# Servers accept about a hundred headers. All after this many are ignored, as the collection may have no end.
MOST_HEADERS = 10_000
MOST_USUAL = 100  # headers that are looked up without a loop
# The text of all headers of one name together. No codec reads more.
MOST_CHARS = 1 << 16


class Fields(NamedTuple):
    """
    The values of the headers that carry a trace, as text.

    Args:
        traceparent: None if there is none. None if there are several, because they contradict each other.
        tracestate: the values of all such headers, joined by commas; None if there is none.
        baggage: as `tracestate`.
        langsmith_trace: as `traceparent`.
    """

    traceparent: Optional[str] = None
    tracestate: Optional[str] = None
    baggage: Optional[str] = None
    langsmith_trace: Optional[str] = None

    @classmethod
    def from_headers(cls, headers: Any) -> Fields:
        """
        Read a collection of headers of any library.

        It may be a dict, a list of pairs as in ASGI, a WSGI environ, the headers of httpx, requests, urllib3, aiohttp,
        Flask, Django or Starlette, or an `email.message.Message`. Names are in any letter case, names and values are
        str or bytes, and a name may have several values. An empty value counts as no header. Other objects have no
        headers.

        `clew.stats()` counts a collection that cannot be read as ``"headers_unreadable"``, and a second
        `traceparent` or `langsmith-trace` as ``"traceparent_refused"`` or ``"langsmith_trace_refused"``.
        """
        usual = _usual(headers)
        if usual is not None:
            return tuple.__new__(cls, usual)  # faster than `cls(...)`
        found: Dict[str, str] = {}
        repeated: Dict[str, List[str]] = {}
        try:
            _collect(headers, found, repeated)
        except Exception as error:  # noqa: BLE001  the collection is of another library; its error must not fail the request
            _report_unreadable(headers, error)
        if repeated:
            _combine(found, repeated)
        get = found.get
        return cls(get("traceparent"), get("tracestate"), get("baggage"), get("langsmith-trace"))


def re_readable(headers: Any) -> Any:
    """
    Return headers that can be read several times: a list of the pairs if `headers` is an iterator, else `headers`.
    """
    if isinstance(headers, Sized) or hasattr(headers, "items") or hasattr(headers, "multi_items"):
        return headers
    pairs: List[Any] = []
    try:
        pairs.extend(islice(_pairs_of(headers), MOST_HEADERS))
    except Exception as error:  # noqa: BLE001  as in `Fields.from_headers`
        _report_unreadable(headers, error)
    return pairs


def all_values(headers: Any) -> Dict[str, List[str]]:
    """
    Return the values of all headers by name, in lower case: for formats that have headers of their own.

    It reads the collections that `Fields.from_headers` reads. If reading fails, it returns the headers found before.
    """
    found: Dict[str, List[str]] = {}
    try:
        is_environ = isinstance(headers, Mapping) and "wsgi.version" in headers
        pairs = headers.items() if is_environ else _pairs_of(headers)
        for key, value in islice(pairs, MOST_HEADERS):
            name = _text_of(key).lower()
            if is_environ:
                name = name[5:].replace("_", "-") if name.startswith("http_") else ""
            if name:
                found.setdefault(name, []).extend(_texts_of(value))
    except Exception as error:  # noqa: BLE001  as in `Fields.from_headers`
        _report_unreadable(headers, error)
    return found


def _report_unreadable(headers: Any, error: Exception) -> None:
    report(
        "headers_unreadable",
        f"expected headers that can be read, got an instance of {type(headers).__name__} that raised; "
        f"the rest of it is ignored",
        error=error,
    )


def _usual(headers: Any) -> Optional[Tuple[Optional[str], ...]]:
    """
    Return the fields of the usual collections without a loop over the headers; None for all others.

    These are a dict of str and a list of pairs of bytes, in which each name is in lower case and occurs once.
    """
    kind = type(headers)
    try:
        if kind is dict and len(headers) <= MOST_USUAL:
            if "\n".join(headers).islower():
                get = headers.get
                fields = get("traceparent"), get("tracestate"), get("baggage"), get("langsmith-trace")
                if _are_usual(fields):
                    return fields
        elif kind is list and len(headers) <= MOST_USUAL:
            named: Dict[bytes, bytes] = dict(headers)
            if len(named) == len(headers) and b"\n".join(named).islower():
                texts: List[Any] = [
                    value.decode("latin-1") if type(value) is bytes else value
                    for value in map(named.get, (b"traceparent", b"tracestate", b"baggage", b"langsmith-trace"))
                ]
                if _are_usual(texts):
                    return tuple(texts)
    except (TypeError, ValueError):
        pass  # a name or an item has another type
    return None


def _are_usual(fields: Iterable[object]) -> bool:
    for field in fields:  # noqa: SIM110  a generator expression takes twice as long
        # The comparison looks at the first character: an empty value or leading white space is not usual.
        if field is not None and not (type(field) is str and "!" <= field < "\x7f"):
            return False
    return True


def _collect(headers: Any, found: Dict[str, str], repeated: Dict[str, List[str]]) -> None:
    for key, value in islice(_pairs_of(headers), MOST_HEADERS):
        if type(key) is str:
            if key[:1] not in _STARTS:
                continue
            name = key if key in _NAMES else key.lower()
        elif type(key) is bytes:
            if key[:1] not in _STARTS_IN_BYTES:
                continue
            name = _IN_BYTES.get(key) or key.decode("latin-1").lower()
        else:
            name = _text_of(key).lower()
        if name not in _NAMES:
            continue
        for text in (value,) if type(value) is str else _texts_of(value):
            if not text or text.isspace():
                continue
            if name not in found:
                found[name] = text
            else:
                repeated.setdefault(name, [found[name]]).append(text)


def _combine(found: Dict[str, str], repeated: Dict[str, List[str]]) -> None:
    for name, values in repeated.items():
        if name not in _LISTS:
            remedy = f"expected one {name}, got {len(values)}; a new trace begins"
        elif sum(map(len, values)) > MOST_CHARS:
            remedy = f"expected at most {MOST_CHARS:,} characters in all headers named {name}; they are ignored"
        else:
            found[name] = ",".join(values)
            continue
        del found[name]
        report(f"{name.replace('-', '_')}_refused", remedy)


def _pairs_of(headers: Any) -> Iterable[Any]:
    if type(headers) is list:
        return headers
    if (type(headers) is dict or isinstance(headers, Mapping)) and "wsgi.version" in headers:
        return [(name, headers[variable]) for variable, name in _IN_ENVIRON if variable in headers]
    if type(headers) is dict:
        return headers.items()
    # `items` of httpx joins the values of a name. In other libraries, `items` yields each value with its name.
    for method in ("multi_items", "items"):
        if hasattr(headers, method):
            pairs: Iterable[Any] = getattr(headers, method)()
            return pairs
    return () if headers is None or isinstance(headers, (str, bytes)) else iter(headers)


def _texts_of(value: Any) -> List[str]:
    return [plain(_text_of(item)) for item in (value[:MOST_HEADERS] if isinstance(value, (list, tuple)) else (value,))]


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    # HTTP defines headers as latin-1, in which all bytes are valid.
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else ""
