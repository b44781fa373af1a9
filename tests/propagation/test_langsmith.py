"""
`langsmith-trace` and LangSmith's keys in the baggage; its own SDK is in `test_langsmith_sdk`.
"""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any, Dict, List, Optional, Tuple
from uuid import UUID

import pytest

from clew.propagation import langsmith as module
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from tests.propagation._grammars import CHILD_RUN, ROOT_RUN, is_baggage, is_dotted_order

ROOT_ID = UUID("018f0000-0000-7000-8000-000000000001")
CHILD_ID = UUID("018f0000-0000-7000-8000-000000000002")
START_NS = 1_767_323_045_000_006_000
MEGABYTE = 1 << 20


def run_of(moment: str) -> str:
    return f"{moment}{ROOT_ID}"


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (ROOT_RUN, [(START_NS, ROOT_ID)]),
        (f"{ROOT_RUN}.{CHILD_RUN}", [(START_NS, ROOT_ID), (START_NS + 1000, CHILD_ID)]),
        # A child may start at the same time as its parent.
        (f"{ROOT_RUN}.{ROOT_RUN}", [(START_NS, ROOT_ID)] * 2),
        (f"\t {ROOT_RUN} \t", [(START_NS, ROOT_ID)]),
        (run_of("19700101T000000000000Z"), [(0, ROOT_ID)]),
        (run_of("20240229T235959999999Z"), [(1_709_251_199_999_999_000, ROOT_ID)]),
        (run_of("20000229T000000000000Z"), [(951_782_400_000_000_000, ROOT_ID)]),
        (run_of("20260131T000000000000Z"), [(1_769_817_600_000_000_000, ROOT_ID)]),
        (run_of("20260430T000000000000Z"), [(1_777_507_200_000_000_000, ROOT_ID)]),
        (run_of("99991231T235959999999Z"), [(253_402_300_799_999_999_000, ROOT_ID)]),
        (".".join([ROOT_RUN] * 1000), [(START_NS, ROOT_ID)] * 1000),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_header_that_is_valid_is_read_and_written(text: str, runs: List[Tuple[int, UUID]]) -> None:
    order = DottedOrder.from_header(text)
    assert order.runs == tuple(runs)
    assert (order.trace_id, order.run_id, order.start_ns) == (runs[0][1].hex, runs[-1][1].hex, runs[-1][0])
    assert order == DottedOrder(runs)
    assert order.to_header() == text.strip()
    assert is_dotted_order(text.strip())


def test_id_in_upper_case_is_the_same_id() -> None:
    order = DottedOrder.from_header(f"20260102T030405000006Z{str(ROOT_ID).upper()}")
    assert order == DottedOrder.from_header(ROOT_RUN)
    assert order.to_header() == ROOT_RUN


@pytest.mark.parametrize(
    "part",
    [
        "",
        " ",
        "garbage",
        "20260102T030405000006Z",
        str(ROOT_ID),
        ROOT_RUN[1:],
        ROOT_RUN[:-1],
        f"{ROOT_RUN}0",
        f"{ROOT_RUN}\n",
        f"{ROOT_RUN}\x00",
        f"{ROOT_RUN},{ROOT_RUN}",
        # Times that do not exist.
        run_of("20260230T030405000006Z"),
        run_of("20250229T030405000006Z"),
        run_of("20260431T030405000006Z"),
        run_of("20260132T030405000006Z"),
        run_of("21000229T030405000006Z"),
        run_of("20260100T030405000006Z"),
        run_of("20260001T030405000006Z"),
        run_of("20261301T030405000006Z"),
        run_of("20260102T240000000000Z"),
        run_of("20260102T036005000006Z"),
        run_of("20260102T030460000006Z"),
        run_of("00000102T030405000006Z"),
        # Before 1970.
        run_of("19691231T235959999999Z"),
        run_of("00010101T000000000000Z"),
        # Times in another form.
        run_of("20260102T030405006Z"),
        run_of("20260102T030405Z"),
        run_of("20260102T030405000006"),
        run_of("20260102t030405000006z"),
        run_of("2026-01-02T03:04:05.000006Z"),
        run_of("20260102T030405000006+"),
        run_of("+0260102T030405000006Z"),
        run_of("2026010 T030405000006Z"),
        run_of("\u0662\u0660\u0662\u06660102T030405000006Z"),
        # Ids that are not valid.
        ROOT_RUN.replace("018f", "018\u0661"),
        ROOT_RUN.replace("018f", "018g"),
        ROOT_RUN.replace("018f0000-", "018f00000"),
        ROOT_RUN.replace("-", ""),
        ROOT_RUN.replace("018f0000", "{18f000}"),
        ROOT_RUN.replace("-8000-", "-80-00"),
        "x" * MEGABYTE,
        "." * MEGABYTE,
        ".".join([ROOT_RUN] * 20_000),
    ],
    ids=lambda text: repr(text[:70]),
)
def test_one_part_that_is_not_valid_makes_a_new_trace(part: str) -> None:
    assert DottedOrder.from_header(part) is None
    assert DottedOrder.from_header(f"{ROOT_RUN}.{part}.{ROOT_RUN}") is None
    assert DottedOrder.from_header(f"{part}.") is None
    assert DottedOrder.from_header(f".{part}") is None


