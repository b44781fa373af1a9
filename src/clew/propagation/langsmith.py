"""
LangSmith's `langsmith-trace`, which is the dotted order of a run, and its keys in the `baggage`.

The rest of the baggage is for `clew.propagation.baggage`.
"""

from __future__ import annotations

import json
import re
from datetime import date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Optional, Tuple
from uuid import UUID

from clew.propagation._refusals import refuse, text_of
from clew.propagation.baggage import Baggage, BaggageMember

__all__ = ("DottedOrder", "LangSmithBaggage")

METADATA = "langsmith-metadata"
TAGS = "langsmith-tags"
PROJECT = "langsmith-project"
# Where runs are sent to is not for somebody else to say, nor for somebody else to know.
ADDRESS = "langsmith-address"
REPLICAS = "langsmith-replicas"
KEYS = frozenset((PROJECT, TAGS, METADATA, ADDRESS, REPLICAS))

# A chain of runs that is longer than any program's stack.
MOST_CHARS = 1 << 16

# How long the start of a run is, and all of it with the dot.
STAMP_CHARS = 22
PART_CHARS = STAMP_CHARS + 36 + 1

# From 1970 to 9999. Which years have a 29th of February is looked at afterwards.
_DAY = (
    r"(?:19[7-9]|[2-9]\d\d)\d"
    r"(?:(?:0[1-9]|1[0-2])(?:0[1-9]|1\d|2[0-8])|(?:0[1-9]|1[0-2])29|(?:0[13-9]|1[0-2])30|(?:0[13578]|1[02])31)"
)
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PART = rf"{_DAY}T(?:[01]\d|2[0-3])[0-5]\d[0-5]\d{{7}}Z{_ID}"
_FORMAT = re.compile(rf"{_PART}(?:\.{_PART})*", re.ASCII)
_LEAP_DAY = re.compile(r"(\d{4})0229T", re.ASCII)
# Strings, in which brackets are none, and brackets.
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
# Of metadata: up to 3.9, a reader that runs into the limit of recursion may end the process.
MOST_DEPTH = 64
_IN_LOWER_CASE = {ord(letter): letter.lower() for letter in "ABCDEF"}

# `json.dumps` would make one each time.
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  in UTC, as all of it
_EPOCH_DAYS = _EPOCH.toordinal()


class DottedOrder:
    """
    Hold the runs from the root down to one: the start and the id of each.

    It never changes. Two are equal if they write the same header.

    Args:
        runs: pairs of the start, in nanoseconds since the epoch and exact to the microsecond, and the id.

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

    _runs: Optional[Tuple[Tuple[int, UUID], ...]]  # None until somebody asks
    _text: Optional[str]  # the header; empty until somebody asks, None if there is none

    def __init__(self, runs: Iterable[Tuple[int, UUID]]) -> None:
        self._runs = tuple(runs)
        self._text = ""

    @classmethod
    def from_header(cls, text: object) -> Optional[DottedOrder]:
        """
        Read the value of the header; None if any part of it is not valid, which is for a new trace.

        A run may have started before its parent: their clocks may be two, and JavaScript's has no
        microseconds. What is not valid is counted as ``"langsmith_trace_refused"`` in `clew.stats()`.
        """
        header = (
            text
            if type(text) is str and len(text) <= MOST_CHARS
            else text_of(text, MOST_CHARS, "langsmith_trace_refused")
        )
        if _FORMAT.fullmatch(header) is None:
            header = header.strip(" \t").translate(_IN_LOWER_CASE)
            if not header:
                return None
            if _FORMAT.fullmatch(header) is None:
                refuse("langsmith_trace_refused", "a langsmith-trace is not valid, and a new trace begins", header)
                return None
        if "0229T" in header and not _are_in_leap_years(header):
            refuse(
                "langsmith_trace_refused", "a langsmith-trace has a day that is none, and a new trace begins", header
            )
            return None
        return _order_of(header)

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no run, or one that the header may not have.

        What was read is written as it was. Of what was made here, no run may have started before its parent, as
        LangSmith sorts runs by their start, nor before 1970 or after 9999. None is counted as
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
        The id of the root, which is that of the trace, as 32 hexadecimal digits.
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
        All runs but the last one; None if that is the root.
        """
        if self._text:
            above = self._text[:-PART_CHARS]
            return _order_of(above) if above else None
        return DottedOrder(self.runs[:-1]) if len(self.runs) > 1 else None

    def __eq__(self, other: object) -> bool:
        return self._said() == other._said() if isinstance(other, DottedOrder) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._said())

    def __repr__(self) -> str:
        return f"DottedOrder(runs={self.runs!r})"

    def _said(self) -> object:
        return self._text or self.to_header() or self.runs


