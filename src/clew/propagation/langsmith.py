"""
Read and write LangSmith's `langsmith-trace`, which is the dotted order of a run, and LangSmith's keys in the `baggage`.

The other keys of the baggage are in `clew.propagation.baggage`.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple
from uuid import UUID

from clew._shared.incidents import report
from clew.propagation._text import SHOWN_CHARS, text_of
from clew.propagation.baggage import Baggage, BaggageMember

__all__ = ("DottedOrder", "LangSmithBaggage")

METADATA = "langsmith-metadata"
TAGS = "langsmith-tags"
PROJECT = "langsmith-project"
INHERITED_KEYS = (PROJECT, TAGS, METADATA)
# The last two say where runs are stored. A caller must neither choose that nor learn it.
KEYS = frozenset((*INHERITED_KEYS, "langsmith-address", "langsmith-replicas"))

# Longer than the dotted order of any run that is as deep as the stack.
MOST_CHARS = 1 << 16

_REFUSED = "langsmith_trace_refused"

# The length of the start of a run, and that of a whole part with its dot.
STAMP_CHARS = 22
PART_CHARS = STAMP_CHARS + 36 + 1

# From 1970 to 9999, with the 29th of February in each year: `_are_in_leap_years` checks the year.
_DAY = (
    r"(?:19[7-9]|[2-9]\d\d)\d"
    r"(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1\d|2[0-8])|(?:0[1-9]|1[0-2])29|(?:0[13-9]|1[0-2])30|(?:0[13578]|1[02])31)"
)
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PART = rf"{_DAY}T(?:[01]\d|2[0-3])[0-5]\d[0-5]\d{{7}}Z{_ID}"
_FORMAT = re.compile(rf"{_PART}(?:\.{_PART})*", re.ASCII)
_LEAP_DAY = re.compile(r"(\d{4})0229T", re.ASCII)
# Strings, in which brackets do not count, and brackets.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
# Of metadata. On 3.8 and 3.9, JSON that is nested deeper than the recursion limit can crash the interpreter.
MOST_DEPTH = 64
_IN_LOWER_CASE = {ord(letter): letter.lower() for letter in "ABCDEF"}

# `json.dumps` with these options would create an encoder at each call.
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  all times here are UTC
_EPOCH_DAYS = _EPOCH.toordinal()


class DottedOrder:
    """
    The path from a root run down to one run: the start time and the id of each run on it.

    Immutable. Two instances are equal if they write the same header.

    Args:
        runs: pairs of the start and the id. Starts are in nanoseconds since the epoch, exact to the microsecond.

    Source:
        LangSmith's ``dotted_order``: ``%Y%m%dT%H%M%S%fZ`` and the id of each run, joined by dots.

    Example:
        >>> from clew.propagation.langsmith import DottedOrder
        >>> text = "20260102T030405000006Z018f0000-0000-7000-8000-000000000001"
        >>> order = DottedOrder.from_header(text)
        >>> order.runs[-1][1]
        UUID('018f0000-0000-7000-8000-000000000001')
        >>> order.start_ns
        1767323045000006000
        >>> order.to_header() == text
        True
    """

    __slots__ = ("_runs", "_text")

    _runs: Optional[Tuple[Tuple[int, UUID], ...]]  # None before they are first needed
    _text: Optional[str]  # the header: empty before it is first needed, None if it cannot be written

    def __init__(self, runs: Iterable[Tuple[int, UUID]]) -> None:
        self._runs = tuple(runs)
        self._text = ""

    @classmethod
    def from_header(cls, text: object) -> Optional[DottedOrder]:
        """
        Read the value of the header. Return None if any part of it is not valid: then a new trace begins.

        A run may start before its parent, because they may have different clocks, and that of JavaScript has no
        microseconds. A header that is not valid is counted as ``"langsmith_trace_refused"`` in `clew.stats()`.
        """
        return cls._parse(text if type(text) is str else text_of(text, _REFUSED))

    @classmethod
    def _parse(cls, header: Optional[str]) -> Optional[DottedOrder]:
        if not header:
            return None
        if len(header) <= MOST_CHARS:
            order = header
            is_valid = _FORMAT.fullmatch(order) is not None
            if not is_valid:
                order = header.strip(" \t").translate(_IN_LOWER_CASE)
                if not order:
                    return None
                is_valid = _FORMAT.fullmatch(order) is not None
            if is_valid and ("0229T" not in order or _are_in_leap_years(order)):
                return _order_of(order)
        report(_REFUSED, f"expected a valid langsmith-trace, got {header[:SHOWN_CHARS]!a}; a new trace begins")
        return None

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no run, or if the header may not have one of the runs.

        A header that was read is written unchanged. In others, no run may start before its parent, because LangSmith
        sorts runs by their start, and all must start in the years from 1970 to 9999. None is counted as
        ``"langsmith_trace_dropped"`` in `clew.stats()`.
        """
        if self._text == "":
            self._text = _written(self.runs)
        return self._text

    @property
    def runs(self) -> Tuple[Tuple[int, UUID], ...]:
        """
        The runs from the root down, as pairs of start and id.
        """
        if self._runs is None:
            parts = (self._text or "").split(".")
            self._runs = tuple([(_start_ns(part), UUID(part[STAMP_CHARS:])) for part in parts])
        return self._runs

    @property
    def trace_id(self) -> str:
        """
        The id of the trace, which is that of the root run, as 32 hexadecimal digits.
        """
        return self._text[STAMP_CHARS : PART_CHARS - 1].replace("-", "") if self._text else self.runs[0][1].hex

    @property
    def run_id(self) -> str:
        """
        The id of the last run, as 32 hexadecimal digits.
        """
        return self._text[1 + STAMP_CHARS - PART_CHARS :].replace("-", "") if self._text else self.runs[-1][1].hex

    @property
    def start_ns(self) -> int:
        """
        The start of the last run, in nanoseconds since the epoch.
        """
        return _start_ns(self._text[1 - PART_CHARS :]) if self._text else self.runs[-1][0]

    @property
    def parent(self) -> Optional[DottedOrder]:
        """
        The path without its last run; None if that is the root.
        """
        if self._text:
            above = self._text[:-PART_CHARS]
            return _order_of(above) if above else None
        return DottedOrder(self.runs[:-1]) if len(self.runs) > 1 else None

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, DottedOrder) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"DottedOrder(runs={self.runs!r})"

    def _key(self) -> object:
        return self._text or self.to_header() or self.runs


