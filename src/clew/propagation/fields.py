"""
Reading the headers of a request in whichever shape somebody has them.

What the values mean is for the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from itertools import islice
from typing import Any, Dict, Iterable, List, Mapping as MappingOf, NamedTuple, Optional, Tuple

from clew._shared.incidents import report
from clew.propagation._refusals import refuse

__all__ = ("Fields", "all_values", "read_once")

_LISTS = frozenset(("tracestate", "baggage"))
_NAMES = frozenset(("traceparent", "langsmith-trace", *_LISTS))
# By the first letter, most headers of a request need no second look.
_STARTS = frozenset("tTbBlL")
_STARTS_IN_BYTES = frozenset((b"t", b"T", b"b", b"B", b"l", b"L"))
_IN_BYTES = {name.encode(): name for name in _NAMES}
_IN_ENVIRON = tuple([(f"HTTP_{name.upper().replace('-', '_')}", name) for name in sorted(_NAMES)])
# A request with more headers than this is none; servers stop at a hundred or so.
MOST_HEADERS = 10_000
MOST_USUAL = 100  # which is so many as are looked up together
# Of one name, in all of its headers: more than any reader takes.
MOST_CHARS = 1 << 16


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
        and Starlette, or an `email.message.Message`. Of anything else, nothing. A header that is empty is
        as good as none.

        `clew.stats()` counts a collection that cannot be read as ``"headers_unreadable"``, and a second
        `traceparent` or `langsmith-trace` as ``"traceparent_refused"`` and ``"langsmith_trace_refused"``.
        """
        usual = _usual(headers)
        if usual is not None:
            return tuple.__new__(cls, usual)  # faster than its own
        found: Dict[str, str] = {}
        repeated: Dict[str, List[str]] = {}
        try:
            _collect(headers, found, repeated)
        except Exception as error:  # noqa: BLE001  it is somebody else's collection, and a request to be served
            _report_unreadable(headers, error)
        if repeated:
            _combine(found, repeated)
        get = found.get
        return cls(get("traceparent"), get("tracestate"), get("baggage"), get("langsmith-trace"))

    @classmethod
    def from_environment(cls, environment: Optional[MappingOf[str, str]]) -> Fields:
        """
        Read the variables TRACEPARENT, TRACESTATE and BAGGAGE, as of `os.environ`.

        A variable that is empty or no str is as good as none.
        """
        if environment is None:
            return cls()
        found: List[Optional[str]] = []
        try:
            for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE"):
                value = environment.get(name)
                found.append(value if isinstance(value, str) and value and not value.isspace() else None)
        except Exception as error:  # noqa: BLE001  as above
            _report_unreadable(environment, error)
        return cls(*found)


def read_once(headers: Any) -> Any:
    """
    Return what can be read as often as one likes: the headers, or the pairs of what can be read but once.
    """
    if isinstance(headers, Sized) or hasattr(headers, "items") or hasattr(headers, "multi_items"):
        return headers
    pairs: List[Any] = []
    try:
        pairs.extend(islice(_pairs_of(headers), MOST_HEADERS))
    except Exception as error:  # noqa: BLE001  as above
        _report_unreadable(headers, error)
    return pairs


def all_values(headers: Any) -> Dict[str, List[str]]:
    """
    Return the values of all headers by name in lower case, for formats that have names of their own.

    It reads the shapes that `Fields.from_headers` reads, and of one that cannot be read what came before that.
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
    except Exception as error:  # noqa: BLE001  as above
        _report_unreadable(headers, error)
    return found


def _report_unreadable(headers: Any, error: Exception) -> None:
    report("headers_unreadable", f"headers in {type(headers).__name__} could not be read", error=error)


def _usual(headers: Any) -> Optional[Tuple[Optional[str], ...]]:
    """
    Return the fields of the usual request without a look at each header; None where that is needed.

    That is a dict of text, or a list of pairs of bytes, with all names in lower case and each of them once.
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
        pass  # it is something else
    return None


def _are_usual(fields: Iterable[object]) -> bool:
    for field in fields:  # noqa: SIM110  a generator expression takes twice as long
        # What is empty, or white space, is as good as none, and is none by its first character.
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
        text = value if type(value) is str else value.decode("latin-1") if type(value) is bytes else _text_of(value)
        if text and name not in found and not text.isspace():
            found[name] = text
        else:
            _add(name, value, found, repeated)


def _add(name: str, value: Any, found: Dict[str, str], repeated: Dict[str, List[str]]) -> None:
    for text in _texts_of(value):
        if not text or text.isspace():
            continue
        if name not in found:
            found[name] = text
        else:
            repeated.setdefault(name, [found[name]]).append(text)


def _combine(found: Dict[str, str], repeated: Dict[str, List[str]]) -> None:
    for name, values in repeated.items():
        if name in _LISTS and sum(map(len, values)) <= MOST_CHARS:
            found[name] = ",".join(values)
            continue
        del found[name]
        if name in _LISTS:
            refuse(f"{name}_refused", f"a request had more than {MOST_CHARS:,} characters in headers named {name}")
            continue
        kind = "traceparent_refused" if name == "traceparent" else "langsmith_trace_refused"
        refuse(kind, f"a request had {len(values)} headers named {name}, where one may be, and a new trace begins")


def _pairs_of(headers: Any) -> Iterable[Any]:
    if type(headers) is list:
        return headers
    if (type(headers) is dict or isinstance(headers, Mapping)) and "wsgi.version" in headers:
        return [(name, headers[variable]) for variable, name in _IN_ENVIRON if variable in headers]
    if type(headers) is dict:
        return headers.items()
    # httpx has all values of a name there; in the `items` of the others a name comes once for each.
    for method in ("multi_items", "items"):
        if hasattr(headers, method):
            pairs: Iterable[Any] = getattr(headers, method)()
            return pairs
    return () if headers is None or isinstance(headers, (str, bytes)) else iter(headers)


def _texts_of(value: Any) -> List[str]:
    return [_text_of(each) for each in (value[:MOST_HEADERS] if isinstance(value, (list, tuple)) else (value,))]


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    # What HTTP itself says of its bytes; none of it fails.
    return bytes(value).decode("latin-1") if isinstance(value, (bytes, bytearray, memoryview)) else ""
