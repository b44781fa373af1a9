"""
W3C `baggage`: names and values that the program itself sends along with a request.

Which of them are LangSmith's is for `clew.propagation.langsmith`.
"""

from __future__ import annotations

import re
from typing import Iterable, List, Optional, Tuple
from urllib.parse import quote, unquote

__all__ = ("Baggage", "BaggageMember")

# What everybody on the way has to pass on, and more than that need not arrive.
MOST_MEMBERS = 64
MOST_BYTES = 8192
# What is read: twice of it, as white space and members that are not valid are not passed on.
MOST_CHARS = 2 * MOST_BYTES

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# No quantifier stands on another one of the same characters: the time that this takes grows with the text only.
_PLAIN = r"[\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_VALUE = rf"{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*"
# As it should be written, where a `%` is there only for what is encoded.
_MEMBER = re.compile(rf"{_TOKEN.pattern}={_VALUE}(?:;{_TOKEN.pattern}(?:={_VALUE})?)*", re.ASCII)
_OWS = " \t"
# Two more may stand there as they are, but some readers take `+` for a space, and a second `=` for the end.
_UNRESERVED = "!#$&'()*-./:<>?@[]^_`{|}~"

Properties = Tuple[Tuple[str, Optional[str]], ...]


class BaggageMember:
    """
    Hold one name, its value, and what else is said of it. It never changes.

    Args:
        key: a token of HTTP's: ASCII letters, digits and some punctuation.
        value: any text; in the header it is percent-encoded.
        properties: pairs of key and value, None for a property that is a key only.
    """

    __slots__ = ("_text", "key", "properties", "value")

    key: str
    value: str
    properties: Properties
    _text: Optional[str]  # as it was read, so that it is passed on to the letter; only white space is left out

    def __init__(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> None:
        self.key = key
        self.value = value
        self.properties = tuple(properties)
        self._text = None

    @classmethod
    def from_text(cls, text: object) -> Optional[BaggageMember]:
        """
        Read one member; None if it is not valid.
        """
        if not isinstance(text, str):
            return None
        first, *rest = text.split(";")
        key, is_there, value = first.partition("=")
        key = key.strip(_OWS)
        if not is_there or _TOKEN.fullmatch(key) is None:
            return None
        member = cls(key, _decoded(value), _properties_of(rest) if rest else ())
        text = _without_white_space(text)
        if _MEMBER.fullmatch(text):
            member._text = text
        return member

    def to_text(self) -> Optional[str]:
        """
        Return the member as it stands in the header; None if its key is none that a header may have.
        """
        if self._text is not None:
            return self._text
        if not _is_token(self.key):
            return None
        text = f"{self.key}={_encoded(self.value)}"
        for key, value in self.properties:
            if _is_token(key):
                text += f";{key}" if value is None else f";{key}={_encoded(value)}"
        return text

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, BaggageMember) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._parts())

    def __repr__(self) -> str:
        return f"BaggageMember({', '.join(map(repr, self._parts()))})"

    def _parts(self) -> Tuple[str, str, Properties]:
        return self.key, self.value, self.properties


class Baggage:
    """
    Hold the members of a `baggage` header, in their order.

    It never changes: `updated` and `without` return another one.

    Args:
        members: what it holds. Two with the same key both stay.

    Source:
        W3C Baggage, section 3.

    Example:
        >>> from clew.propagation.baggage import Baggage
        >>> baggage = Baggage.from_header("userId=Am%C3%A9lie;seen, serverNode=DF%2028")
        >>> baggage.get("userId")
        'Amélie'
        >>> baggage.updated("isProduction", "no").to_header()
        'userId=Am%C3%A9lie;seen,serverNode=DF%2028,isProduction=no'
    """

    __slots__ = ("members",)

    members: Tuple[BaggageMember, ...]

    def __init__(self, members: Iterable[BaggageMember] = ()) -> None:
        self.members = tuple(members)

    @classmethod
    def from_header(cls, text: object) -> Baggage:
        """
        Read the value of the header, or several that are joined by commas.

        A member that is not valid is left out, and so is all that is not in the first 16 KiB as a whole.
        """
        if not isinstance(text, str) or not text:
            return _NOTHING
        if len(text) > MOST_CHARS:
            text = text[:MOST_CHARS].rpartition(",")[0]
        members: List[BaggageMember] = []
        for each in text.split(",", 2 * MOST_MEMBERS)[: 2 * MOST_MEMBERS]:
            member = BaggageMember.from_text(each)
            if member is not None:
                members.append(member)
        return cls(members)

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no member, as then there should be no header.

        There are at most 64 members, and 8,192 bytes; a member that does not fit is left out as a whole.
        """
        found: List[str] = []
        room = MOST_BYTES + 1
        for member in self.members:
            text = member.to_text()
            if text is None or len(text) + 1 > room:
                continue
            room -= len(text) + 1
            found.append(text)
            if len(found) == MOST_MEMBERS:
                break
        return ",".join(found) or None

    def get(self, key: str) -> Optional[str]:
        """
        Return the value of the first member with that key, None if there is none.
        """
        for member in self.members:
            if member.key == key:
                return member.value
        return None

    def updated(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> Baggage:
        """
        Return one with that member in the place of all that have the key, or at the end.
        """
        new = BaggageMember(key, value, properties)
        members: List[BaggageMember] = []
        for member in self.members:
            if member.key != key:
                members.append(member)
            elif new not in members:
                members.append(new)
        return Baggage(members if new in members else [*members, new])

    def without(self, *keys: str) -> Baggage:
        """
        Return one without the members that have one of those keys.
        """
        return Baggage(member for member in self.members if member.key not in keys)

    def __bool__(self) -> bool:
        return bool(self.members)

    def __eq__(self, other: object) -> bool:
        return self.members == other.members if isinstance(other, Baggage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.members)

    def __repr__(self) -> str:
        return f"Baggage({list(self.members)!r})"


_NOTHING = Baggage()


def _properties_of(texts: Iterable[str]) -> Tuple[Tuple[str, Optional[str]], ...]:
    found: List[Tuple[str, Optional[str]]] = []
    for text in texts:
        key, is_there, value = text.partition("=")
        key = key.strip(_OWS)
        if _TOKEN.fullmatch(key):
            found.append((key, _decoded(value) if is_there else None))
    return tuple(found)


def _without_white_space(text: str) -> str:
    # Around the signs, that is. What is left of it elsewhere makes the member one that is written anew.
    if " " in text or "\t" in text:
        parts = [part.partition("=") for part in text.split(";")]
        text = ";".join([f"{key.strip(_OWS)}{sign}{value.strip(_OWS)}" for key, sign, value in parts])
    return text


def _is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def _decoded(text: str) -> str:
    text = text.strip(_OWS)
    return unquote(text, errors="replace") if "%" in text else text


def _encoded(text: object) -> str:
    # Of what is no text nothing is known but that it should not be lost.
    return quote(text if isinstance(text, str) else str(text), safe=_UNRESERVED, errors="replace")