def _order_of(text: str) -> DottedOrder:
    order = DottedOrder.__new__(DottedOrder)
    order._runs = None
    order._text = text
    return order


def _are_in_order(header: str) -> bool:
    """
    Return whether no run starts before its parent. Times have a format that sorts in the order of time.
    """
    last = header[:STAMP_CHARS]
    for at in range(PART_CHARS, len(header), PART_CHARS):
        stamp = header[at : at + STAMP_CHARS]
        if stamp < last:
            return False
        last = stamp
    return True


def _are_in_leap_years(header: str) -> bool:
    years = map(int, _LEAP_DAY.findall(header))
    return all(year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) for year in years)


def _start_ns(part: str) -> int:
    days = date(int(part[:4]), int(part[4:6]), int(part[6:8])).toordinal() - _EPOCH_DAYS
    seconds = days * 86_400 + int(part[9:11]) * 3600 + int(part[11:13]) * 60 + int(part[13:15])
    return seconds * 1_000_000_000 + int(part[15:21]) * 1_000


def _written(runs: Tuple[Tuple[int, UUID], ...]) -> Optional[str]:
    try:
        text = ".".join([_part_of(start_ns, run_id) for start_ns, run_id in runs])
        if text and _are_in_order(text):
            return text
    except (OverflowError, TypeError, ValueError):
        pass  # a start is outside of the years 1970 to 9999, or a run is no pair of an int and a UUID
    report(
        "langsmith_trace_dropped",
        "expected runs with a UUID, none of which starts before its parent or outside of 1970 to 9999; "
        "the langsmith-trace is not written",
    )
    return None


def _part_of(start_ns: int, run_id: UUID) -> str:
    if not isinstance(run_id, UUID):
        raise TypeError(run_id)
    seconds, rest_ns = divmod(start_ns, 1_000_000_000)
    start = _EPOCH + timedelta(seconds=seconds)
    if start < _EPOCH:
        raise ValueError(start_ns)
    # Three times as fast as `strftime`.
    moment = start.isoformat().replace("-", "").replace(":", "")
    return f"{moment}{rest_ns // 1000:06d}Z{run_id}"


