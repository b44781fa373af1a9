"""
A text of a value is as long as its bound, and so is the work for it.
"""

from __future__ import annotations

import argparse
import sys
from array import array
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from types import MappingProxyType, SimpleNamespace
from typing import Any, Callable, List

import pytest

import clew
from clew.runs._tree.kept.copier import copy_value
from clew.runs._tree.kept.errors import describe_error, text_of
from clew.runs._tree.kept.texts import MAX_REPR_CHARS, bounded_repr, bounded_str


class Item:
    """
    An item that counts how often its text is asked for.
    """

    asked = 0

    def __repr__(self) -> str:
        Item.asked += 1
        return "item"

    __str__ = __repr__


class OwnList(list):  # type: ignore[type-arg]
    pass


class OwnSet(set):  # type: ignore[type-arg]
    pass


class OwnDict(dict):  # type: ignore[type-arg]
    pass


class Told(list):  # type: ignore[type-arg]
    def __repr__(self) -> str:
        return "<told>"


class Text(str):
    __slots__ = ()


class Level(IntEnum):
    LOW = 1


class Method:
    def __init__(self, items: Any) -> None:
        self.items = items

    def run(self) -> None:
        pass


@dataclass
class Record:
    items: Any
    secret: str = field(default="s", repr=False)


@dataclass(repr=False)
class Hidden(Record):
    hidden: str = "h"


@dataclass
class Custom:
    items: Any

    def __repr__(self) -> str:
        return "<custom>"


Pair = namedtuple("Pair", "items other")  # noqa: PYI024  the older form


def namespace(items: Any) -> Any:
    return argparse.Namespace(items=items)


SMALL: List[Any] = [
    [],
    [1, "a", None, 2.5, True, b"x", ...],
    (),
    (1,),
    (1, [2, (3,)]),
    {},
    {"a": 1, (1, 2): {"b": [3]}},
    set(),
    {1},
    frozenset(),
    frozenset({1}),
    OwnList([1]),
    OwnSet(),
    OwnSet({1}),
    OwnDict(a=1),
    Told([1]),
    Text("text"),
    Level.LOW,
    deque(),
    deque([1, "a"], maxlen=3),
    OrderedDict(),
    OrderedDict(a=1, b=[2]),
    defaultdict(list, a=[1]),
    Counter(),
    Counter("abbccc"),
    {"a": 1}.keys(),
    {"a": 1}.values(),
    {"a": 1}.items(),
    OrderedDict(a=1).keys(),
    OrderedDict(a=1).items(),
    UserDict(a=1),
    UserList([1]),
    UserString("text"),
    UserDict(a=1).keys(),
    ChainMap({"a": 1}, {"b": 2}),
    MappingProxyType({"a": 1}),
    SimpleNamespace(),
    SimpleNamespace(a=1, b="x"),
    namespace([1]),
    partial(print, 1, [2], end=""),
    partial(print),
    ValueError(),
    ValueError("a"),
    KeyError("a", [1]),
    OSError(2, "no such file"),
    Pair(1, "a"),
    Record([1]),
    Hidden([1]),
    Custom([1]),
    array("i", [1, 2]),
    1 << 4000,
    -(1 << 4000),
    "text with 'quotes' and \n",
    bytearray(b"x"),
]


@pytest.mark.parametrize("value", SMALL, ids=lambda value: type(value).__name__)
def test_text_of_a_small_value_is_its_repr(value: Any) -> None:
    expected = repr(bytes(value)) if isinstance(value, bytearray) else repr(value)
    assert bounded_repr(value) == expected
    assert bounded_repr([value]) == f"[{expected}]"


def test_text_of_a_bound_method_is_its_repr() -> None:
    method = OwnList([1]).append
    assert bounded_repr(method) == repr(method)
    run = Record([1]).__eq__
    assert bounded_repr(run) == repr(run)