def test_white_space_between_the_runs_makes_a_new_trace() -> None:
    assert DottedOrder.from_header(f"{ROOT_RUN}. {CHILD_RUN}") is None
    assert DottedOrder.from_header(f"{ROOT_RUN} .{CHILD_RUN}") is None


@pytest.mark.parametrize("text", [f"{CHILD_RUN}.{ROOT_RUN}", f"{ROOT_RUN}.{CHILD_RUN}.{ROOT_RUN}"])
def test_child_may_come_from_a_clock_that_is_behind_its_parents(text: str) -> None:
    order = DottedOrder.from_header(text)
    assert order is not None
    assert order.to_header() == text
    assert DottedOrder(order.runs).to_header() is None


def nested(depth: int, brackets: str = "[]") -> str:
    return f'{{"k":{brackets[0] * depth}{brackets[1] * depth}}}'


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        (nested(63), True),
        (nested(64), False),
        (nested(8_000), False),
        ('{"k":"' + "[" * 500 + '"}', True),
        ('{"k":"\\"' + "[" * 500 + '"}', True),
        ('{"k":[' + "[]," * 500 + "[]]}", True),
        ('{"k":' + '{"a":' * 64 + "1" + "}" * 65, False),
        ("[" * 8_000, False),
    ],
)
def test_metadata_is_read_down_to_a_depth(text: str, is_read: bool) -> None:
    metadata = LangSmithBaggage.from_baggage(Baggage([BaggageMember("langsmith-metadata", text)])).metadata
    assert metadata == (json.loads(text) if is_read else {})


@pytest.mark.parametrize("nothing", [None, ROOT_RUN.encode(), 0, [ROOT_RUN], object(), DottedOrder])
def test_what_is_no_text_makes_a_new_trace(nothing: object) -> None:
    assert DottedOrder.from_header(nothing) is None


@pytest.mark.parametrize(
    "runs",
    [
        (),
        ((-1, ROOT_ID),),
        ((253_402_300_800_000_000_000, ROOT_ID),),
        ((1 << 200, ROOT_ID),),
        ((-(1 << 200), ROOT_ID),),
        ((START_NS, "garbage"),),
        ((START_NS, str(ROOT_ID)),),
        ((START_NS, None),),
        ((START_NS, ROOT_ID), (START_NS - 1, CHILD_ID)),
        ((START_NS, ROOT_ID), (START_NS, None)),
        (("0", ROOT_ID),),
        ((None, ROOT_ID),),
        ((0.5, ROOT_ID),),
        ((float("nan"), ROOT_ID),),
        ((START_NS,),),
        (5,),
        "ab",
    ],
)
def test_runs_that_a_header_may_not_have_are_not_written(runs: Any) -> None:
    assert DottedOrder(runs).to_header() is None


def test_parent_is_all_but_the_last_run() -> None:
    text = f"{ROOT_RUN}.{CHILD_RUN}.{CHILD_RUN}"
    runs = DottedOrder.from_header(text).runs
    for order in (DottedOrder.from_header(text), DottedOrder(runs)):
        assert order.parent.to_header() == f"{ROOT_RUN}.{CHILD_RUN}"
        assert order.parent.runs == runs[:-1]
        assert order.parent.parent == DottedOrder.from_header(ROOT_RUN)
        assert order.parent.parent.parent is None


