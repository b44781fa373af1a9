"""
LangSmith's `langsmith-trace`, which is the dotted order of a run, and its keys in the `baggage`.

The rest of the baggage is for `clew.propagation.baggage`.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple
from uuid import UUID

from clew.propagation.baggage import Baggage

__all__ = ("DottedOrder", "LangSmithBaggage")

METADATA = "langsmith-metadata"
TAGS = "langsmith-tags"
PROJECT = "langsmith-project"

# A chain of runs that is longer than any program's stack.
MOST_CHARS = 1 << 16

_PART = re.compile(
    r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{6})Z"
    r"([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})",
    re.ASCII,
)

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  in UTC, as all of it


class DottedOrder(NamedTuple):
    """
    Hold the runs from the root down to one: the start and the id of each.

    Args:
        runs: pairs of the start, in nanoseconds since the epoch and exact to the microsecond, and the id.

    Source:
        LangSmith's ``dotted_order``: ``%Y%m%dT%H%M%S%fZ`` and the id of each run, joined by dots.

    Example:
        >>> from clew.propagation.langsmith import DottedOrder
        >>> text = "20260102T030405000006Z018f0000-0000-7000-8000-000000000001"
        >>> DottedOrder.from_header(text).runs[-1][1]
        UUID('018f0000-0000-7000-8000-000000000001')
        >>> DottedOrder.from_header(text).to_header() == text
        True
    """

    runs: Tuple[Tuple[int, UUID], ...]

    @classmethod
    def from_header(cls, text: object) -> Optional[DottedOrder]:
        """
        Read the value of the header; None if any part of it is not valid, which is for a new trace.
        """
        if not isinstance(text, str) or len(text) > MOST_CHARS:
            return None
        runs: List[Tuple[int, UUID]] = []
        earliest_ns = 0
        for part in text.strip(" \t").split("."):
            run = _run_of(part)
            # No run starts before its parent, nor the first one before 1970.
            if run is None or run[0] < earliest_ns:
                return None
            earliest_ns = run[0]
            runs.append(run)
        return cls(tuple(runs))

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no run, or one that the header may not have.

        That is one that started before its parent, before 1970 or after 9999.
        """
        parts: List[str] = []
        earliest_ns = 0
        for start_ns, run_id in self.runs:
            part = _part_of(start_ns, run_id) if start_ns >= earliest_ns else None
            if part is None:
                return None
            earliest_ns = start_ns
            parts.append(part)
        return ".".join(parts) or None


def _run_of(part: str) -> Optional[Tuple[int, UUID]]:
    found = _PART.fullmatch(part)
    if found is None:
        return None
    *moment, micros, run_id = found.groups()
    year, month, day, hour, minute, second = map(int, moment)
    try:
        since = datetime(year, month, day, hour, minute, second) - _EPOCH  # noqa: DTZ001  as above
    except ValueError:
        return None
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(micros) * 1_000, UUID(run_id)


def _part_of(start_ns: int, run_id: UUID) -> Optional[str]:
    if not isinstance(run_id, UUID):
        return None
    seconds, rest_ns = divmod(start_ns, 1_000_000_000)
    try:
        start = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
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
    """

    metadata: Mapping[str, Any] = {}
    tags: Tuple[str, ...] = ()
    project_name: Optional[str] = None

    @classmethod
    def from_baggage(cls, baggage: Baggage) -> LangSmithBaggage:
        """
        Read LangSmith's keys; what is not valid in them counts as not there.
        """
        tags = tuple(tag for tag in (baggage.get(TAGS) or "").split(",") if tag)
        return cls(_metadata_of(baggage.get(METADATA)), tags, baggage.get(PROJECT) or None)

    def added_to(self, baggage: Baggage) -> Baggage:
        """
        Return the baggage with these in the place of any that it has.
        """
        baggage = baggage.without(METADATA, TAGS, PROJECT)
        metadata = _json_of(self.metadata) if self.metadata else None
        if metadata is not None:
            baggage = baggage.updated(METADATA, metadata)
        if self.tags:
            baggage = baggage.updated(TAGS, ",".join(map(str, self.tags)))
        return baggage.updated(PROJECT, self.project_name) if self.project_name else baggage


def _metadata_of(text: Optional[str]) -> Dict[str, Any]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _json_of(metadata: Mapping[str, Any]) -> Optional[str]:
    try:
        text = json.dumps(dict(metadata), default=str, separators=(",", ":"))
        if "NaN" in text or "Infinity" in text:
            text = json.dumps(json.loads(text, parse_constant=_nothing), separators=(",", ":"))
        return text
    except Exception:  # noqa: BLE001  what is in there is the program's own, and a request to be sent
        return None


def _nothing(_: str) -> None:
    pass