LARGE: List[Callable[[List[Any]], Any]] = [
    lambda items: SimpleNamespace(items=items),
    lambda items: namespace(items),
    lambda items: SimpleNamespace(items=OwnList(items)),
    lambda items: SimpleNamespace(items=tuple(items)),
    lambda items: SimpleNamespace(items=set(items)),
    lambda items: SimpleNamespace(items=frozenset(items)),
    lambda items: SimpleNamespace(items=deque(items)),
    lambda items: SimpleNamespace(items=dict.fromkeys(items)),
    lambda items: SimpleNamespace(items=dict.fromkeys(items).keys()),
    lambda items: SimpleNamespace(items=OrderedDict.fromkeys(items)),
    lambda items: SimpleNamespace(items=defaultdict(int, dict.fromkeys(items))),
    lambda items: SimpleNamespace(items=Counter(dict.fromkeys(items, 1))),
    lambda items: SimpleNamespace(items=UserList(items)),
    lambda items: SimpleNamespace(items=UserDict(dict.fromkeys(items))),
    lambda items: SimpleNamespace(items=MappingProxyType(dict.fromkeys(items))),
    lambda items: SimpleNamespace(items=ChainMap(dict.fromkeys(items))),
    lambda items: SimpleNamespace(items=Record(items)),
    lambda items: SimpleNamespace(items=Pair(items, 1)),
    lambda items: SimpleNamespace(**{f"a{number}": item for number, item in enumerate(items)}),
    lambda items: partial(print, items),
    lambda items: partial(print, *items),
    lambda items: partial(print, end=items),
    lambda items: UserList(items).append,
    lambda items: ValueError(items),
    lambda items: ValueError(*items),
    lambda items: {tuple(items): 1},
    lambda items: {frozenset(items): 1},
]


@pytest.mark.parametrize("make", LARGE, ids=range(len(LARGE)))
def test_no_more_of_a_large_value_is_read_than_is_kept(make: Callable[[List[Any]], Any]) -> None:
    value = make([Item() for _ in range(50_000)])
    Item.asked = 0
    copied = str(copy_value(value))
    assert Item.asked <= MAX_REPR_CHARS
    assert "<cut: more than 4096 characters>" in copied
    assert len(copied) < MAX_REPR_CHARS + 100


