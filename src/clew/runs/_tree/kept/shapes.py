"""
The parts of a `repr`, one by one: for containers, and for classes whose `repr` is generated from their fields.

They are written as a text, up to its bound, in `clew.runs._tree.kept.texts`. The `repr` of any other object cannot be
taken apart.
"""

from __future__ import annotations

import sys
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque
from collections.abc import MappingView
from functools import partial
from itertools import islice
from types import FunctionType, MappingProxyType, MethodType, SimpleNamespace
from typing import Any, Callable, Dict, Iterable, Iterator, NamedTuple, Optional, Tuple, Union

from clew.runs._tree.kept.at_once import first_items, first_of_view

__all__ = ("Raw", "Shape", "shape_of")

# Python refuses to write an int that is not much larger than this as text.
_MAX_BITS = 4_096
MAX_BYTES = 64  # of a bytes object
MAX_ARRAY_ITEMS = 64
# Larger arrays and tables are summarised by their own `repr`, unless their library is set to show all of them.
_SUMMARISED = 1_000


class Raw(str):
    """
    A text that is a part of the `repr` as it is.
    """

    __slots__ = ()


class Shape(NamedTuple):
    """
    The `repr` of one object: the items are separated by commas, and each is the texts of its values in a row.
    """

    before: str
    items: Iterable[Tuple[Any, ...]]
    after: str


# A function from an object and the number of items that fit; a text is the whole `repr`.
_Reader = Callable[[Any, int], Union[Shape, str]]


def shape_of(kind: type) -> Optional[_Reader]:
    """
    Return how the `repr` of objects of this type is taken apart; None if it must be called.
    """
    # Look at the function that makes it: a subclass may have a `__repr__` of its own. `type.__getattribute__` runs no
    # code of a metaclass, and the id needs no hash.
    function = type.__getattribute__(kind, "__repr__")
    found = _READERS.get(id(function))
    if found is not None:
        return found
    if issubclass(kind, (bytes, bytearray)):
        return _bytes
    if kind is memoryview:
        return _memory
    # A program that has an object of these classes has loaded their modules.
    for module, name, reader in _READERS_BY_NAME:
        if module in sys.modules:
            its_class = getattr(sys.modules[module], name, None)
            if isinstance(its_class, type) and its_class.__repr__ is function:
                return reader
    return _generated(kind, function) if type(function) is FunctionType else None


def _generated(kind: type, function: FunctionType) -> Optional[_Reader]:
    file = function.__code__.co_filename
    wrapped = getattr(function.__dict__.get("__wrapped__"), "__code__", None)
    # The class that the text is generated for: a class below it may have further fields, which it does not show.
    owner: Any = next(each for each in kind.__mro__ if each.__dict__.get("__repr__") is function)
    if issubclass(kind, tuple) and file == Counter.__init__.__code__.co_filename:
        return lambda value, _: Shape(f"{kind.__name__}(", _named(zip(owner._fields, tuple.__iter__(value))), ")")
    if getattr(wrapped, "co_filename", "") == "<string>" and "__dataclass_fields__" in owner.__dict__:
        names = [field.name for field in sys.modules["dataclasses"].fields(owner) if field.repr]
        return lambda value, _: Shape(
            f"{kind.__qualname__}(", _named((name, getattr(value, name)) for name in names), ")"
        )
    if file.startswith("<attrs generated"):
        name = kind.__qualname__.rsplit(">.", 1)[-1]
        return lambda value, _: Shape(f"{name}(", _named(_attrs_fields(value, owner)), ")")
    return None


def _named(pairs: Iterable[Tuple[Optional[str], Any]]) -> Iterator[Tuple[Any, ...]]:
    for name, value in pairs:
        yield (value,) if name is None else (Raw(f"{name}="), value)


def _first(values: Iterable[Any], room: int) -> Iterator[Tuple[Any]]:
    return zip(list(islice(values, room)))


def _pairs(pairs: Iterable[Tuple[Any, Any]], room: int) -> Iterator[Tuple[Any, Raw, Any]]:
    between = Raw(": ")
    return iter([(key, between, value) for key, value in list(islice(pairs, room))])