class LangSmithBaggage(NamedTuple):
    """
    The options that runs below a parent inherit from it, as LangSmith sends them in the baggage.

    Args:
        metadata: any JSON object. JSON has no NaN and no infinity: null is written instead.
        tags: in the order of the header. LangSmith joins them by commas, so a tag cannot contain a comma.
        project_name: None if the header names no project.

    Source:
        The baggage of LangSmith's SDKs. They also send where runs are stored, in ``langsmith-address`` and
        ``langsmith-replicas``. These are neither read nor passed on here.
    """

    metadata: Mapping[str, Any] = MappingProxyType({})
    tags: Tuple[str, ...] = ()
    project_name: Optional[str] = None

    @classmethod
    def from_baggage(cls, baggage: Baggage) -> LangSmithBaggage:
        """
        Read LangSmith's keys. A value that is not valid is ignored.

        If several members have the same key, the last valid one is read, as in LangSmith's SDKs. Metadata that is not
        valid is counted as ``"langsmith_metadata_refused"`` in `clew.stats()`.
        """
        metadata: Dict[str, Any] = {}
        tags: Tuple[str, ...] = ()
        for text in reversed(baggage.get_all(METADATA)):
            found = _metadata_of(text)
            if found is not None:
                metadata = found
                break
        for text in reversed(baggage.get_all(TAGS)):
            tags = tuple([tag for tag in text.split(",") if tag])
            if tags:
                break
        names = [name for name in baggage.get_all(PROJECT) if name]
        return cls(metadata, tags, names[-1] if names else None)

    def added_to(self, baggage: Baggage) -> Baggage:
        """
        Return the baggage with these members at its start, in place of all keys of LangSmith's.

        They come first so that they fit into the header. The longest one, the metadata, is the last of them.
        """
        members = []
        if self.project_name:
            members.append(BaggageMember(PROJECT, self.project_name))
        tags = _joined(self.tags) if self.tags else ""
        if tags:
            members.append(BaggageMember(TAGS, tags))
        metadata = _json_of(self.metadata) if self.metadata else None
        if metadata is not None:
            members.append(BaggageMember(METADATA, metadata))
        others = LangSmithBaggage.without(baggage)
        return Baggage(members).followed_by(others) if members else others

    @staticmethod
    def without(baggage: Baggage) -> Baggage:
        """
        Return the baggage without any key of LangSmith's.
        """
        return baggage._without(KEYS)

    def __reduce__(self) -> Tuple[Any, ...]:
        # The default of `metadata`, a mappingproxy, cannot be pickled.
        return LangSmithBaggage, (dict(self.metadata), self.tags, self.project_name)


def _depth_of(text: str) -> int:
    """
    Return how deep the brackets of a JSON text are nested; 0 if there are too few of them to exceed the limit.
    """
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return 0
    depth = deepest = 0
    for sign in _BRACKETS.findall(text):
        if sign in ("[", "{"):
            depth += 1
            deepest = max(deepest, depth)
        elif sign in ("]", "}"):
            depth -= 1
    return deepest


def _metadata_of(text: str) -> Optional[Dict[str, Any]]:
    try:
        found = json.loads(text) if _depth_of(text) <= MOST_DEPTH else None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        return found
    if text:
        report(
            "langsmith_metadata_refused",
            f"expected langsmith-metadata as a JSON object, got {text[:SHOWN_CHARS]!a}; it is ignored",
        )
    return None


def _json_of(metadata: Mapping[str, Any]) -> Optional[str]:
    try:
        text = _encode(dict(metadata))
        if "NaN" in text or "Infinity" in text:
            text = _encode(json.loads(text, parse_constant=lambda _: None))
        return text
    except Exception:  # noqa: BLE001  the values are the program's; their errors must not fail the request
        report("langsmith_metadata_dropped", "expected metadata that can be written as JSON; it is not sent")
        return None


def _joined(tags: Iterable[object]) -> str:
    try:
        return ",".join(map(str, tags))
    except Exception:  # noqa: BLE001  the tags are the program's, too
        report("langsmith_tags_dropped", "expected tags that can be written as text; they are not sent")
        return ""
