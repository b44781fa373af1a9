"""
Random headers: readers never raise, writers write only what the specifications allow, and both agree.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Tuple
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings, strategies as st

from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import Fields, all_values
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import TraceParent
from clew.propagation.tracestate import TraceState
from tests.propagation._grammars import (
    BAGGAGE_CHARS,
    CHILD_RUN,
    HEX,
    PARENT,
    ROOT_RUN,
    STATE_CHARS,
    STATE_KEY_CHARS,
    STATE_KEY_STARTS,
    TOKEN_CHARS,
    is_baggage,
    is_dotted_order,
    is_traceparent,
    is_tracestate,
    moments_of,
)

if TYPE_CHECKING:
    from uuid import UUID

VALID = [
    PARENT,
    f"cc{PARENT[2:]}-more",
    "a=1,b@c= 2",
    "a=%31;p;q=%C3%A9, b = 2 ; p = 3 ,c=%FF",
    ROOT_RUN,
    f"{ROOT_RUN}.{CHILD_RUN}",
    "langsmith-metadata=%7B%22k%22%3A1%7D,langsmith-tags=a%2Cb,langsmith-project=c",
]


@st.composite
def damaged(draw: Callable[[Any], Any]) -> str:
    """Return a valid header with changes at a few places."""
    text: str = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 3)))
        text = text[:start] + draw(st.text(max_size=3) | st.sampled_from(list('-=,;.%+ \t\n\x00\\"0fFZ'))) + text[end:]
    return text


of_these_signs = st.text('aA0f-=,;.%+_@ \t\n\x00\\"\u00e9\u0661\ud800')
texts = st.one_of(damaged(), of_these_signs, st.text(), st.sampled_from(VALID))
not_texts = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.binary(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
)

tokens = st.text(TOKEN_CHARS, min_size=1, max_size=8)
octets = st.one_of(st.sampled_from(BAGGAGE_CHARS), st.text(string.hexdigits, min_size=2, max_size=2).map("%{}".format))
values = st.lists(octets, max_size=8).map("".join)
assignments = st.tuples(tokens, values).map("=".join)
members = st.tuples(assignments, st.lists(tokens | assignments, max_size=3)).map(
    lambda found: ";".join([found[0], *found[1]])
)
baggages = st.lists(members, min_size=1, max_size=64).map(",".join)

state_keys = st.tuples(st.sampled_from(STATE_KEY_STARTS), st.text(STATE_KEY_CHARS, max_size=12)).map("".join)
state_values = st.text(STATE_CHARS, max_size=12).map(lambda text: f"{text}!")
states = st.dictionaries(state_keys, state_values, min_size=1, max_size=32).map(
    lambda pairs: ",".join(map("=".join, pairs.items()))
)

parents = st.tuples(
    st.text(HEX, min_size=32, max_size=32).filter(lambda text: set(text) != {"0"}),
    st.text(HEX, min_size=16, max_size=16).filter(lambda text: set(text) != {"0"}),
    st.integers(0, 3),
).map(lambda found: f"00-{found[0]}-{found[1]}-{found[2]:02x}")

moments_ns = st.integers(0, 253_402_300_799_999_999).map(lambda micros: micros * 1000)
chains = st.lists(st.tuples(moments_ns, st.uuids()), min_size=1, max_size=6).map(
    lambda runs: tuple((moment, run_id) for moment, (_, run_id) in zip(sorted(moment for moment, _ in runs), runs))
)


def read_all(value: Any) -> List[Any]:
    """Return the result of each reader for the value."""
    baggage = Baggage.from_header(value)
    order = DottedOrder.from_header(value)
    return [
        order and (order.runs, order.trace_id, order.run_id, order.start_ns, order.parent),
        TraceParent.from_header(value),
        TraceState.from_header(value),
        baggage,
        BaggageMember.from_text(value),
        LangSmithBaggage.from_baggage(baggage),
        LangSmithBaggage.without(baggage),
        Fields.from_headers(value),
        all_values(value),
        all_values({"wsgi.version": (1, 0), value if isinstance(value, str) else "HTTP_X": value}),
        Fields.from_headers([("traceparent", value), (b"tracestate", value), ("Baggage", [value]), (value, "a=1")]),
        Fields.from_headers({"TRACEPARENT": value, "TRACESTATE": value, "BAGGAGE": value}),
    ]


def check_written(reader: Any, is_valid: Callable[[str], bool], value: Any) -> None:
    """Check that a written header is valid, and that reading and writing it again does not change it."""
    text = None if value is None else value.to_header()
    if text is None:
        return
    assert text.isascii()
    assert is_valid(text)
    again = reader.from_header(text)
    assert again.to_header() == text
    assert again == value


KINDS = [(TraceParent, is_traceparent), (TraceState, is_tracestate), (DottedOrder, is_dotted_order)]


@settings(deadline=None)
@given(texts | not_texts)
def test_readers_never_raise(value: Any) -> None:
    read_all(value)


@settings(deadline=None)
@given(texts)
@example("a=\x00 \ud800;p=%")
@example("a = %FF ; p = %ff")
def test_what_is_read_is_written_as_the_specifications_say(text: str) -> None:
    for reader, is_valid in KINDS:
        check_written(reader, is_valid, reader.from_header(text))
    written = Baggage.from_header(text).to_header()
    if written is not None:
        assert is_baggage(written)
        assert Baggage.from_header(written).to_header() == written


@pytest.mark.parametrize(
    ("reader", "is_valid", "headers"),
    [
        (TraceParent, is_traceparent, parents),
        (TraceState, is_tracestate, states),
        (Baggage, is_baggage, baggages),
        (DottedOrder, is_dotted_order, chains.map(lambda runs: DottedOrder(runs).to_header())),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_valid_is_read_and_passed_on_to_the_letter(
    reader: Any, is_valid: Callable[[str], bool], headers: st.SearchStrategy[str]
) -> None:
    @settings(deadline=None)
    @given(headers)
    def check(text: str) -> None:
        assert is_valid(text)
        assert reader.from_header(text).to_header() == text
        assert reader.from_header(f" {text}\t").to_header() == text

    check()


codes = st.tuples(st.integers(0, 255), st.booleans()).map(lambda found: f"%{found[0]:02{'xX'[found[1]]}}")


@settings(deadline=None)
@given(st.lists(codes | st.sampled_from(["%22", "%2C", "%", "%%", "2", "22", "C", '"', "\u00e9", "+"]), max_size=12))
def test_value_is_decoded_as_the_standard_library_does(parts: List[str]) -> None:
    text = "".join(parts)
    assert Baggage.from_header(f"a={text}").get("a") == unquote(text, errors="replace")


@settings(deadline=None)
@given(baggages, st.lists(st.sampled_from(["", " ", "\t", " \t "]), min_size=1))
def test_white_space_around_the_signs_says_nothing(text: str, spaces: List[str]) -> None:
    spaced, rest = "", ""
    numbers = iter(range(len(text)))
    for part in text.split(","):
        first, *properties = part.split(";")
        for each in (first, *properties):
            key, sign, value = each.partition("=")
            space = spaces[next(numbers) % len(spaces)]
            spaced += f"{rest}{space}{key}{space}{sign}{space}{value}{space}"
            rest = ";"
        rest = ","
    assert Baggage.from_header(spaced) == Baggage.from_header(text)
    if len(spaced) < 16_000:
        assert Baggage.from_header(spaced).to_header() == text


anything = st.one_of(st.text(), of_these_signs, st.integers(), st.none(), st.binary(), tokens)
properties_of_any_kind = st.lists(st.tuples(anything, anything), max_size=3)


@settings(deadline=None)
@given(st.lists(st.tuples(anything, anything, properties_of_any_kind), max_size=80))
def test_baggage_of_anything_is_written_valid_or_not_at_all(members: List[Tuple[Any, Any, Any]]) -> None:
    baggage = Baggage([BaggageMember(*member) for member in members])
    for key, value, properties in members[:5]:
        baggage = baggage.updated(key, value, properties)
    text = baggage.to_header()
    assert text is None or is_baggage(text)


@settings(deadline=None)
@given(st.lists(st.tuples(state_keys | anything, state_values | anything), max_size=40))
def test_state_of_anything_is_written_valid_or_not_at_all(pairs: List[Tuple[Any, Any]]) -> None:
    state = TraceState(pairs)
    for key, value in pairs[-5:]:
        check_written(TraceState, is_tracestate, state)
        state = state.updated(key, value)
        assert state.items()[:1] == ((key, value),) or state.get(key) is None
    check_written(TraceState, is_tracestate, state)


@settings(deadline=None)
@given(
    st.text(HEX) | st.text(HEX, min_size=32, max_size=32) | anything,
    st.text(HEX) | st.text(HEX, min_size=16, max_size=16) | anything,
    st.integers() | st.floats() | anything,
)
def test_parent_of_anything_is_written_valid_or_not_at_all(trace_id: Any, span_id: Any, flags: Any) -> None:
    text = TraceParent(trace_id, span_id, flags).to_header()
    assert text is None or is_traceparent(text)


@settings(deadline=None)
@given(chains | st.lists(st.tuples(st.integers() | anything, st.uuids() | anything), max_size=3).map(tuple))
def test_runs_of_any_time_are_written_valid_or_not_at_all(runs: Tuple[Tuple[int, UUID], ...]) -> None:
    text = DottedOrder(runs).to_header()
    if text is not None:
        assert is_dotted_order(text)
        assert moments_of(text) == sorted(moments_of(text))
        again = DottedOrder.from_header(text)
        assert again == DottedOrder(runs)
        assert again.runs == tuple((start // 1000 * 1000, run_id) for start, run_id in runs)
        assert (again.start_ns, again.run_id, again.trace_id) == (again.runs[-1][0], runs[-1][1].hex, runs[0][1].hex)
        assert again.parent == (DottedOrder(runs[:-1]) if len(runs) > 1 else None)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
tags_in_use = st.text(min_size=1, max_size=8).filter(lambda tag: "," not in tag and tag.isprintable())


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=8), json_values, max_size=4),
    st.lists(tags_in_use, max_size=4),
    st.none() | tags_in_use,
    baggages,
)
def test_what_langsmith_sends_along_comes_back(
    metadata: Dict[str, Any], tags: List[str], project_name: str | None, others: str
) -> None:
    sent = LangSmithBaggage(metadata, tuple(tags), project_name)
    text = sent.added_to(Baggage()).to_header() or ""
    if len(text) < 8000:
        assert LangSmithBaggage.from_baggage(Baggage.from_header(text)) == sent
    others_only = Baggage.from_header(others)
    assert LangSmithBaggage().added_to(sent.added_to(others_only)) == others_only


@settings(deadline=None)
@given(
    st.dictionaries(anything, anything, max_size=3) | anything,
    st.lists(anything, max_size=3) | anything,
    anything,
    st.lists(members, max_size=3).map(",".join) | st.integers(60, 70).map(lambda number: ",".join(["a=1;p"] * number)),
)
def test_langsmith_sends_anything_along_valid_or_not_at_all_and_first(
    metadata: Any, tags: Any, project_name: Any, others: str
) -> None:
    text = LangSmithBaggage(metadata, tags, project_name).added_to(Baggage.from_header(others)).to_header()
    assert text is None or is_baggage(text)
    alone = LangSmithBaggage(metadata, tags, project_name).added_to(Baggage()).to_header()
    assert alone is None or (text or "").startswith(alone)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["traceparent", "tracestate", "baggage", "langsmith-trace", "host"]), texts),
        max_size=8,
    )
)
def test_pairs_say_the_same_in_every_shape(pairs: List[Tuple[str, str]]) -> None:
    by_name: Dict[str, List[str]] = {}
    for key, value in pairs:
        by_name.setdefault(key, []).append(value)
    found = Fields.from_headers(pairs)
    assert all_values(pairs) == all_values(by_name) == by_name
    assert Fields.from_headers({key.upper(): values for key, values in by_name.items()}) == found
    assert Fields.from_headers([(key.encode(), value) for key, value in pairs]) == found
    single = {key: values[0] for key, values in by_name.items() if len(values) == 1}
    environ = {f"HTTP_{key.upper().replace('-', '_')}": value for key, value in single.items()}
    assert Fields.from_headers({**environ, "wsgi.version": (1, 0)}) == Fields.from_headers(single)
    assert Fields.from_headers({**single, "X-Other": "1"}) == Fields.from_headers(single)
    raw = [(key.encode(), value.encode("utf-8", "replace")) for key, value in pairs]
    assert Fields.from_headers([*raw, (b"X-Other", b"1")]) == Fields.from_headers(raw)
