"""
Copies of the values of a run are JSON-shaped and bounded, even if the methods of a value fail.
"""

from __future__ import annotations

import contextlib
import contextvars
import enum
import json
import math
import sys
import threading
from array import array
from collections import OrderedDict, UserDict, UserList, UserString, deque
from dataclasses import InitVar, dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Mapping, NamedTuple
from warnings import catch_warnings, simplefilter, warn

import pytest
from hypothesis import given, settings, strategies as st

import clew
from clew.runs._tree.kept import copier as payload, texts
from clew.runs._tree.kept.copier import copy_value
from clew.runs._tree.kept.signature import input_reader


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise AssertionError("called")


class Hostile:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error


class LyingClass:
    @property
    def __class__(self) -> Any:
        raise ValueError

    def __repr__(self) -> str:
        return "<LyingClass>"


class BadList(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise ValueError


@dataclass(frozen=True)
class Frozen:
    x: int


class Point(NamedTuple):
    x: int
    y: int


@pytest.mark.parametrize(
    ("value", "copied"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        ("text", "text"),
        ([1, (2, [3])], [1, [2, [3]]]),
        ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
        ({1: "a", None: "b", (1, 2): "c"}, {"1": "a", "None": "b", "(1, 2)": "c"}),
        ({False: 1, 2.5: 2, Colour.RED: 3, Text("t"): 4}, {"False": 1, "2.5": 2, "1": 3, "t": 4}),
        ({(1, 2): "a", (3, 4): "b", frozenset({5}): "c"}, {"(1, 2)": "a", "(3, 4)": "b", "frozenset({5})": "c"}),
        ({Frozen(1): "a", Frozen(2): "b"}, {"Frozen(x=1)": "a", "Frozen(x=2)": "b"}),
        ({1: "a", "1": "b", Text("1"): "c"}, {"1": "a", "1 (2)": "c"}),
        ({"1": "a", 1: "b", "1 (2)": "c", "2": "d"}, {"1": "a", "1 (2)": "b", "1 (2) (2)": "c", "2": "d"}),
        ({Hostile(ValueError()): 1}, {"<Hostile that cannot be copied: ValueError>": 1}),
        ({b"x" * 100: 1}, {repr(b"x" * 64) + "... <cut: 100 bytes>": 1}),
        ({3}, [3]),
        (Colour.RED, 1),
        (Text("t"), "t"),
        (Point(1, 2), [1, 2]),
        (OrderedDict(a=1), {"a": 1}),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (1 << 5000, "<int of 5001 bits>"),
        (b"bytes", "b'bytes'"),
        (b"x" * 100, repr(b"x" * 64) + "... <cut: 100 bytes>"),
        (memoryview(b"abc"), "b'abc'"),
        (Ellipsis, "Ellipsis"),
        (Hostile(ValueError()), "<Hostile that cannot be copied: ValueError>"),
        (Hostile(RecursionError()), "<Hostile that cannot be copied: RecursionError>"),
        ([1, Hostile(ValueError()), 3], [1, "<Hostile that cannot be copied: ValueError>", 3]),
        (LyingClass(), "<LyingClass>"),
        (BadList([1]), [1]),  # copied with list's own method, not the override
        (deque([1, 2]), [1, 2]),
        ({"a": (1,)}.keys(), ["a"]),
        ({"a": (1,)}.values(), [[1]]),
        ({"a": (1,)}.items(), [["a", [1]]]),
        (OrderedDict(a=1).keys(), ["a"]),
        (UserDict(a=(1,)), {"a": [1]}),
        (UserDict(a=1).values(), [1]),
        (UserList([(1,)]), [[1]]),
        (UserString("text"), "text"),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (MappingProxyType(UserDict(a=(1,))), {"a": [1]}),
        (array("i", [1, 2]), "array('i', [1, 2])"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_copy_is_json_shaped(value: Any, copied: Any) -> None:
    found = copy_value(value)
    assert found == copied
    json.dumps(found, allow_nan=False)


def test_an_interrupt_in_a_repr_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        copy_value(Hostile(KeyboardInterrupt()))


def test_long_strings_and_reprs_are_cut_with_a_marker() -> None:
    limit = payload.MAX_STRING_CHARS
    assert copy_value("x" * (limit - 1)) == "x" * (limit - 1)
    assert copy_value("x" * (limit + 5)) == "x" * limit + f"... <cut: {limit + 5} characters>"

    class Long:
        def __repr__(self) -> str:
            return "y" * 1_000_000

    assert len(copy_value(Long())) < texts.MAX_REPR_CHARS + 100


def test_long_keys_are_cut_with_a_marker_and_none_is_lost() -> None:
    limit = payload.MAX_STRING_CHARS
    cut = "x" * limit + f"... <cut: {limit + 1} characters>"
    found = copy_value({"x" * limit: 0, "x" * limit + "a": 1, "x" * limit + "b": 2, "short": 3})
    assert found == {"x" * limit: 0, cut: 1, f"{cut} (2)": 2, "short": 3}
    keys = list(copy_value({(i, "y" * 10_000): i for i in range(10)}))
    assert len(keys) == 10
    assert max(map(len, keys)) < texts.MAX_REPR_CHARS + 100


def test_keys_with_the_same_text_are_all_kept() -> None:
    class Same:
        def __repr__(self) -> str:
            return "same"

    found = copy_value({Same(): number for number in range(payload.MAX_ITEMS)})
    assert list(found.values()) == list(range(payload.MAX_ITEMS))
    found = copy_value({"...": 1, **{str(number): number for number in range(payload.MAX_ITEMS)}})
    assert found["..."] == 1
    assert found["... (2)"] == f"<cut: {payload.MAX_ITEMS + 1} items>"


def test_large_containers_are_cut_over_all_levels() -> None:
    found = copy_value([list(range(1000)) for _ in range(1000)])
    assert sum(len(item) for item in found) <= payload.MAX_ITEMS + 20
    assert found[-1] == "<cut: 1000 items>"
    assert len(copy_value({number: number for number in range(100_000)})) == payload.MAX_ITEMS + 1


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs tracemalloc, which PyPy has not")
@pytest.mark.parametrize(
    "make",
    [
        lambda numbers: array("q", numbers),
        lambda numbers: dict.fromkeys(numbers).keys(),
        lambda numbers: dict(enumerate(numbers)).values(),
        lambda numbers: dict(enumerate(numbers)).items(),
        lambda numbers: MappingProxyType(dict.fromkeys(numbers)),
        lambda numbers: UserDict(dict.fromkeys(numbers)),
        lambda numbers: UserDict(dict.fromkeys(numbers)).keys(),
        lambda numbers: UserList(numbers),
        lambda numbers: UserString("1234567890" * len(numbers)),
        lambda numbers: Text("1234567890" * len(numbers)),
    ],
)
def test_large_containers_of_the_standard_library_are_not_gone_through_to_their_end(make: Any) -> None:
    import tracemalloc

    value = make(range(1 << 31, (1 << 31) + 400_000))
    tracemalloc.start()
    try:
        copied = copy_value([value])
        assert tracemalloc.get_traced_memory()[1] < 3_000_000  # less than the repr of all items would take
    finally:
        tracemalloc.stop()
    assert "<cut: " in str(copied)[-100:]


def test_wrappers_that_contain_themselves_end() -> None:
    ring = UserList([1])
    ring.append(ring)
    assert "levels deep" in json.dumps(copy_value(ring))
    ring.data = ring
    assert copy_value(ring).startswith("<UserList that cannot be copied: ")


def test_a_value_that_contains_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "levels deep" in json.dumps(copy_value(loop))
    ring: dict[str, Any] = {}
    ring["again"] = ring
    assert "levels deep" in json.dumps(copy_value(ring))


def test_a_copy_shares_nothing_that_can_change() -> None:
    value = {"a": [1, {"b": [2]}]}
    copied = copy_value(value)
    value["a"].append(3)
    value["a"][1]["b"].append(4)
    assert copied == {"a": [1, {"b": [2]}]}


def test_a_dict_that_another_thread_fills_can_be_copied() -> None:
    value = {number: number for number in range(2000)}
    stop = threading.Event()

    def fill() -> None:
        number = 0
        while not stop.is_set():
            value[f"new {number % 1000}"] = number
            value.pop(f"new {(number + 500) % 1000}", None)
            number += 1

    thread = threading.Thread(target=fill)
    thread.start()
    try:
        for _ in range(50):
            assert copy_value(value)["1999"] == 1999
    finally:
        stop.set()
        thread.join()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers() | st.none(), inner)
    ),
    max_leaves=30,
)


@settings(deadline=None)  # a busy machine is no failure
@given(anything)
def test_every_value_has_a_copy_that_json_can_write_and_that_is_its_own_copy(value: Any) -> None:
    copied = copy_value(value)
    assert json.loads(json.dumps(copied, allow_nan=False)) == copied
    assert copy_value(copied) == copied


@settings(deadline=None)
@given(st.data())
def test_input_reader_names_arguments_as_the_function_does(data: Any) -> None:
    parts = []
    names = [f"p{number}" for number in range(data.draw(st.integers(0, 4)))]
    split = data.draw(st.integers(0, len(names)))
    defaults_from = data.draw(st.integers(0, len(names)))
    for index, name in enumerate(names):
        parts.append(name if index < defaults_from else f"{name}={index}")
        if index + 1 == split:
            parts.append("/")
    has_rest, has_more = data.draw(st.booleans()), data.draw(st.booleans())
    keywords = [f"k{number}" for number in range(data.draw(st.integers(0, 2)))]
    parts += ["*rest"] if has_rest else ["*"] if keywords else []
    parts += [f"{name}='{name}'" if data.draw(st.booleans()) else name for name in keywords]
    parts += ["**more"] if has_more else []
    scope: dict[str, Any] = {}
    exec(f"def fn({', '.join(parts)}): return locals()", scope)
    args = data.draw(st.lists(st.integers(), max_size=5))
    kwargs = data.draw(st.dictionaries(st.sampled_from([*names, *keywords, "extra"]), st.integers(), max_size=4))
    read = input_reader(scope["fn"], None)
    try:
        expected = scope["fn"](*args, **kwargs)
    except TypeError:
        with pytest.raises(TypeError):
            read(*args, **kwargs)
        return
    expected.update(expected.pop("more", {}))
    if has_rest:
        expected["rest"] = list(expected["rest"])
    assert read(*args, **kwargs) == expected


def test_dataclasses_and_models_are_recorded_by_their_fields() -> None:
    @dataclass
    class Point:
        x: int
        y: object

    class Model:
        def model_dump(self) -> object:
            return {"a": (1, 2)}

    class Broken:
        def model_dump(self) -> object:
            raise ValueError("no")

    class Odd:
        def model_dump(self) -> object:
            return 5

    assert copy_value([Point(1, Point(2, {3})), Model()]) == [{"x": 1, "y": {"x": 2, "y": [3]}}, {"a": [1, 2]}]
    assert copy_value(Broken()) == "<Broken that cannot be copied: ValueError>"
    assert copy_value(Odd()).startswith("<")
    assert copy_value(Point) == repr(Point)


# traced code that runs only because a value is copied


def test_what_runs_for_a_copy_alone_makes_no_runs() -> None:
    calls = []

    class Node:
        def __init__(self, left: Any = None, right: Any = None) -> None:
            self.left, self.right = left, right

        def __repr__(self) -> str:
            return describe(self)

    @clew.traceable
    def describe(node: Node) -> str:
        calls.append(node)
        return "leaf" if node.left is None else f"({node.left!r} {node.right!r})"

    with clew.record() as runs:
        assert describe(Node(Node(), Node())) == "(leaf leaf)"
    runs.assert_tree("describe\n  describe\n  describe")
    assert [run.inputs for run in runs] == [{"node": "(leaf leaf)"}, {"node": "leaf"}, {"node": "leaf"}]
    assert len(calls) == 8  # 3 calls by the program; copying their inputs makes 3, 1 and 1 more


called = []


@clew.traceable
def helper() -> str:
    called.append(1)
    with clew.trace("block"):
        clew.RunTree("by hand").post()
    return "text"


class Shown:
    def __repr__(self) -> str:
        return helper()


class Dumped:
    def model_dump(self) -> Any:
        return {"a": helper()}


class Loaded(Mapping):  # type: ignore[type-arg]
    def __getitem__(self, key: str) -> str:
        return helper()

    def __iter__(self) -> Any:
        return iter("a")

    def __len__(self) -> int:
        return 1


class Failure(Exception):
    def __str__(self) -> str:
        return helper()


@clew.traceable
def takes(value: object) -> None:
    if isinstance(value, Failure):
        raise value


@pytest.mark.parametrize(
    "value",
    [Shown(), {Shown(): 1}, Dumped(), Failure()],
    ids=lambda value: type(value).__name__,
)
def test_a_traced_helper_of_a_value_makes_no_run(value: object) -> None:
    called.clear()
    with clew.record() as runs, contextlib.suppress(Failure):
        takes(value)
    runs.assert_tree("takes [error]" if isinstance(value, Failure) else "takes")
    assert called
    assert "text" in str(runs.roots[0].error or runs.roots[0].inputs)


def test_a_traced_helper_of_a_mapping_makes_no_run() -> None:
    with clew.record() as runs, clew.trace("outer", inputs=Loaded()):
        pass
    runs.assert_tree("outer")
    assert runs.roots[0].inputs == {"a": "text"}


def test_a_traced_helper_of_a_process_function_makes_no_run() -> None:
    @clew.traceable(process_inputs=lambda _: {"a": helper()}, process_outputs=lambda _: {"b": helper()})
    def fn() -> str:
        return helper()

    with clew.record() as runs:
        fn()
    runs.assert_tree("fn\n  helper\n    block\nby hand [pending]")  # the helper that the program calls itself
    assert (runs.roots[0].inputs, runs.roots[0].outputs) == ({"a": "text"}, {"b": "text"})


def test_a_traced_helper_of_process_chunk_makes_no_run() -> None:
    @clew.traceable(process_chunk=lambda _: helper())
    def fn() -> Any:
        yield 1

    with clew.record() as runs:
        assert list(fn()) == [1]
    runs.assert_tree("fn")
    assert runs.roots[0].outputs == {"output": ["text"]}


def test_a_copy_leaves_the_context_as_it_was() -> None:
    before = contextvars.copy_context()
    copy_value(object())
    with pytest.raises(KeyboardInterrupt):
        copy_value(Hostile(KeyboardInterrupt()))
    assert list(contextvars.copy_context().items()) == list(before.items())


def test_of_a_dataclass_its_fields_are_recorded_that_its_repr_shows() -> None:
    @dataclass
    class Client:
        name: str
        created: InitVar[int]
        count: ClassVar[int] = 3
        key: str = field(default="secret", repr=False)
        unset: int = field(init=False)

        def __post_init__(self, created: int) -> None:
            pass

    Client.created = 5  # type: ignore[misc]
    client = Client("name", 1)
    assert copy_value([client]) == [{"name": "name"}]
    client.unset = 4
    assert copy_value({"a": client}) == {"a": {"name": "name", "unset": 4}}


@pytest.mark.parametrize("error", [False, True])
def test_a_model_is_dumped_without_a_warning(error: bool) -> None:
    calls: list[Any] = []

    class Plain:
        def model_dump(self, *, mode: str = "python", warnings: bool = True) -> Any:
            calls.append(warnings)
            if warnings:
                warn("not of the field's type", stacklevel=1)
            return {"a": 1}

    class Wrapped(Plain):
        def model_dump(self, **options: Any) -> Any:
            return super().model_dump(**options)

    class Refusing:
        def model_dump(self, **options: Any) -> Any:
            if options:
                raise TypeError
            return {"a": 1}

    with catch_warnings():
        simplefilter("error" if error else "always")
        assert copy_value([Plain(), Wrapped(), Refusing()]) == [{"a": 1}] * 3
    assert calls == [False, False]


def test_a_model_of_pydantics_that_holds_another_type_is_recorded_as_it_is() -> None:
    pydantic = pytest.importorskip("pydantic", reason="needs Pydantic, which is compiled for some Pythons only")

    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        number: int = 0

    model = Model()
    model.number = "no number"
    with catch_warnings():
        simplefilter("error")
        assert copy_value(model) == {"number": "no number"}


class Loading:
    """A descriptor that loads its value when it is read, as for a column of a database."""

    def __get__(self, instance: object, owner: object = None) -> Any:
        if instance is None:
            raise AttributeError
        loaded.append(instance)
        return "loaded"

    def __set__(self, instance: Any, value: object) -> None:
        raise AttributeError


loaded: list[object] = []


class Lazy:
    """A lazy proxy: it loads the object it stands for when its class or an attribute is read."""

    def _load(self) -> Any:
        loaded.append(self)
        return int

    __class__ = property(_load)  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "<not loaded>"


@dataclass
class Row:
    number: int
    later: str = field(init=False, default="of the class")

    def __post_init__(self) -> None:
        self.__dict__["extra"] = 1


class Column(Row):
    later = Loading()  # type: ignore[assignment]


@dataclass
class Slotted:
    __slots__ = ("empty", "number")
    number: int
    empty: int

    def __init__(self) -> None:
        self.number = 1


def test_copying_loads_nothing() -> None:
    loaded.clear()
    assert copy_value([Lazy(), {"key": Lazy()}, {Lazy(): 1}]) == [
        "<not loaded>",
        {"key": "<not loaded>"},
        {"<not loaded>": 1},
    ]
    assert copy_value(Column(1)) == {"number": 1}
    assert copy_value(Row(1)) == {"number": 1, "later": "of the class"}
    assert copy_value(Slotted()) == {"number": 1}
    assert loaded == []


def test_copying_does_not_load_djangos_lazy_objects() -> None:
    from django.utils.functional import SimpleLazyObject

    def load() -> object:
        raise AssertionError("was loaded")

    assert copy_value(SimpleLazyObject(load)).startswith("<SimpleLazyObject: <function")


def test_what_only_says_that_it_is_of_a_type_is_recorded_as_a_text() -> None:
    from unittest.mock import Mock

    for kind in (bool, str, dict, list):
        mock = Mock(spec=kind)
        assert isinstance(mock, kind)
        assert copy_value(mock) == repr(mock)


def test_texts_that_reach_the_bound_exactly_are_whole() -> None:
    longest = payload.MAX_STRING_CHARS - 1
    texts = ["x" * longest] * (payload.MAX_CHARS // longest)
    texts += ["y" * (payload.MAX_CHARS - len(texts) * longest - 1), "z"]
    assert copy_value(texts) == texts
    assert copy_value([*texts, "more"]) == [*texts, f"<cut: {len(texts) + 1} items>"]


def test_all_texts_of_a_payload_together_are_bounded() -> None:
    texts = [f"{number}{'x' * 60_000}" for number in range(200)]
    for value in (texts, dict.fromkeys(texts), [[text] for text in texts], [UserString(text) for text in texts]):
        copied = json.dumps(copy_value(value))
        assert len(copied) < payload.MAX_CHARS + 2 * payload.MAX_STRING_CHARS
        assert copied.count("<cut: 200 items>") == 1


def test_large_field_of_a_model_is_not_copied_as_a_whole() -> None:
    pydantic = pytest.importorskip("pydantic", reason="needs Pydantic, which is compiled for some Pythons only")

    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        name: str
        items: Any

    items = list(range(200_000))
    assert copy_value(Model(name="a", items=items)) == {"name": "a", "items": "<cut: 200000 items>"}
    assert copy_value(Model(name="a", items=items[:5])) == {"name": "a", "items": [0, 1, 2, 3, 4]}
