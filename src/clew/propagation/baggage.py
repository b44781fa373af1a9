"""
Read and write W3C's `baggage`: keys and values that a program sends along with its requests.

The keys that LangSmith uses are in `clew.propagation.langsmith`.
"""

from __future__ import annotations

import re
from typing import Container, Iterable, List, Optional, Sequence, Tuple, Union
from urllib.parse import quote, unquote

from clew._shared.incidents import report
from clew.propagation._text import SHOWN_CHARS, plain, text_of

__all__ = ("Baggage", "BaggageMember")

# Every system on the way must pass on this much. More may get lost.
MOST_MEMBERS = 64
MOST_BYTES = 8192
# Twice as much is read, because white space and members that are not valid are not passed on.
MOST_CHARS = 2 * MOST_BYTES
MOST_MEMBERS_READ = 2 * MOST_MEMBERS

_REFUSED = "baggage_members_refused"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# All valid members, each as its key and the rest of its text. The rest is decoded when it is first needed.
_ENTRIES = re.compile(rf"(?:^|,)[ \t]*({_TOKEN.pattern})[ \t]*=([^,]*)", re.ASCII)
# No quantifier is nested in another one over the same characters, so the time is linear in the length of the text.
_PLAIN = r"[\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_VALUE = rf"{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*"
# A member that can be passed on as it is: each `%` begins a code.
_MEMBER = re.compile(rf"{_TOKEN.pattern}={_VALUE}(?:;{_TOKEN.pattern}(?:={_VALUE})?)*", re.ASCII)
_HEADER = re.compile(rf"{_MEMBER.pattern}(?:,{_MEMBER.pattern})*", re.ASCII)
_OWS = " \t"
# `+` and `=` are allowed as well, but some readers decode `+` as a space and end the value at a second `=`.
_UNRESERVED = "!#$&'()*-./:<>?@[]^_`{|}~"
# All other printable characters, and their codes. `%` is the first one to be replaced, as all codes contain it.
_RESERVED = tuple([(sign, quote(sign, safe="")) for sign in '% "+,;=\\'])
# The codes that are usual in JSON. Replacing them one by one is faster than `unquote`. No character in the list may
# be part of a code.
_USUAL_CODES = tuple([(quote(sign, safe=""), sign) for sign in '" ,:{}[]+=;\\/@'])

Properties = Tuple[Tuple[str, Optional[str]], ...]


class BaggageMember:
    """
    One key of the baggage with its value and properties. Immutable.

    Args:
        key: a token as HTTP defines it: ASCII letters, digits and some punctuation.
        value: any text. It is percent-encoded in the header.
        properties: pairs of key and value; the value is None if the property has only a key.
    """

    __slots__ = ("_text", "key", "properties", "value")

    key: str
    value: str
    properties: Properties
    # The text that was read, without white space, so that it is passed on unchanged; or a cache of what was written.
    _text: Optional[str]

    def __init__(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> None:
        self.key = plain(key)
        self.value = plain(value)
        self.properties = tuple([(plain(name), plain(text)) for name, text in properties])
        self._text = None

    @classmethod
    def from_text(cls, text: object) -> Optional[BaggageMember]:
        """
        Read one member. Return None if it is not valid.

        A member of more than 16 KiB is not valid; it is counted as ``"baggage_members_refused"`` in `clew.stats()`.
        """
        member = text_of(text, _REFUSED)
        if len(member) > MOST_CHARS:
            report(_REFUSED, f"expected at most {MOST_CHARS:,} characters, got {len(member):,}; the member is not read")
            return None
        key, sign, rest = member.partition("=")
        key = key.strip(_OWS)
        return _member_of(key, rest) if sign and _TOKEN.fullmatch(key) else None

    def to_text(self) -> Optional[str]:
        """
        Return the text of the member in a header. Return None if a header may not have the key.

        A value that is no text is converted by `str`; if that fails, None is returned.
        """
        if self._text is not None:
            return self._text
        if not _is_token(self.key):
            return None
        try:
            text = f"{self.key}={_encoded(self.value)}"
            for key, value in self.properties:
                if _is_token(key):
                    text += f";{key}" if value is None else f";{key}={_encoded(value)}"
        except Exception:  # noqa: BLE001  `str(value)` is code of the program's; its error must not fail the request
            return None
        self._text = text
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
    The members of a `baggage` header, in their order.

    It is immutable: `updated` and `without` return a new instance.

    Args:
        members: several members may have the same key.

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

    __slots__ = ("_entries", "_header")

    # Each key with its member, or with the text that follows the key in the header until that has to be decoded.
    _entries: Sequence[Tuple[str, Union[str, BaggageMember]]]
    _header: Optional[str]  # a cache of `to_header`; empty before its first call

    def __init__(self, members: Iterable[BaggageMember] = ()) -> None:
        self._entries = [(member.key, member) for member in members]
        self._header = ""

    @classmethod
    def from_header(cls, text: object) -> Baggage:
        """
        Read the value of the header, or several values joined by commas.

        A header of more than 16 KiB is ignored, which is counted as ``"baggage_refused"`` in `clew.stats()`. Members
        that are not valid, and all after the first 128, are left out; that is counted as
        ``"baggage_members_refused"``, once for each header.
        """
        return cls._parse(text if type(text) is str else text_of(text, "baggage_refused"))

    @classmethod
    def _parse(cls, header: Optional[str]) -> Baggage:
        if not header:
            return NO_BAGGAGE
        if len(header) > MOST_CHARS:
            report(
                "baggage_refused",
                f"expected at most {MOST_CHARS:,} characters of baggage, got {len(header):,}; they are not read: "
                f"{header[:SHOWN_CHARS]!a}",
            )
            return NO_BAGGAGE
        commas = header.count(",")
        if commas >= MOST_MEMBERS_READ:
            header = ",".join(header.split(",", MOST_MEMBERS_READ)[:MOST_MEMBERS_READ])
        entries = _ENTRIES.findall(header)
        # One of several joined headers may be empty. An empty member is not refused.
        if commas >= MOST_MEMBERS_READ or (
            len(entries) <= commas and len(entries) != sum(1 for member in header.split(",") if member.strip(_OWS))
        ):
            report(
                _REFUSED,
                f"expected at most {MOST_MEMBERS_READ} valid members of baggage, got {header[:SHOWN_CHARS]!a}; "
                f"the others are left out",
            )
        return _baggage_of(entries)

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no member, because an empty header is not allowed.

        A header has at most 64 members and 8,192 bytes. A member that does not fit, or that no header may have, is
        left out as a whole. That is counted as ``"baggage_members_dropped"`` in `clew.stats()`, once for each baggage.
        """
        if self._header == "":
            self._header = _written(self)
        return self._header

    @property
    def members(self) -> Tuple[BaggageMember, ...]:
        """
        All members, decoded at each access.
        """
        return tuple(
            [_member_of(key, rest) if isinstance(rest, str) else rest for key, rest in self._entries],
        )

    def get(self, key: str) -> Optional[str]:
        """
        Return the value of the first member with that key, None if there is none.
        """
        for other, rest in self._entries:
            if other == key:
                return _value_of(rest)
        return None

    def get_all(self, key: str) -> Tuple[str, ...]:
        """
        Return the values of all members with that key.
        """
        return tuple([_value_of(rest) for other, rest in self._entries if other == key])

    def updated(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> Baggage:
        """
        Return a baggage in which that member replaces all members with the key, or is added at the end.
        """
        member = BaggageMember(key, value, properties)
        new = (member.key, member)
        entries: List[Tuple[str, Union[str, BaggageMember]]] = []
        for entry in self._entries:
            if entry[0] != key:
                entries.append(entry)
            elif new not in entries:
                entries.append(new)
        if new not in entries:
            entries.append(new)
        return _baggage_of(entries)

    def without(self, *keys: str) -> Baggage:
        """
        Return a baggage without the members that have one of those keys.
        """
        return self._without(keys)

    def _without(self, keys: Container[str]) -> Baggage:
        entries = [entry for entry in self._entries if entry[0] not in keys]
        if not entries:
            return NO_BAGGAGE
        return self if len(entries) == len(self._entries) else _baggage_of(entries)

    def only(self, *keys: str) -> Baggage:
        """
        Return a baggage of the members that have one of those keys.
        """
        return _baggage_of([entry for entry in self._entries if entry[0] in keys])

    def followed_by(self, other: Baggage) -> Baggage:
        """
        Return a baggage of these members and, after them, those of another baggage.
        """
        return _baggage_of([*self._entries, *other._entries])

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __eq__(self, other: object) -> bool:
        return self.members == other.members if isinstance(other, Baggage) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.members)

    def __repr__(self) -> str:
        return f"Baggage({list(self.members)!r})"


NO_BAGGAGE = Baggage()


def _baggage_of(entries: Sequence[Tuple[str, Union[str, BaggageMember]]]) -> Baggage:
    baggage = Baggage.__new__(Baggage)
    baggage._entries = entries
    baggage._header = ""
    return baggage


def _member_of(key: str, rest: str) -> BaggageMember:
    value, *properties = rest.split(";")
    member = BaggageMember(key, _decoded(value), _properties_of(properties) if properties else ())
    text = _without_white_space(f"{key}={rest}")
    if _MEMBER.fullmatch(text):
        member._text = text
    return member


def _value_of(rest: Union[str, BaggageMember]) -> str:
    return _decoded(rest.partition(";")[0]) if isinstance(rest, str) else rest.value


def _written(baggage: Baggage) -> Optional[str]:
    entries = baggage._entries
    if not entries:
        return None
    texts = [f"{key}={rest}" if isinstance(rest, str) else rest.to_text() or "" for key, rest in entries]
    header = ",".join(texts)
    if len(texts) <= MOST_MEMBERS and len(header) <= MOST_BYTES and _HEADER.fullmatch(header) is not None:
        return header
    kept: List[str] = []
    free_bytes = MOST_BYTES + 1  # the first member has no comma before it
    members = baggage.members
    for member in members:
        text = member.to_text()
        if text is not None and len(text) < free_bytes and len(kept) < MOST_MEMBERS:
            free_bytes -= len(text) + 1
            kept.append(text)
    if len(kept) < len(members):
        report(
            "baggage_members_dropped",
            f"expected at most {MOST_MEMBERS} valid members of baggage in {MOST_BYTES:,} bytes; the rest is not sent",
        )
    return ",".join(kept) or None


def _properties_of(texts: Iterable[str]) -> Tuple[Tuple[str, Optional[str]], ...]:
    found: List[Tuple[str, Optional[str]]] = []
    for text in texts:
        key, sign, value = text.partition("=")
        key = key.strip(_OWS)
        if _TOKEN.fullmatch(key):
            found.append((key, _decoded(value) if sign else None))
    return tuple(found)


def _without_white_space(text: str) -> str:
    # Only around `=` and `;`. A member with white space elsewhere is not passed on as it is, but encoded again.
    if " " in text or "\t" in text:
        parts = [part.partition("=") for part in text.split(";")]
        text = ";".join([f"{key.strip(_OWS)}{sign}{value.strip(_OWS)}" for key, sign, value in parts])
    return text


def _is_token(text: object) -> bool:
    return isinstance(text, str) and _TOKEN.fullmatch(text) is not None


def _decoded(text: str) -> str:
    text = text.strip(_OWS)
    if "%" not in text:
        return text
    for code, sign in _USUAL_CODES:
        text = text.replace(code, sign)
    return unquote(text, errors="replace") if "%" in text else text


def _encoded(text: object) -> str:
    # A value of another type is sent as its `str`.
    text = text if type(text) is str else str.__str__(str(text))
    if not text.isascii() or not text.isprintable():
        return quote(text, safe=_UNRESERVED, errors="replace")
    for sign, code in _RESERVED:
        text = text.replace(sign, code)
    return text
