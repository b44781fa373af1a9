"""
W3C `baggage`: names and values that the program itself sends along with a request.

Which of them are LangSmith's is for `clew.propagation.langsmith`.
"""

from __future__ import annotations

import re
from typing import AbstractSet, Iterable, List, Optional, Sequence, Tuple, Union
from urllib.parse import quote, unquote

from clew.propagation._refusals import plain, refuse, text_of

__all__ = ("Baggage", "BaggageMember")

# What everybody on the way has to pass on, and more than that need not arrive.
MOST_MEMBERS = 64
MOST_BYTES = 8192
# What is read: twice of it, as white space and members that are not valid are not passed on.
MOST_CHARS = 2 * MOST_BYTES
MOST_MEMBERS_READ = 2 * MOST_MEMBERS

_REFUSED = "baggage_members_refused"

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)
# The members that are valid, each as its key and all that follows: what that means is found out when somebody asks.
_ENTRIES = re.compile(rf"(?:^|,)[ \t]*({_TOKEN.pattern})[ \t]*=([^,]*)", re.ASCII)
# No quantifier stands on another one of the same characters: the time that this takes grows with the text only.
_PLAIN = r"[\x21\x23\x24\x26-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_VALUE = rf"{_PLAIN}(?:%[0-9A-Fa-f]{{2}}{_PLAIN})*"
# As it should be written, where a `%` is there only for what is encoded.
_MEMBER = re.compile(rf"{_TOKEN.pattern}={_VALUE}(?:;{_TOKEN.pattern}(?:={_VALUE})?)*", re.ASCII)
_HEADER = re.compile(rf"{_MEMBER.pattern}(?:,{_MEMBER.pattern})*", re.ASCII)
_OWS = " \t"
# Two more may stand there as they are, but some readers take `+` for a space, and a second `=` for the end.
_UNRESERVED = "!#$&'()*-./:<>?@[]^_`{|}~"
# The others that can be printed, first of all the one that all codes have.
_RESERVED = tuple([(sign, quote(sign, safe="")) for sign in '% "+,;=\\'])
# What JSON in a header is full of, as `unquote` takes its time. No sign in here may be one that a code has.
_USUAL_CODES = tuple([(quote(sign, safe=""), sign) for sign in '" ,:{}[]+=;\\/@'])

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
    # As it was read, so that it is passed on to the letter, and only white space is left out; or as it was written.
    _text: Optional[str]

    def __init__(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> None:
        self.key = plain(key)
        self.value = plain(value)
        self.properties = tuple([(plain(name), plain(said)) for name, said in properties])
        self._text = None

    @classmethod
    def from_text(cls, text: object) -> Optional[BaggageMember]:
        """
        Read one member; None if it is not valid.
        """
        key, is_there, rest = text_of(text, MOST_CHARS, _REFUSED).partition("=")
        key = key.strip(_OWS)
        return _member_of(key, rest) if is_there and _TOKEN.fullmatch(key) else None

    def to_text(self) -> Optional[str]:
        """
        Return the member as it stands in the header; None if its key is none that a header may have.

        A value that is no text is written as what `str` makes of it; None if that fails.
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
        except Exception:  # noqa: BLE001  the value is the program's own, and there is a request to be sent
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

    __slots__ = ("_entries", "_header")

    # Key and member, or what follows the key in the header, as nobody may ever ask for more.
    _entries: Sequence[Tuple[str, Union[str, BaggageMember]]]
    _header: Optional[str]  # as it was written, empty until then

    def __init__(self, members: Iterable[BaggageMember] = ()) -> None:
        self._entries = [(member.key, member) for member in members]
        self._header = ""

    @classmethod
    def from_header(cls, text: object) -> Baggage:
        """
        Read the value of the header, or several that are joined by commas.

        A member that is not valid is left out, and so are all after the first 128; of a header of more than
        16 KiB, everything. That is counted as ``"baggage_members_refused"`` or ``"baggage_refused"`` in
        `clew.stats()`, once for each header.
        """
        header = text if type(text) is str and len(text) <= MOST_CHARS else text_of(text, MOST_CHARS, "baggage_refused")
        if not header:
            return _NOTHING
        commas = header.count(",")
        if commas >= MOST_MEMBERS_READ:
            first = header.split(",", MOST_MEMBERS_READ)[:MOST_MEMBERS_READ]
            refuse(_REFUSED, f"a baggage header had more than {MOST_MEMBERS_READ} members, and these are read", header)
            header = ",".join(first)
        entries = _ENTRIES.findall(header)
        if len(entries) <= commas < MOST_MEMBERS_READ:
            # One of several headers may be empty.
            number = sum(1 for member in header.split(",") if member.strip(_OWS))
            if number != len(entries):
                refuse(_REFUSED, "a baggage header had members that are not valid, and the others are read", header)
        return _baggage_of(entries)

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header; None if there is no member, as then there should be no header.

        There are at most 64 members, and 8,192 bytes; a member that does not fit is left out as a whole, and
        so is one that no header may have. That is counted as ``"baggage_members_dropped"`` in `clew.stats()`,
        once for each baggage.
        """
        if self._header == "":
            self._header = _written(self)
        return self._header

    @property
    def members(self) -> Tuple[BaggageMember, ...]:
        """
        What it holds, decoded at each call.
        """
        return tuple(
            [_member_of(key, rest) if isinstance(rest, str) else rest for key, rest in self._entries],
        )

    def get(self, key: str) -> Optional[str]:
        """
        Return the value of the first member with that key, None if there is none.
        """
        for each, rest in self._entries:
            if each == key:
                return _value_of(rest)
        return None

    def get_all(self, key: str) -> Tuple[str, ...]:
        """
        Return the values of all members with that key.
        """
        return tuple([_value_of(rest) for each, rest in self._entries if each == key])

    def updated(self, key: str, value: str, properties: Iterable[Tuple[str, Optional[str]]] = ()) -> Baggage:
        """
        Return one with that member in the place of all that have the key, or at the end.
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
        Return one without the members that have one of those keys.
        """
        return self.without_any_of(frozenset(keys))

    def without_any_of(self, keys: AbstractSet[str]) -> Baggage:
        """
        Do what `without` does, with a set.
        """
        entries = [entry for entry in self._entries if entry[0] not in keys]
        if not entries:
            return _NOTHING
        return self if len(entries) == len(self._entries) else _baggage_of(entries)

    def followed_by(self, other: Baggage) -> Baggage:
        """
        Return one with the members of another after its own.
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


_NOTHING = Baggage()


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
    found: List[str] = []
    room = MOST_BYTES + 1
    dropped = False
    for member in baggage.members:
        text = member.to_text()
        if text is None or len(text) + 1 > room or len(found) == MOST_MEMBERS:
            dropped = True
            continue
        room -= len(text) + 1
        found.append(text)
    if dropped:
        refuse("baggage_members_dropped", "a baggage has more than fits into its header, or what no header may have")
    return ",".join(found) or None


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
    if "%" not in text:
        return text
    for code, sign in _USUAL_CODES:
        text = text.replace(code, sign)
    return unquote(text, errors="replace") if "%" in text else text


def _encoded(text: object) -> str:
    # Of what is no text nothing is known but that it should not be lost.
    text = text if type(text) is str else str.__str__(str(text))
    if not text.isascii() or not text.isprintable():
        return quote(text, safe=_UNRESERVED, errors="replace")
    for sign, code in _RESERVED:
        text = text.replace(sign, code)
    return text
