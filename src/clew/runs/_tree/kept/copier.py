"""
What is kept of the values of a run: JSON-shaped, bounded copies, taken at once.

A copy is made on the calling thread, as the value may be changed a moment later. Nothing is done to
the value itself, and nothing that one of its own methods raises gets out of here. What is kept of
exceptions is in `clew.runs._tree.kept.errors`.
"""

from __future__ import annotations

import inspect
import sys
from collections import UserDict, UserList, UserString, deque
from collections.abc import MappingView
from contextlib import suppress
from inspect import CO_VARKEYWORDS, Parameter as _Parameter, isfunction
from itertools import islice
from types import FunctionType, MappingProxyType, MemberDescriptorType
from typing import Any, Callable, Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from clew._shared.incidents import report

__all__ = (
    "call_without_tracing",
    "copy_payload",
    "copy_value",
    "cut",
    "input_reader",
    "process_payload",
    "set_untraced_caller",
)

MAX_STRING_CHARS = 65_536
MAX_REPR_CHARS = 4_096
MAX_CHARS = 1 << 22
MAX_ITEMS = 10_000
MAX_DEPTH = 16

# Above some more than this, Python itself refuses to write an int as text.
_BIG = 1 << 4096
_SMALL = -_BIG  # a constant: to negate it at each use would make a new number of 4096 bits
_INFINITY = float("inf")

# Of the standard library: what shows the items of something else, and what has a plain value as its `data`.
_VIEWS = frozenset((type({}.keys()), type({}.values()), type({}.items()), MappingView))
_WRAPPERS: Dict[type, type] = {UserDict: dict, UserList: list, UserString: str}


# Calls a function so that nothing is recorded of what it does; None until there is a run tree that could record it.
_caller: Optional[Callable[..., Any]] = None


def set_untraced_caller(caller: Callable[..., Any]) -> None:
    """
    Have code of the program's that runs for the sake of a copy alone called by `caller(fn, *args)`.
    """
    global _caller
    _caller = caller


def call_without_tracing(fn: Callable[..., Any], *args: Any) -> Any:
    """
    Call what the program does not call itself, such as a `__repr__` for a copy: if it is traced, that makes no runs.

    Otherwise the runs of the program would have others among them, and as their inputs are copied in turn, there
    could be exponentially many.
    """
    return fn(*args) if _caller is None else _caller(fn, *args)


def copy_value(value: object) -> Any:
    """
    Return a JSON-shaped copy of `value` that shares nothing mutable with it.

    Strings over `MAX_STRING_CHARS` are cut with a marker, containers end after `MAX_ITEMS` items in
    all and `MAX_DEPTH` levels, tuples and sets become lists, and what has no JSON form becomes its
    `repr`, cut likewise. So do keys, of which those with the same text are told apart by a number.

    Dataclasses and models of Pydantic's become dicts of their fields. A field of a dataclass with
    ``repr=False`` is left out, as most of these are secret or huge, and so is one that is not there until it is
    asked for. All texts together end after `MAX_CHARS`.
    """
    # Most values are small and immutable: these need no copying.
    kind = type(value)
    if kind is int:
        if _SMALL < value < _BIG:  # type: ignore[operator]  # kind is int
            return value
    elif kind is str:
        if len(value) < MAX_STRING_CHARS:  # type: ignore[arg-type]  # kind is str
            return value
    elif value is None or kind is bool:
        return value
    return _Copier().copy(value, 0)


def input_reader(
    fn: Callable[..., Any],
    process: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
    without: Sequence[str] = (),
) -> Callable[..., Dict[str, Any]]:
    """
    Return a function that takes the arguments of `fn` and returns what to record of them.

    That is a dict from the parameters' names to copies of the arguments, defaults filled in, without
    `self` and `cls` and those of `without`, and with what ``**kwargs`` took beside the others; `process` has
    the last word.

    The function has the parameters of `fn`, so that Python itself sorts the arguments, several times
    faster than `inspect.Signature.bind` can; a call that `fn` would refuse is refused likewise.
    """
    try:
        read = _generated_reader(_parameters(fn), without, copy=process is None)
    except Exception:  # noqa: BLE001  no signature, or one of the user's making: the arguments are still worth recording
        read = _generated_reader(
            [_Parameter("args", _Parameter.VAR_POSITIONAL), _Parameter("kwargs", _Parameter.VAR_KEYWORD)],
            without,
            copy=process is None,
        )
    if process is None:
        return read
    return lambda *args, **kwargs: process_payload(process, read(*args, **kwargs), "inputs")