def _dict(value: Any, room: int) -> Shape:
    return Shape("{", _pairs(first_items(dict, value, room), room), "}")


def _list(value: Any, room: int) -> Shape:
    return Shape("[", zip(first_items(list, value, room)), "]")


def _tuple(value: Any, room: int) -> Shape:
    return Shape("(", _first(tuple.__iter__(value), room), ",)" if tuple.__len__(value) == 1 else ")")


def _set(value: Any, room: int) -> Shape:
    name = type(value).__name__
    own: Any = set if isinstance(value, set) else frozenset
    if not own.__len__(value):
        return Shape(f"{name}(", (), ")")
    items = zip(first_items(own, value, room))
    return Shape("{", items, "}") if type(value) is set else Shape(f"{name}({{", items, "})")


def _deque(value: Any, room: int) -> Shape:
    after = "])" if value.maxlen is None else f"], maxlen={value.maxlen})"
    return Shape(f"{type(value).__name__}([", zip(first_items(deque, value, room)), after)


def _ordered(value: Any, room: int) -> Shape:
    name = type(value).__name__
    if not dict.__len__(value):
        return Shape(f"{name}(", (), ")")
    # 3.12+: as a dict; drop the other form with 3.11.
    if sys.version_info >= (3, 12):
        return Shape(f"{name}({{", _pairs(first_of_view(OrderedDict.items(value), room), room), "})")
    return Shape(f"{name}([", _first(OrderedDict.items(value), room), "])")


def _default(value: Any, room: int) -> Shape:
    return Shape(
        f"{type(value).__name__}({value.default_factory!r}, {{", _pairs(first_items(dict, value, room), room), "})"
    )


def _counter(value: Any, room: int) -> Shape:
    name = type(value).__name__
    if not dict.__len__(value):
        return Shape(f"{name}(", (), ")")
    # Its `repr` sorts them all; with many, only the first ones are looked at.
    pairs = Counter.most_common(value) if dict.__len__(value) <= room else dict.items(value)
    return Shape(f"{name}({{", _pairs(pairs, room), "})")


def _wrapper(value: Any, _: int) -> Shape:
    if value.data is value:
        raise RecursionError("an object that wraps itself has no repr")
    return Shape("", ((value.data,),), "")


def _view(value: Any, room: int) -> Shape:
    return Shape(f"{type(value).__name__}([", zip(first_of_view(value, room)), "])")


def _proxy(value: Any, room: int) -> Shape:
    return Shape("mappingproxy({", _pairs(value.items(), room), "})")


def _attributes(value: Any, room: int) -> Shape:
    state: Dict[str, Any] = object.__getattribute__(value, "__dict__")
    name = "namespace" if type(value) is SimpleNamespace else type(value).__name__
    return Shape(f"{name}(", _named(first_items(dict, state, room)), ")")


def _attrs_fields(value: Any, owner: Any) -> Iterator[Tuple[str, Any]]:
    for field in owner.__attrs_attrs__:
        if field.repr:
            found = getattr(value, field.name, Raw("NOTHING"))
            yield field.name, Raw(field.repr(found)) if callable(field.repr) else found


def _model(value: Any, _: int) -> Shape:
    return Shape(f"{value.__repr_name__()}(", _named(value.__repr_args__()), ")")


def _partial(value: Any, room: int) -> Shape:
    kind = type(value)
    items = [(value.func,), *_first(value.args, room), *_named(islice(value.keywords.items(), room))]
    return Shape(f"{'functools' if kind is partial else kind.__module__}.{kind.__qualname__}(", items, ")")


def _method(value: Any, _: int) -> Shape:
    name = getattr(value.__func__, "__qualname__", getattr(value.__func__, "__name__", "?"))
    return Shape(f"<bound method {name} of ", ((value.__self__,),), ">")


def _error(value: BaseException, room: int) -> Shape:
    return Shape(f"{type(value).__name__}(", _first(value.args, room), ")")


def _text(value: str, room: int) -> str:
    return repr(str.__getitem__(value, slice(room)))


def _int(value: int, _: int) -> str:
    bits = int.bit_length(value)
    return int.__repr__(value) if bits <= _MAX_BITS else f"<int of {bits} bits>"


