"""
`baggage`: each rule of W3C Baggage, and what OpenTelemetry makes of it.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any, List, Optional, Tuple

import pytest

from clew.propagation import baggage as module
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import Fields
from tests.propagation._grammars import BAGGAGE_CHARS, TOKEN_CHARS, is_baggage
from tests.propagation._opentelemetry import read_baggage, written_baggage

Member = Tuple[str, str, Tuple[Tuple[str, Optional[str]], ...]]

MEGABYTE = 1 << 20


def members_of(baggage: Baggage) -> List[Member]:
    return [(member.key, member.value, member.properties) for member in baggage.members]


@pytest.mark.parametrize(
    ("text", "members"),
    [
        # The specification's own examples.
        (
            "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue",
            [
                ("key1", "value1", (("property1", None), ("property2", None))),
                ("key2", "value2", ()),
                ("key3", "value3", (("propertyKey", "propertyValue"),)),
            ],
        ),
        (
            "userId=alice,serverNode=DF%2028,isProduction=false",
            [("userId", "alice", ()), ("serverNode", "DF 28", ()), ("isProduction", "false", ())],
        ),
        ("userId=Am%C3%A9lie", [("userId", "Am\u00e9lie", ())]),
        ("userId =   alice", [("userId", "alice", ())]),
        # White space around `=`, `;` and `,`.
        ("\t a \t=\t 1 \t;\t p \t=\t 2 \t;\t q \t,\t b=3\t ", [("a", "1", (("p", "2"), ("q", None))), ("b", "3", ())]),
        # A value may be empty, and may contain `=`.
        ("a=", [("a", "", ())]),
        ("a==", [("a", "=", ())]),
        ("a=b=c==;p=q=r", [("a", "b=c==", (("p", "q=r"),))]),
        ("a=1;p=", [("a", "1", (("p", ""),))]),
        # Percent-encoding in either letter case, and texts that only look like it.
        ("a=%e2%82%AC", [("a", "\u20ac", ())]),
        ("a=%2C%3B%5C%22%25%20%09", [("a", ',;\\"% \t', ())]),
        ("a=%41", [("a", "A", ())]),
        ("a=%2541", [("a", "%41", ())]),
        ("a=%00%0D%0A", [("a", "\x00\r\n", ())]),
        ("a=1;p=%2C", [("a", "1", (("p", ","),))]),
        ("a=1+2%2B3", [("a", "1+2+3", ())]),
        # Keys are not decoded.
        ("a%20b+c=1", [("a%20b+c", "1", ())]),
        # Bytes that are no UTF-8 are replaced: a single byte, a cut sequence, an overlong one, a surrogate.
        ("a=%FF", [("a", "\ufffd", ())]),
        ("a=x%C3y", [("a", "x\ufffdy", ())]),
        ("a=%C3%A9%E9", [("a", "\u00e9\ufffd", ())]),
        ("a=%C0%80", [("a", "\ufffd\ufffd", ())]),
        ("a=%ED%A0%80", [("a", "\ufffd\ufffd\ufffd", ())]),
        ("a=1;p=%FF", [("a", "1", (("p", "\ufffd"),))]),
        # A key may occur twice. Members keep their order.
        ("a=1,b=2,a=3,a=3", [("a", "1", ()), ("b", "2", ()), ("a", "3", ()), ("a", "3", ())]),
        ("a=1;p=2;p=3", [("a", "1", (("p", "2"), ("p", "3")))]),
        # All characters that are allowed.
        (
            f"{TOKEN_CHARS}={BAGGAGE_CHARS};{TOKEN_CHARS}={BAGGAGE_CHARS}",
            [(TOKEN_CHARS, BAGGAGE_CHARS, ((TOKEN_CHARS, BAGGAGE_CHARS),))],
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_header_that_is_valid_is_read_and_passed_on_to_the_letter(text: str, members: List[Member]) -> None:
    baggage = Baggage.from_header(text)
    assert members_of(baggage) == members
    assert baggage.to_header() == text.replace(" ", "").replace("\t", "")
    assert is_baggage(baggage.to_header())
    assert bool(baggage)


@pytest.mark.parametrize(
    "member",
    [
        "",
        " ",
        "b",
        "=",
        "=1",
        ";",
        ";b=1",
        ";=1",
        "b;c=1",
        "b c=1",
        "b(c)=1",
        '"b"=1',
        "b@c=1",
        "b/c=1",
        "[b]=1",
        "b\x00=1",
        "b\n=1",
        "\nb=1",
        "\u00a0b=1",
        "b\u00e4r=1",
        "\ud800=1",
        "\u0661=1",
    ],
    ids=repr,
)
def test_member_that_is_not_valid_is_left_out_alone(member: str) -> None:
    baggage = Baggage.from_header(f"a=1,{member},c=%33")
    assert members_of(baggage) == [("a", "1", ()), ("c", "3", ())]
    assert baggage.to_header() == "a=1,c=%33"
    assert not Baggage.from_header(member)
    assert Baggage.from_header(member).to_header() is None


@pytest.mark.parametrize(
    ("text", "value", "written"),
    [
        # Characters that should have been encoded. The meaning is clear.
        ("a=b c", "b c", "a=b%20c"),
        ("a=b\t\tc", "b\t\tc", "a=b%09%09c"),
        ('a="b"', '"b"', "a=%22b%22"),
        ("a=b\\c", "b\\c", "a=b%5Cc"),
        ("a=100%", "100%", "a=100%25"),
        ("a=%4", "%4", "a=%254"),
        ("a=%zz", "%zz", "a=%25zz"),
        ("a=\u00e9", "\u00e9", "a=%C3%A9"),
        ("a=b\x00\r\nx: y", "b\x00\r\nx: y", "a=b%00%0D%0Ax:%20y"),
        ("a=\ud800", "\ud800", "a=?"),
        # A property that is not valid is left out.
        ("a=%62;c d=2;;=;e=%66 ;g=h i", "b", "a=b;e=f;g=h%20i"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_member_that_is_not_encoded_is_written_as_it_should_be(text: str, value: str, written: str) -> None:
    baggage = Baggage.from_header(text)
    assert baggage.get("a") == value
    assert baggage.to_header() == written
    assert is_baggage(written)


@pytest.mark.parametrize("nothing", [None, b"a=1", 0, ["a=1"], {"a": "1"}, object(), Baggage])
def test_what_is_no_text_has_no_member(nothing: object) -> None:
    assert Baggage.from_header(nothing) == Baggage()
    assert BaggageMember.from_text(nothing) is None


def test_64_members_are_passed_on_and_no_more() -> None:
    members = [f"k{number}=%76;p" for number in range(64)]
    assert Baggage.from_header(",".join(members)).to_header() == ",".join(members)
    assert Baggage.from_header(",".join([*members, "more=1"])).to_header() == ",".join(members)


@pytest.mark.parametrize("others", [(), ("b=2",), ("b=2", "c=3;p")])
def test_8192_bytes_are_passed_on_and_no_more(others: Tuple[str, ...]) -> None:
    header = ",".join(["a=", *others])
    header = header.replace("a=", "a=" + "x" * (8192 - len(header)), 1)
    assert len(header) == 8192
    assert Baggage.from_header(header).to_header() == header
    # Only whole members are written. The last one does not fit.
    assert Baggage.from_header(f"a{header}").to_header() == (",".join(f"a{header}".split(",")[:-1]) or None)


def test_member_that_fits_is_passed_on_also_after_one_that_does_not() -> None:
    assert Baggage.from_header(f"a=1,b={'x' * 8187},c=3").to_header() == "a=1,c=3"


def test_limit_is_one_of_bytes_as_they_are_written() -> None:
    assert Baggage().updated("a", "\u20ac" * 910).to_header() == "a=" + "%E2%82%AC" * 910
    assert Baggage().updated("a", "\u20ac" * 911).to_header() is None
    assert Baggage().updated("a", "\u20ac" * 911).updated("b", "1").to_header() == "b=1"


@pytest.mark.parametrize(
    "text",
    [
        f"a={'x' * MEGABYTE}",
        f"a=1;p={'x' * MEGABYTE}",
        "x" * MEGABYTE,
        " " * MEGABYTE,
        "," * MEGABYTE,
        "a=" + "%41" * MEGABYTE,
        "a=1" + ";p" * MEGABYTE,
        "a=1," * MEGABYTE,
        f"a=1,b={'x' * MEGABYTE}",
        # Texts of which a part would be a valid member.
        f"{' ' * 16379},a=1234567",
        f"{' ' * 16379},a=1;p=567",
    ],
    ids=lambda text: repr(text)[-40:],
)
def test_header_that_is_too_large_has_no_member_in_part(text: str) -> None:
    assert Baggage.from_header(text) == Baggage()
    assert Baggage.from_header(text).to_header() is None


@pytest.mark.parametrize("part", ["x", "%41", "%", ";p", ";p=x", ";p=%41", "x%41", " ", "=", ";", "\u00e9", "%C3"])
@pytest.mark.parametrize("end", ["", '"', " y", "%", ";", "\x00"])
def test_time_to_read_grows_with_the_text_only(part: str, end: str) -> None:
    # A pattern with exponential backtracking would not end.
    text = f"a={part * (16_000 // len(part))}{end}"
    assert len(Baggage.from_header(text).members) == 1


def test_header_of_at_most_16_kib_is_read_and_of_that_the_first_128_members() -> None:
    text = ",".join(f"k{number}={'x' * 70}" for number in range(200))
    assert 8192 < len(text) <= 16384
    baggage = Baggage.from_header(text)
    assert [member.key for member in baggage.members] == [f"k{number}" for number in range(128)]
    assert Baggage.from_header(f"{'a' * 128},{text}".replace(",k0=", ",,k0=")).members == baggage.members[:126]
    assert not Baggage.from_header(text + " " * (16385 - len(text)))
    assert Baggage.from_header(text + " " * (16384 - len(text))) == baggage


@pytest.mark.parametrize("key", ["", "a b", "a,b", "a=b", "a;b", "\u00e9", "a\r\nx: y", "\ud800", None, 1, b"a", ()])
def test_member_with_a_key_that_cannot_be_written_is_left_out(key: Any) -> None:
    baggage = Baggage().updated("a", "1").updated(key, "2", [("p", "3")])
    assert baggage.get(key) == "2"
    assert baggage.to_header() == "a=1"
    assert Baggage().updated("a", "1", [(key, "2"), (key, None), ("p", None)]).to_header() == "a=1;p"


class Unspeakable:
    """A value whose `__str__` raises."""

    def __str__(self) -> str:
        raise KeyError("nothing to say")


def test_member_that_cannot_be_made_text_is_left_out() -> None:
    baggage = Baggage().updated("a", Unspeakable()).updated("b", "1").updated("c", "2", [("p", Unspeakable())])
    assert baggage.to_header() == "b=1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        (" 1 ", "%201%20"),
        (',;\\"%', "%2C%3B%5C%22%25"),
        ("\r\nx: y", "%0D%0Ax:%20y"),
        ("\x00\x7f", "%00%7F"),
        ("\u00e9\u20ac\U0001f642", "%C3%A9%E2%82%AC%F0%9F%99%82"),
        # Some readers decode `+` as a space, and end the value at a second `=`.
        ("1+1=2", "1%2B1%3D2"),
        (BAGGAGE_CHARS, BAGGAGE_CHARS.replace("+", "%2B").replace("=", "%3D")),
        # A single surrogate is no character.
        ("\ud800", "?"),
        ("a\udfff\u00e9%", "a?%C3%A9%25"),
        (12, "12"),
        (None, "None"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_value_is_encoded(value: Any, text: str) -> None:
    header = Baggage().updated("a", value, [("p", str(value))]).to_header()
    assert header == f"a={text};p={text}"
    assert is_baggage(header)
    assert Baggage.from_header(header).get("a") == str(value).encode(errors="replace").decode()


def test_member_that_is_changed_keeps_its_place() -> None:
    baggage = Baggage.from_header("a=1;p,b=%32,a=3")
    assert baggage.updated("a", "new").to_header() == "a=new,b=%32"
    assert baggage.updated("a", "1", [("p", None)]).to_header() == "a=1;p,b=%32"
    assert baggage.updated("b", "2").to_header() == "a=1;p,b=2,a=3"
    assert baggage.updated("c", "4", [("q", None), ("r", "5")]).to_header() == "a=1;p,b=%32,a=3,c=4;q;r=5"
    assert baggage.without("a").to_header() == "b=%32"
    assert baggage.without("a", "b").to_header() is None
    assert baggage.without("c", "A") == baggage
    assert baggage.to_header() == "a=1;p,b=%32,a=3"
    assert [baggage.get(key) for key in "abc"] == ["1", "2", None]


def test_member_that_is_made_takes_the_place_of_all_that_are_read() -> None:
    baggage = Baggage.from_header("a=1,b=2,a=3")
    assert baggage.updated("a", "4").updated("a", "4").to_header() == "a=4,b=2"
    # Also if an equal member is there already.
    assert baggage.updated("a", "4").updated("a", "5").updated("c", "6").to_header() == "a=5,b=2,c=6"


def test_values_of_one_key_are_all_there() -> None:
    baggage = Baggage.from_header("a=%31;p,b=2, a = 3 ").updated("c", "4")
    assert baggage.get_all("a") == ("1", "3")
    assert baggage.get_all("c") == ("4",)
    assert baggage.get_all("d") == ()


def test_baggage_follows_another_to_the_letter() -> None:
    first, second = Baggage.from_header("a=%31;p"), Baggage.from_header("b=%32, a=3")
    assert first.followed_by(second).to_header() == "a=%31;p,b=%32,a=3"
    assert first.followed_by(Baggage()) == first
    assert (first.to_header(), second.to_header()) == ("a=%31;p", "b=%32,a=3")


def test_nothing_is_decoded_until_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: List[str] = []
    monkeypatch.setattr(module, "unquote", lambda text, **_: decoded.append(text) or text)
    baggage = Baggage.from_header("a=%31;p=%32,b=%33")
    assert baggage.to_header() == "a=%31;p=%32,b=%33"
    assert baggage.without("a").to_header() == "b=%33"
    assert decoded == []
    baggage.get("b")
    assert decoded == ["%33"]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_baggage_can_be_pickled(protocol: int) -> None:
    baggage = Baggage.from_header("a=%31;p").updated("b", "2")
    assert pickle.loads(pickle.dumps(baggage, protocol)) == baggage
    assert copy.deepcopy(baggage).to_header() == "a=%31;p,b=2"


def test_baggage_is_a_value() -> None:
    read = Baggage.from_header("a=%31;p")
    made = Baggage([BaggageMember("a", "1", [("p", None)])])
    assert read == made
    assert hash(read) == hash(made)
    assert repr(read) == repr(made) == "Baggage([BaggageMember('a', '1', (('p', None),))])"
    assert read != Baggage.from_header("a=1")
    assert read != "a=%31;p"
    assert read.members[0] != "a=%31;p"
    assert not Baggage()


def test_opentelemetry_and_clew_read_each_other() -> None:
    values = {"a": "1", "user.id": "Am\u00e9lie \u20ac", "b": "1+1=2", "c": ',;\\"%', "d": "%2B"}
    baggage = Baggage()
    for key, value in values.items():
        baggage = baggage.updated(key, value)
    assert read_baggage({"baggage": baggage.to_header()}) == values
    # OpenTelemetry writes a space as `+`, against the specification.
    plain = {key: value for key, value in values.items() if " " not in value}
    assert [(member.key, member.value) for member in Baggage.from_header(written_baggage(plain)).members] == list(
        plain.items()
    )


def test_plus_is_a_space_to_opentelemetry_only() -> None:
    assert read_baggage({"baggage": "a=1+2"}) == {"a": "1 2"}
    assert written_baggage({"a": "1 2"}) == "a=1+2"
    assert Baggage.from_header("a=1+2").get("a") == "1+2"
    assert Baggage().updated("a", "1 2").to_header() == "a=1%202"


def test_properties_become_part_of_the_value_in_opentelemetry_only() -> None:
    header = "a=1;ttl=30;seen"
    assert written_baggage(read_baggage({"baggage": header})) == "a=1%3Bttl%3D30%3Bseen"
    assert Baggage.from_header(header).to_header() == header
    assert Baggage.from_header(header).get("a") == "1"


def test_second_header_is_lost_in_opentelemetry_only() -> None:
    headers = {"baggage": ["a=1", "b=2"]}
    assert read_baggage(headers) == {"a": "1"}
    assert Baggage.from_header(Fields.from_headers(headers).baggage).to_header() == "a=1,b=2"


def test_key_that_is_encoded_becomes_another_in_opentelemetry_only() -> None:
    header = "a%20b=1"
    assert written_baggage(read_baggage({"baggage": header})) == "a+b=1"
    assert Baggage.from_header(header).to_header() == header


def test_space_around_a_value_is_lost_in_opentelemetry_only() -> None:
    assert read_baggage({"baggage": "a=%20x%20"}) == {"a": "x"}
    assert Baggage.from_header("a=%20x%20").get("a") == " x "