def _parameters(fn: Callable[..., Any]) -> List[inspect.Parameter]:
    # 3.14+: annotations are evaluated when somebody looks, and need not be evaluable; drop the else with 3.13.
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(fn, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(fn)
    return list(signature.parameters.values())


def _generated_reader(
    parameters: List[inspect.Parameter], without: Sequence[str], *, copy: bool
) -> Callable[..., Dict[str, Any]]:
    taken = {p.name for p in parameters}
    names: Dict[str, Any] = {}

    def name_for(helper: str, value: object) -> str:
        # A parameter of the same name would be in its way, be it `type` or `len`.
        while helper in taken:
            helper += "_"
        names[helper] = value
        return helper

    type_, len_, copy_ = name_for("type", type), name_for("len", len), name_for("copy", copy_value)
    small, big, long = name_for("small", _SMALL), name_for("big", _BIG), name_for("long", MAX_STRING_CHARS)
    int_, str_ = name_for("int", int), name_for("str", str)
    # The two most frequent types cost no call where there is nothing to be copied.
    copied = (
        f"({{0}} if {small} < {{0}} < {big} else {copy_}({{0}})) if {type_}({{0}}) is {int_} "
        f"else {{0}} if {type_}({{0}}) is {str_} and {len_}({{0}}) < {long} else {copy_}({{0}})"
        if copy
        else "{0}"
    )
    copied_rest = f"**{copy_}({{0}})" if copy else "**{0}"
    shown = parameters[1:] if parameters and parameters[0].name in ("self", "cls") else parameters
    # Nothing but the identifiers of the function's own parameters goes into this text.
    head = ", ".join(_parameter_texts(parameters, name_for("defaults", [p.default for p in parameters])))
    body = ", ".join(
        copied_rest.format(p.name) if p.kind is _Parameter.VAR_KEYWORD else f"{p.name!r}: {copied.format(p.name)}"
        for p in shown
        if p.name not in without
    )
    read: Callable[..., Dict[str, Any]] = eval(f"lambda {head}: {{{body}}}", names)  # noqa: S307  see above
    return read


def _parameter_texts(parameters: List[inspect.Parameter], defaults: str) -> Iterator[str]:
    marks: Dict[object, str] = {_Parameter.VAR_POSITIONAL: "*", _Parameter.VAR_KEYWORD: "**"}
    for index, (parameter, following) in enumerate(zip(parameters, [*parameters[1:], None])):
        if parameter.kind is _Parameter.KEYWORD_ONLY and (
            index == 0 or parameters[index - 1].kind in (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)
        ):
            yield "*"
        default = "" if parameter.default is _Parameter.empty else f"={defaults}[{index}]"
        yield f"{marks.get(parameter.kind, '')}{parameter.name}{default}"
        if parameter.kind is _Parameter.POSITIONAL_ONLY and (
            following is None or following.kind is not _Parameter.POSITIONAL_ONLY
        ):
            yield "/"


def copy_payload(payload: object, name: str) -> Dict[str, Any]:
    """
    Return what to record of a payload that people give by hand: a mapping, or any value, under `name`.
    """
    if payload is None:
        return {}
    try:
        if isinstance(payload, Mapping) and not isinstance(payload, dict):
            payload = call_without_tracing(dict, payload)
    except Exception as error:  # noqa: BLE001  a mapping of the user's
        payload = _unreadable(payload, error)
    copied = copy_value(payload)
    return copied if type(copied) is dict else {name: copied}


def process_payload(process: Callable[[Any], Mapping[str, Any]], value: Any, what: str) -> Dict[str, Any]:
    """
    Return what `process` leaves of a payload; nothing but a mark where it fails.
    """
    try:
        copied: Dict[str, Any] = copy_value(call_without_tracing(lambda: dict(process(value))))
        return copied
    except Exception as error:  # noqa: BLE001  anything; and fail closed: what a redaction did not let through is not recorded
        kind = type(error).__name__
        report("payloads_dropped", f"process_{what} raised {kind}, so the {what} were not recorded", error=error)
        return {"clew.dropped": f"process_{what} raised {kind}"}


class _Copier:
    # One per payload: it counts the items of the whole payload, however they are nested.
    __slots__ = ("_chars_left", "_items_left")

    def __init__(self) -> None:
        self._items_left = MAX_ITEMS
        self._chars_left = MAX_CHARS

    def copy(self, value: object, depth: int) -> Any:
        try:
            return self._copy(value, depth)
        except Exception as error:  # noqa: BLE001  a method of the user's: __iter__, __len__, a __class__ that is a property
            return _unreadable(value, error)

    def _copy(self, value: object, depth: int) -> Any:  # noqa: PLR0911  a table of types
        # Subclasses become the plain type, through its own method, not through an override. What only says that it
        # is of some type, as `isinstance` would ask, may have to load something from somewhere to say so.
        given: Any = value
        kind = type(given)
        if given is None or kind is bool:
            return given
        if issubclass(kind, str):
            return self._counted(cut(str.__str__(given), MAX_STRING_CHARS))
        if issubclass(kind, int):
            number = int.__int__(given)
            return number if _SMALL < number < _BIG else f"<int of {number.bit_length()} bits>"
        if issubclass(kind, float):
            plain = float.__float__(given)
            return plain if -_INFINITY < plain < _INFINITY else float.__repr__(plain)
        if issubclass(kind, dict):
            return self._copy_dict(given, depth)
        container: Any
        for container in (list, tuple, set, frozenset, deque):
            if issubclass(kind, container):
                return self._copy_items(given, container.__iter__(given), depth)
        return self._copy_wrapper(given, depth)

    def _counted(self, text: str) -> str:
        self._chars_left -= len(text)
        return text

    def _copy_wrapper(self, value: Any, depth: int) -> Any:
        # Those of the standard library would otherwise be told by a repr of all that is in them.
        kinds = type(value).__mro__
        if not _VIEWS.isdisjoint(kinds):
            items = call_without_tracing(lambda: list(islice(iter(value), self._items_left + 1)))
            return self._copy_items(value, iter(items), depth)
        if MappingProxyType in kinds:
            items = call_without_tracing(lambda: list(islice(value.items(), self._items_left + 1)))
            return self._copy_pairs(value, items, depth)
        for kind, plain in _WRAPPERS.items():
            if kind in kinds and isinstance(value.data, plain):
                return self._copy(value.data, depth)
        fields_or_text = call_without_tracing(_fields_or_text, value)
        return (
            self._counted(fields_or_text) if isinstance(fields_or_text, str) else self._copy_dict(fields_or_text, depth)
        )

    def _copy_dict(self, value: Dict[Any, Any], depth: int) -> Any:
        # Taken in one go, and no more than can be used.
        try:
            items = list(islice(dict.items(value), self._items_left + 1))
        except RuntimeError:  # another thread has added a key meanwhile; nobody adds one to a copy
            items = list(islice(dict.items(dict.copy(value)), self._items_left + 1))
        return self._copy_pairs(value, items, depth)

    def _copy_pairs(self, value: Mapping[Any, Any], items: List[Tuple[Any, Any]], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"<dict of {len(value)} items, {depth} levels deep>"
        copied: Dict[str, Any] = {}
        numbers: Dict[str, int] = {}
        are_as_given = True  # the names so far, so that no two of them can be the same
        for key, item in items:
            if not self._items_left or self._chars_left <= 0:
                copied[_free_name("...", copied, numbers)] = f"<cut: {len(value)} items>"
                break
            self._items_left -= 1
            name = key
            if type(key) is not str or len(key) > MAX_STRING_CHARS:
                name = self._name_of(key)
                are_as_given = False
            if not are_as_given:
                name = _free_name(name, copied, numbers)
            copied[self._counted(name)] = self.copy(item, depth + 1)
        return copied

    def _name_of(self, key: object) -> str:
        try:
            if key is None or issubclass(type(key), (str, int, float)):
                return str(self._copy(key, 0))
            text: str = call_without_tracing(_short_repr, key)
            return text
        except Exception as error:  # noqa: BLE001  as above
            return _unreadable(key, error)

    def _copy_items(self, value: Any, iterator: Iterator[Any], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__} of {len(value)} items, {depth} levels deep>"
        items = list(islice(iterator, self._items_left + 1))
        copied: List[Any] = []
        for item in items:
            if not self._items_left or self._chars_left <= 0:
                copied.append(f"<cut: {len(value)} items>")
                break
            self._items_left -= 1
            copied.append(self.copy(item, depth + 1))
        return copied


def _unreadable(value: object, error: Exception) -> str:
    return f"<{type(value).__name__} that cannot be copied: {type(error).__name__}>"


def _free_name(name: str, taken: Dict[str, Any], numbers: Dict[str, int]) -> str:
    """
    Return the name of a key, with the next number behind it where another key already has that name.
    """
    free = name
    while free in taken:
        # Remembered, as ten thousand objects may have one and the same repr.
        numbers[name] = numbers.get(name, 1) + 1
        free = f"{name} ({numbers[name]})"
    return free


def _fields_or_text(value: object) -> Union[Dict[str, Any], str]:
    fields = _fields_of(value)
    return _short_repr(value) if fields is None else fields


def _fields_of(value: object) -> Optional[Dict[str, Any]]:
    """
    Return what an instance of a dataclass or of a model of Pydantic's holds, by name; None of anything else.
    """
    kind = type(value)
    # Who has a dataclass has imported that module.
    if isinstance(getattr(kind, "__dataclass_fields__", None), dict) and "dataclasses" in sys.modules:
        return dict(
            _fields_there(value, [field.name for field in sys.modules["dataclasses"].fields(kind) if field.repr])
        )
    dump = getattr(kind, "model_dump", None)
    found = _dumped(dump, value) if isfunction(dump) else None
    return found if isinstance(found, dict) else None


def _fields_there(value: object, names: Iterable[str]) -> Iterator[Tuple[str, Any]]:
    try:
        state: Dict[str, Any] = object.__getattribute__(value, "__dict__")
    except AttributeError:  # it has slots
        state = {}
    for name in names:
        if name in state:
            yield name, state[name]
            continue
        for each in type(value).__mro__:
            if name not in vars(each):
                continue
            found = vars(each)[name]
            if isinstance(found, MemberDescriptorType):
                with suppress(AttributeError):  # nothing is in that slot
                    yield name, found.__get__(value)
            elif not hasattr(type(found), "__get__"):  # which may load something: a column of a database, say
                yield name, found
            break


def _dumped(dump: FunctionType, value: object) -> object:
    code = dump.__code__
    if code.co_flags & CO_VARKEYWORDS or "warnings" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        # Not by `catch_warnings`, which is for the whole process. A value that is not of the field's type is the
        # program's own affair, and with `-W error` the warning would be raised.
        try:
            return dump(value, warnings=False)
        except TypeError:  # something else takes the keywords
            pass
    return dump(value)


def cut(text: str, limit: int) -> str:
    """
    Return the text, or the beginning of it with a mark that says how long it was.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... <cut: {len(text)} characters>"


def _short_repr(value: object) -> str:
    kind = type(value)  # as above
    if issubclass(kind, (bytes, bytearray, memoryview)):
        # The repr of all of it could be four times a gigabyte.
        data: Any = value
        size = data.nbytes if kind is memoryview else len(data)
        return repr(bytes(data[:64])) if size <= 64 else f"{bytes(data[:64])!r}... <cut: {size} bytes>"
    array: Any = getattr(sys.modules.get("array"), "array", None)  # who has one has imported it
    if array in kind.__mro__:
        items = array.__len__(value)
        if items > 64:
            return f"{array.__getitem__(value, slice(64))!r}... <cut: {items} items>"
    return cut(str.__str__(repr(value)), MAX_REPR_CHARS)