def test_runs_that_are_given_are_named_as_those_that_are_read() -> None:
    runs = [(START_NS, ROOT_ID), (START_NS + 1000, CHILD_ID)]
    made, read = DottedOrder(runs), DottedOrder.from_header(f"{ROOT_RUN}.{CHILD_RUN}")
    for order in (made, read):
        assert order.runs == tuple(runs)
        assert (order.trace_id, order.run_id, order.start_ns) == (ROOT_ID.hex, CHILD_ID.hex, START_NS + 1000)
    # Also if a header may not have them.
    late = DottedOrder([(START_NS, ROOT_ID), (0, CHILD_ID)])
    assert (late.trace_id, late.run_id, late.start_ns) == (ROOT_ID.hex, CHILD_ID.hex, 0)
    assert late.parent == DottedOrder.from_header(ROOT_RUN)


def test_order_is_a_value() -> None:
    read, made = DottedOrder.from_header(ROOT_RUN), DottedOrder([(START_NS, ROOT_ID)])
    assert read == made
    assert hash(read) == hash(made)
    assert repr(read) == repr(made) == f"DottedOrder(runs=(({START_NS}, {ROOT_ID!r}),))"
    assert read != DottedOrder.from_header(CHILD_RUN)
    assert read != ROOT_RUN
    assert read != ((START_NS, ROOT_ID),)
    assert DottedOrder([(-1, ROOT_ID)]) != DottedOrder([(-2, ROOT_ID)])
    # Orders with the same header are equal.
    assert read == DottedOrder([(START_NS + 999, ROOT_ID)])
    assert pickle.loads(pickle.dumps(read)) == read
    assert copy.deepcopy(made) == made


def test_nothing_is_decoded_until_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UUID", None)
    monkeypatch.setattr(module, "_start_ns", None)
    order = DottedOrder.from_header(f"{ROOT_RUN}.{CHILD_RUN}")
    assert order.trace_id != order.run_id
    assert order.parent == DottedOrder.from_header(ROOT_RUN)
    assert order.to_header() == f"{ROOT_RUN}.{CHILD_RUN}"
    with pytest.raises(TypeError):
        order.start_ns


