"""
W3C `tracestate`: what each tracing system on the way has to say of the trace, in a list that is passed on.

It means nothing without a `traceparent`: see `clew.propagation.traceparent`.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, Optional, Tuple

from clew.propagation._refusals import plain, refuse, text_of

__all__ = ("TraceState",)

MOST_MEMBERS = 32
# As many members as there may be, as long as they may be, and as much white space again.
MOST_CHARS = 2 * MOST_MEMBERS * (256 + 1 + 256 + 1)

_KEY = r"[a-z0-9][a-z0-9_\-*/@]{0,255}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_OF_KEY = re.compile(_KEY, re.ASCII)
_OF_VALUE = re.compile(_VALUE, re.ASCII)
_MEMBERS = re.compile(rf"(?:^|,)[ \t]*({_KEY})=({_VALUE})[ \t]*(?=,|\Z)", re.ASCII)


class TraceState:
    """
    Hold the members of a `tracestate` header, in their order; the one that was changed last is the first.

    It never changes: `updated` and `without` return another one.

    Args:
        members: pairs of key and value. What the header may not have is left out; of two with the same
            key, the first one stays, and of more than 32 the first 32. What is left out is counted as
            ``"tracestate_members_dropped"`` in `clew.stats()`.

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
        for each, said in members:
            key, value = plain(each), plain(said)
            if len(valid) < MOST_MEMBERS and _is_member(key, value) and key not in valid:
                valid[key] = value
            else:
                dropped = True
        self._members = valid
        if dropped:
            refuse("tracestate_members_dropped", "a tracestate may not have some of its members, or not that many")

    @classmethod
    def from_header(cls, text: object) -> TraceState:
        """
        Read the value of the header, or several that are joined by commas.

        If any member is not valid, or if there are more than 32, all are left out, which is counted as
        ``"tracestate_refused"`` in `clew.stats()`.
        """
        header = (
            text if type(text) is str and len(text) <= MOST_CHARS else text_of(text, MOST_CHARS, "tracestate_refused")
        )
        if not header:
            return _NOTHING
        members: Dict[str, str] = dict(_MEMBERS.findall(header))
        if not len(members) == header.count(",") + 1 <= MOST_MEMBERS:
            members = _members_of(header) or {}
        state = cls.__new__(cls)
        state._members = members
        return state

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no member, as then there should be no header.
        """
        return ",".join([f"{key}={value}" for key, value in self._members.items()]) or None

    def get(self, key: str) -> Optional[str]:
        """
        Return the value of a member, None if there is none.
        """
        return self._members.get(key)

    def updated(self, key: str, value: str) -> TraceState:
        """
        Return one in which that member is the first, and the last of 33 is not there any more.

        If the header may not have that key or value, the member is left out.
        """
        return TraceState([(key, value), *((each, old) for each, old in self._members.items() if each != key)])

    def without(self, key: str) -> TraceState:
        """
        Return one without that member.
        """
        return TraceState((each, value) for each, value in self._members.items() if each != key)

    def items(self) -> Tuple[Tuple[str, str], ...]:
        """
        Return the pairs of key and value.
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


_NOTHING = TraceState()


def _members_of(text: str) -> Optional[Dict[str, str]]:
    """
    Return the members of a header in which some are empty, there twice, or not valid.
    """
    members: Dict[str, str] = {}
    number = 0
    for each in text.split(","):
        member = each.strip(" \t")
        if not member:
            continue
        key, _, value = member.partition("=")
        number += 1
        if number > MOST_MEMBERS:
            refuse("tracestate_refused", f"a tracestate had more than {MOST_MEMBERS} members, and is left out", text)
            return None
        if not _is_member(key, value):
            refuse("tracestate_refused", "a tracestate is left out, as one of its members is not valid", member)
            return None
        members.setdefault(key, value)
    return members


def _is_member(key: object, value: object) -> bool:
    if not isinstance(key, str) or not isinstance(value, str):
        return False
    return _OF_KEY.fullmatch(key) is not None and _OF_VALUE.fullmatch(value) is not None