@pytest.mark.parametrize(
    "value",
    [
        SimpleNamespace(text="x" * 50_000_000),
        SimpleNamespace(data=b"x" * 50_000_000),
        SimpleNamespace(data=memoryview(bytearray(50_000_000))),
        SimpleNamespace(number=1 << 50_000_000),
        SimpleNamespace(numbers=array("q", [1]) * 5_000_000),
        SimpleNamespace(text=Text("x" * 50_000_000)),
    ],
    ids=lambda value: next(iter(vars(value))),
)
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs tracemalloc, which PyPy has not")
def test_long_text_inside_of_a_value_is_not_copied_as_a_whole(value: Any) -> None:
    import tracemalloc

    tracemalloc.start()
    try:
        assert len(bounded_repr(value)) < MAX_REPR_CHARS + 100
        assert tracemalloc.get_traced_memory()[1] < 200_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [
        lambda size: "x" * size,
        lambda size: Text("x" * size),
        lambda size: MappingProxyType(dict.fromkeys(range(size // 50))),
        lambda size: KeyError("x" * size),
    ],
    ids=["text", "text of a subclass", "view of a dict", "error"],
)
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs tracemalloc, which PyPy has not")
def test_long_message_of_an_error_is_not_formatted_as_a_whole(make: Any) -> None:
    import tracemalloc

    errors = [ValueError(make(100)), ValueError(make(50_000_000))]
    text_of(describe_error(errors[0], None))  # imports what it needs
    tracemalloc.start()
    try:
        found = text_of(describe_error(errors[1], None))
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()
    assert found is not None
    assert "<cut: " in found[-50:]


def test_value_that_contains_itself_has_a_text() -> None:
    ring: Any = SimpleNamespace()
    ring.items = [ring]
    assert bounded_repr(ring) == "namespace(items=[namespace(...)])"
    loop: List[Any] = []
    loop.append(loop)
    assert bounded_repr(SimpleNamespace(loop=loop)) == "namespace(loop=[[...]])"


def test_deep_value_has_a_text() -> None:
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]
    assert bounded_repr(SimpleNamespace(deep=deep)).startswith("namespace(deep=[[[[")


def test_fields_that_attrs_hides_or_formats_are_not_shown() -> None:
    attr = pytest.importorskip("attr", reason="needs attrs")

    @attr.s
    class Model:
        items = attr.ib()
        secret = attr.ib(default="s", repr=False)
        short = attr.ib(default="long", repr=lambda value: value[0])

    value = Model([1])
    assert bounded_repr(value) == repr(value)
    large = Model([Item() for _ in range(50_000)])
    Item.asked = 0
    assert "<cut: " in copy_value(large)
    assert Item.asked <= MAX_REPR_CHARS


def test_arrays_that_numpy_shows_as_a_whole_are_cut() -> None:
    numpy = pytest.importorskip("numpy", reason="needs NumPy")
    small = numpy.arange(6).reshape(2, 3)
    assert bounded_repr(small) == repr(small)
    large = numpy.arange(3_000_000)
    assert bounded_repr(large) == repr(large)  # a summary
    with numpy.printoptions(threshold=sys.maxsize):
        text = bounded_repr(large)
    assert text.endswith("<cut: 3000000 items of shape (3000000,)>")
    objects = numpy.array([Item() for _ in range(50_000)], dtype=object)
    Item.asked = 0
    assert "<cut: 50000 items" in bounded_repr(objects)
    assert Item.asked <= 100
    assert bounded_repr(objects[:2]) == "array([item, item], dtype=object)"
    assert len(bounded_repr(numpy.array(["x" * 1_000_000]))) < 100


def test_tables_that_pandas_shows_as_a_whole_are_cut() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame({"a": range(100_000)})
    assert bounded_repr(frame) == repr(frame)
    with pandas.option_context("display.max_rows", None):
        assert "<cut: DataFrame of shape (100000, 1)>" in bounded_repr(frame)
        assert "<cut: Series of shape (100000,)>" in bounded_repr(frame["a"])
        assert bounded_repr(frame[:3]) == repr(frame[:3])


@pytest.mark.parametrize(
    "value",
    [
        "text",
        Text("text"),
        [1],
        ValueError(),
        ValueError("a"),
        ValueError("a", 1),
        ValueError([1]),
        KeyError("a"),
        KeyError("a", 1),
        OSError(2, "no such file"),
        b"x",
        3,
        Item(),
    ],
    ids=repr,
)
def test_short_text_for_people_is_the_str(value: Any) -> None:
    assert bounded_str(value, 4_096) == str(value)


@pytest.mark.parametrize("wrap", [list, ValueError, KeyError, lambda items: ValueError(*items), SimpleNamespace])
def test_errors_and_tags_that_are_large_objects_are_read_up_to_their_bound(
    runs: clew.Recording, wrap: Callable[..., Any]
) -> None:
    items = [Item() for _ in range(200_000)]
    value = wrap(items) if wrap is not SimpleNamespace else SimpleNamespace(items=items)
    Item.asked = 0
    with clew.trace("run") as run:
        run.error = value
        run.add_tags([value])
    assert Item.asked <= 70_000 + MAX_REPR_CHARS
    assert "<cut: more than " in (runs.roots[0].error or "")
    assert "<cut: more than " in runs.roots[0].tags[0]


def test_tags_without_end_are_read_up_to_their_bound(runs: clew.Recording) -> None:
    def tags() -> Any:
        while True:
            yield "tag"

    with clew.trace("run", tags=tags()):
        pass
    assert runs.roots[0].tags[-1] == "<cut: more tags>"


def test_error_about_a_wrong_argument_shows_the_beginning_of_it() -> None:
    with pytest.raises(clew.errors.ArgumentTypeError) as caught:
        clew.trace("run", metadata=list(range(1_000_000)))  # type: ignore[arg-type]
    assert len(str(caught.value)) < 2 * MAX_REPR_CHARS