def _order_of(text: str) -> DottedOrder:
    order = DottedOrder.__new__(DottedOrder)
    order._runs = None
    order._text = text
    return order


def _are_in_order(header: str) -> bool:
    """
    Tell whether no run starts before its parent: later times are greater as text, too.
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
        pass  # a time that cannot be, or no pair of an int and a UUID
    refuse("langsmith_trace_dropped", "a run has a start or an id that no langsmith-trace may have, and is not written")
    return None


def _part_of(start_ns: int, run_id: UUID) -> str:
    if not isinstance(run_id, UUID):
        raise TypeError(run_id)
    seconds, rest_ns = divmod(start_ns, 1_000_000_000)
    start = _EPOCH + timedelta(seconds=seconds)
    if start < _EPOCH:
        raise ValueError(start_ns)
    # `strftime` takes three times as long.
    moment = start.isoformat().replace("-", "").replace(":", "")
    return f"{moment}{rest_ns // 1000:06d}Z{run_id}"


class LangSmithBaggage(NamedTuple):
    """
    Hold what LangSmith sends along with a run, for the runs under it.

    Args:
        metadata: any JSON object. NaN and infinity, which JSON has not, are written as null.
        tags: in the order of the header. LangSmith joins them by commas, so that no tag can have one.
        project_name: None if none is named.

    Source:
        The baggage of LangSmith's SDKs. They send where the runs are stored as well, in ``langsmith-address``
        and ``langsmith-replicas``, which are never trusted here and never passed on.
    """

    metadata: Mapping[str, Any] = MappingProxyType({})
    tags: Tuple[str, ...] = ()
    project_name: Optional[str] = None

    @classmethod
    def from_baggage(cls, baggage: Baggage) -> LangSmithBaggage:
        """
        Read LangSmith's keys; what is not valid in them counts as not there.

        Of several members with one key the last one that is valid holds, as it does in LangSmith's SDKs.
        Metadata that is not valid is counted as ``"langsmith_metadata_refused"`` in `clew.stats()`.
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
        Return the baggage with these at the start of it, and without any other key of LangSmith's.

        They come first, and the longest of them last, so that they are not the ones that do not fit.
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
        return baggage.without_any_of(KEYS)

    def __reduce__(self) -> Tuple[Any, ...]:
        # The default of the metadata cannot be pickled as it is.
        return LangSmithBaggage, (dict(self.metadata), self.tags, self.project_name)


def _depth_of(text: str) -> int:
    """
    Return how many brackets are open at once, in JSON at least.
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
        refuse("langsmith_metadata_refused", "metadata of LangSmith's in a baggage header is no JSON object", text)
    return None


def _json_of(metadata: Mapping[str, Any]) -> Optional[str]:
    try:
        text = _encode(dict(metadata))
        if "NaN" in text or "Infinity" in text:
            text = _encode(json.loads(text, parse_constant=_nothing))
        return text
    except Exception:  # noqa: BLE001  what is in there is the program's own, and a request to be sent
        refuse("langsmith_metadata_dropped", "metadata cannot be written as JSON, and is not sent along")
        return None


def _nothing(_: str) -> None:
    pass


def _joined(tags: Iterable[object]) -> str:
    try:
        return ",".join(map(str, tags))
    except Exception:  # noqa: BLE001  as above
        refuse("langsmith_tags_dropped", "expected tags that can be written as text, and none are sent along")
        return ""