def _bytes(value: Any, _: int) -> str:
    kind: Any = bytes if isinstance(value, bytes) else bytearray
    return _cut_bytes(bytes(kind.__getitem__(value, slice(MAX_BYTES))), kind.__len__(value))


def _memory(value: memoryview, _: int) -> str:
    # Other layouts than bytes in a row cannot be sliced without a copy of them all.
    if value.ndim != 1 or value.itemsize > MAX_BYTES:
        return f"<memoryview of {value.nbytes} bytes>"
    return _cut_bytes(value[: max(1, MAX_BYTES // max(1, value.itemsize))].tobytes(), value.nbytes)


def _cut_bytes(first: bytes, size: int) -> str:
    return repr(first) if size <= MAX_BYTES else f"{first!r}... <cut: {size} bytes>"


def _array(value: Any, _: int) -> str:
    array: Any = sys.modules["array"].array
    items = array.__len__(value)
    if items <= MAX_ARRAY_ITEMS:
        return repr(value)
    return f"{array.__getitem__(value, slice(MAX_ARRAY_ITEMS))!r}... <cut: {items} items>"


def _numpy(value: Any, _: int) -> Union[Shape, str]:
    if value.dtype.itemsize > 16 * MAX_BYTES:
        return f"<{type(value).__name__} of shape {value.shape} and type {value.dtype}>"
    if value.dtype.hasobject and value.dtype.fields is None:
        if value.size <= _SUMMARISED:
            return Shape("array(", ((value.tolist(),),), ", dtype=object)")
    elif value.size <= _SUMMARISED or sys.modules["numpy"].get_printoptions()["threshold"] <= _SUMMARISED:
        return repr(value)
    first = zip(value.flat[:MAX_ARRAY_ITEMS].tolist())
    return Shape("array([", first, f"], dtype={value.dtype})... <cut: {value.size} items of shape {value.shape}>")


def _pandas(value: Any, _: int) -> str:
    pandas: Any = sys.modules["pandas"]
    limits = [pandas.get_option(f"display.max_{name}") for name in ("rows", "columns")]
    if value.size <= _SUMMARISED or all(limit is not None and limit <= _SUMMARISED for limit in limits):
        return repr(value)
    first = value.iloc[:MAX_ARRAY_ITEMS] if value.ndim == 1 else value.iloc[:MAX_ARRAY_ITEMS, :MAX_ARRAY_ITEMS]
    return f"{first!r}\n... <cut: {type(value).__name__} of shape {value.shape}>"


_DICT_VIEWS: Tuple[Any, ...] = ({}.keys(), {}.values(), {}.items())
_ORDERED_VIEWS: Tuple[Any, ...] = (OrderedDict().keys(), OrderedDict().values(), OrderedDict().items())


def _readers() -> Iterator[Tuple[Any, _Reader]]:
    yield from ((str, _text), (int, _int), (list, _list), (tuple, _tuple), (dict, _dict), (set, _set))
    yield from ((frozenset, _set), (deque, _deque), (OrderedDict, _ordered), (defaultdict, _default))
    yield from ((Counter, _counter), (MappingProxyType, _proxy), (SimpleNamespace, _attributes), (partial, _partial))
    yield from ((MethodType, _method), (BaseException, _error))
    yield from ((type(view), _view) for view in (*_DICT_VIEWS, *_ORDERED_VIEWS))
    yield from ((kind, _wrapper) for kind in (UserDict, UserList, UserString))
    yield MappingView, lambda value, _: Shape(f"{type(value).__name__}(", ((value._mapping,),), ")")
    yield ChainMap, lambda value, _: Shape(f"{type(value).__name__}(", zip(value.maps), ")")


# By the id of the function that makes the `repr`. These functions live as long as the process.
_READERS: Dict[int, _Reader] = {id(kind.__repr__): reader for kind, reader in _readers()}
_READERS_BY_NAME: Tuple[Tuple[str, str, _Reader], ...] = (
    ("array", "array", _array),
    ("numpy", "ndarray", _numpy),
    ("pandas", "DataFrame", _pandas),
    ("pandas", "Series", _pandas),
    ("pydantic", "BaseModel", _model),
    ("argparse", "Namespace", _attributes),
)