def test_time_is_written_to_the_microsecond() -> None:
    assert DottedOrder(((START_NS + 999, ROOT_ID),)).to_header() == ROOT_RUN


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("", LangSmithBaggage()),
        ("a=1", LangSmithBaggage()),
        ("langsmith-metadata=%7B%22k%22%3A%22v%22%7D", LangSmithBaggage({"k": "v"})),
        ('langsmith-metadata={"k":1}', LangSmithBaggage({"k": 1})),
        ("langsmith-tags=a%2Cb%20c", LangSmithBaggage(tags=("a", "b c"))),
        ("langsmith-tags=%2Ca%2C%2C", LangSmithBaggage(tags=("a",))),
        ("langsmith-project=My%20project", LangSmithBaggage(project_name="My project")),
        ("langsmith-project=", LangSmithBaggage()),
        # Spaces and members of others. LangSmith's own SDK loses its keys here.
        ("a=1;p, langsmith-tags=b , langsmith-project = c", LangSmithBaggage(tags=("b",), project_name="c")),
        # A value that is not valid does not affect the other keys.
        ("langsmith-metadata=garbage,langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        ("langsmith-metadata=,langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        ("langsmith-metadata=[1],langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        ("langsmith-metadata=null,langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        ("langsmith-metadata=%FF,langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        (f"langsmith-metadata={'[' * 16_000},langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        ("langsmith-metadata=" + "{%22a%22:" * 1800 + ",langsmith-tags=a", LangSmithBaggage(tags=("a",))),
        # If a key is repeated, the last valid member is read, as in LangSmith's own SDK.
        (
            "langsmith-tags=a,langsmith-tags=b,langsmith-project=c,langsmith-project=d,langsmith-tags=%2C",
            LangSmithBaggage(tags=("b",), project_name="d"),
        ),
        ("langsmith-project=c,langsmith-project=", LangSmithBaggage(project_name="c")),
        ("langsmith-metadata={},langsmith-metadata={%22k%22:1},langsmith-metadata=[", LangSmithBaggage({"k": 1})),
        ("langsmith-metadata={%22k%22:1},langsmith-metadata={}", LangSmithBaggage()),
        # LangSmith's other keys are never read.
        ("langsmith-replicas=[],langsmith-address=x", LangSmithBaggage()),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_keys_of_langsmith_are_read(header: str, found: LangSmithBaggage) -> None:
    assert LangSmithBaggage.from_baggage(Baggage.from_header(header)) == found


def test_keys_of_langsmith_are_written_before_all_others_and_in_the_place_of_older_ones() -> None:
    before = Baggage.from_header(
        "a=%31;p,langsmith-tags=old,langsmith-project=old,langsmith-address=x,b=2,langsmith-metadata={},"
        "langsmith-replicas=[],a=+3"
    )
    written = LangSmithBaggage({"k": "v"}, ("x", "y z"), "A, B").added_to(before).to_header()
    assert written == (
        "langsmith-project=A%2C%20B,langsmith-tags=x%2Cy%20z,langsmith-metadata={%22k%22:%22v%22},a=%31;p,b=2,a=+3"
    )
    assert LangSmithBaggage().added_to(before).to_header() == "a=%31;p,b=2,a=+3"
    assert LangSmithBaggage.without(before).to_header() == "a=%31;p,b=2,a=+3"
    assert LangSmithBaggage.without(Baggage.from_header("a=1,langsmith=2")).to_header() == "a=1,langsmith=2"


@pytest.mark.parametrize(
    ("others", "number"),
    [(",".join(["b=1"] * 64), 61), (f"b={'x' * 8190}", 0)],
    ids=["64 members", "8192 bytes"],
)
def test_members_of_others_are_those_that_do_not_fit(others: str, number: int) -> None:
    assert Baggage.from_header(others).to_header() == others
    own = LangSmithBaggage({"k": "v"}, ("t",), "p")
    written = own.added_to(Baggage.from_header(others)).to_header()
    assert is_baggage(written)
    assert LangSmithBaggage.from_baggage(Baggage.from_header(written)) == own
    assert written.count(",b=") == number


def test_metadata_that_does_not_fit_takes_nothing_else_along() -> None:
    written = LangSmithBaggage({"k": "x" * 8192}, ("t",), "p").added_to(Baggage.from_header("a=1")).to_header()
    assert written == "langsmith-project=p,langsmith-tags=t,a=1"


def test_baggage_of_langsmith_shares_nothing_that_changes() -> None:
    with pytest.raises(TypeError):
        LangSmithBaggage().metadata["k"] = "v"
    LangSmithBaggage.from_baggage(Baggage()).metadata["k"] = "v"
    assert LangSmithBaggage.from_baggage(Baggage()) == LangSmithBaggage() == ({}, (), None)
    for copied in (pickle.loads(pickle.dumps(LangSmithBaggage())), copy.deepcopy(LangSmithBaggage())):
        assert copied == LangSmithBaggage()


@pytest.mark.parametrize(
    ("tags", "project_name", "written"),
    [
        (("\ud800",), "\ud800", "langsmith-project=?,langsmith-tags=?"),
        ((1, None), 5, "langsmith-project=5,langsmith-tags=1%2CNone"),
        (5, "p", "langsmith-project=p"),
        (("",), "p", "langsmith-project=p"),
    ],
)
def test_what_is_no_text_is_written_valid_or_not_at_all(tags: Any, project_name: Any, written: str) -> None:
    assert LangSmithBaggage({}, tags, project_name).added_to(Baggage()).to_header() == written
    assert is_baggage(written)


class Unspeakable:
    """A value whose `__str__` raises."""

    def __str__(self) -> str:
        raise KeyError("nothing to say")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"k": [1, {"n": None}, "\u00e9", True]}, None),
        ({"k": "1+1=2,;%\\"}, None),
        ({"k": "\ud800"}, None),
        ({1: "a"}, {"1": "a"}),
        ({"k": ROOT_ID}, {"k": str(ROOT_ID)}),
        ({"k": float("nan"), "l": [float("inf"), -float("inf")]}, {"k": None, "l": [None, None]}),
        ({"k": "NaN", "l": "Infinity"}, None),
        # Metadata that cannot be written as JSON is left out; the rest is written.
        ({("a", "b"): 1}, {}),
        ({"k": Unspeakable()}, {}),
        (5, {}),
        ("text", {}),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, dict) else "",
)
def test_metadata_is_written_as_json(metadata: Any, text: Optional[Dict[str, Any]]) -> None:
    header = LangSmithBaggage(metadata, ("a",)).added_to(Baggage()).to_header()
    assert is_baggage(header)
    found = LangSmithBaggage.from_baggage(Baggage.from_header(header))
    assert found == ((metadata if text is None else text), ("a",), None)
    assert all("=" not in member.partition("=")[2] for member in header.split(",")), "JavaScript's SDK splits there"


def test_metadata_that_holds_itself_is_left_out() -> None:
    metadata: Dict[str, Any] = {}
    metadata["self"] = metadata
    assert LangSmithBaggage(metadata, ("a",)).added_to(Baggage()).to_header() == "langsmith-tags=a"
