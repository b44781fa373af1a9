"""
Read and write W3C's `tracestate`: a list to which each tracing system on the way may add data of its own.

It has no meaning without a `traceparent`, which is in `clew.propagation.traceparent`.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, Optional, Tuple

from clew._shared.incidents import report
from clew.propagation._text import SHOWN_CHARS, plain, text_of

__all__ = ("TraceState",)

MOST_MEMBERS = 32
# Twice the length of 32 members of the greatest length, to allow for white space.
MOST_CHARS = 2 * MOST_MEMBERS * (256 + 1 + 256 + 1)

_REFUSED = "tracestate_refused"
_KEY = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_KEY_FORMAT = re.compile(_KEY, re.ASCII)
_VALUE_FORMAT = re.compile(_VALUE, re.ASCII)
_MEMBERS = re.compile(rf"(?:^|,)[ \t]*({_KEY})=({_VALUE})[ \t]*(?=,|\Z)", re.ASCII)


class TraceState:
    """
    The members of a `tracestate` header, in their order: the one that was changed last comes first.

    It is immutable: `updated` and `without` return a new instance.

    Args:
        members: pairs of key and value. Pairs that are not valid, later pairs with the same key, and all after the
            first 32 are left out, which is counted as ``"tracestate_members_dropped"`` in `clew.stats()`.

    Source:
        W3C Trace Context, levels 1 and 2, section 3.3.

    Example:
        >>> from clew.propagation.tracestate import TraceState
        >>> state = TraceState.from_header("rojo=00f067aa0ba902b7,congo=t61rcWkgMzE")
        >>> state.get("congo")
        't61rcWkgMzE'
        >>> state.updated("congo", "new").to_header()
        'congo=new,rojo=00f067aa0ba902b7'
    """

    __slots__ = ("_members",)

    _members: Dict[str, str]

    def __init__(self, members: Iterable[Tuple[str, str]] = ()) -> None:
        valid: Dict[str, str] = {}
        dropped = False
        for given_key, given_value in members:
            key, value = plain(given_key), plain(given_value)
            if len(valid) < MOST_MEMBERS and _is_member(key, value) and key not in valid:
                valid[key] = value
            else:
                dropped = True
        self._members = valid
        if dropped:
            report(
                "tracestate_members_dropped",
                f"expected at most {MOST_MEMBERS} valid members with different keys in a tracestate; "
                f"the others are left out",
            )

    @classmethod
    def from_header(cls, text: object) -> TraceState:
        """
        Read the value of the header, or several values joined by commas.

        If one member is not valid, or if there are more than 32, all are left out. That is counted as
        ``"tracestate_refused"`` in `clew.stats()`.
        """
        return cls._parse(text if type(text) is str else text_of(text, _REFUSED))

    @classmethod
    def _parse(cls, header: Optional[str]) -> TraceState:
        if not header:
            return _EMPTY
        members: Optional[Dict[str, str]] = dict(_MEMBERS.findall(header)) if len(header) <= MOST_CHARS else {}
        if not members or not len(members) == header.count(",") + 1 <= MOST_MEMBERS:
            members = _members_of(header)
            if members is None:
                report(_REFUSED, f"expected a valid tracestate, got {header[:SHOWN_CHARS]!a}; it is ignored")
        state = cls.__new__(cls)
        state._members = members or {}
        return state

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no member, because an empty header is not allowed.
        """
        return ",".join([f"{key}={value}" for key, value in self._members.items()]) or None

    def get(self, key: str) -> Optional[str]:
        """
        Return the value of the member with that key, None if there is none.
        """
        return self._members.get(key)

    def updated(self, key: str, value: str) -> TraceState:
        """
        Return a tracestate in which that member comes first. If there were 32 already, the last one is left out.

        A member whose key or value is not valid is left out.
        """
        return TraceState([(key, value), *((each, old) for each, old in self._members.items() if each != key)])

    def without(self, key: str) -> TraceState:
        """
        Return a tracestate without the member that has that key.
        """
        return TraceState((each, value) for each, value in self._members.items() if each != key)

    def items(self) -> Tuple[Tuple[str, str], ...]:
        """
        Return all pairs of key and value.
        """
        return tuple(self._members.items())

    def __bool__(self) -> bool:
        return bool(self._members)

    def __eq__(self, other: object) -> bool:
        return self.items() == other.items() if isinstance(other, TraceState) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.items())

    def __repr__(self) -> str:
        return f"TraceState({list(self.items())!r})"


_EMPTY = TraceState()


def _members_of(header: str) -> Optional[Dict[str, str]]:
    """
    Return the members of a header, some of which may be empty or repeated; None if one is not valid.
    """
    if len(header) > MOST_CHARS:
        return None
    members: Dict[str, str] = {}
    texts = [text for text in map(_stripped, header.split(",")) if text]
    for text in texts:
        key, _, value = text.partition("=")
        if not _is_member(key, value):
            return None
        members.setdefault(key, value)
    return members if len(texts) <= MOST_MEMBERS else None


def _stripped(text: str) -> str:
    return text.strip(" \t")


def _is_member(key: object, value: object) -> bool:
    if not isinstance(key, str) or not isinstance(value, str):
        return False
    return _KEY_FORMAT.fullmatch(key) is not None and _VALUE_FORMAT.fullmatch(value) is not None
