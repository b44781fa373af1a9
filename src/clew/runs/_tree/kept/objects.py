"""
The fields of dataclasses and Pydantic models.

They are read by code of the program, whose exceptions are let through. Call it with `call_without_tracing` of
`clew.runs._tree.kept.copier`, which also copies the fields. Other objects become texts: see
`clew.runs._tree.kept.texts`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from inspect import CO_VARKEYWORDS, getattr_static, isfunction
from types import FunctionType, MemberDescriptorType
from typing import Any, Dict, Iterable, Iterator, Optional, Tuple

__all__ = ("fields_of",)


def fields_of(value: object) -> Optional[Dict[str, Any]]:
    """
    Return the fields of a dataclass instance or Pydantic model by name; None for any other object.
    """
    kind = type(value)
    # No import needed: a program that has a dataclass has loaded the module.
    if isinstance(getattr(kind, "__dataclass_fields__", None), dict) and "dataclasses" in sys.modules:
        fields = sys.modules["dataclasses"].fields(kind)
        return dict(_stored_fields(value, [field.name for field in fields if field.repr]))
    dump = getattr(kind, "model_dump", None)
    found = _dumped(dump, value) if isfunction(dump) else None
    return found if isinstance(found, dict) else None


def _stored_fields(value: object, names: Iterable[str]) -> Iterator[Tuple[str, Any]]:
    """
    Yield the fields that can be read without running a descriptor, which might load a database column, say.
    """
    state: Dict[str, Any] = {}
    with suppress(AttributeError):  # the class has slots only
        state = object.__getattribute__(value, "__dict__")
    for name in names:
        if name in state:
            yield name, state[name]
            continue
        found = getattr_static(type(value), name, _NO_FIELD)
        if isinstance(found, MemberDescriptorType):
            with suppress(AttributeError):  # the slot is empty
                yield name, found.__get__(value)
        elif not hasattr(type(found), "__get__"):  # a default that is kept on the class
            yield name, found


_NO_FIELD = property()  # a descriptor, so that it is skipped like one


def _dumped(dump: FunctionType, value: object) -> object:
    code = dump.__code__
    if code.co_flags & CO_VARKEYWORDS or "warnings" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        # Pydantic warns of values that do not have the field's type; under `-W error` that would raise. Switch the
        # warning off here: `warnings.catch_warnings` works on the whole process.
        large = _large_fields(value)
        with suppress(TypeError):  # a `model_dump` of another library, which does not know the options
            if large:
                return {**dump(value, warnings=False, exclude=set(large)), **large}
            return dump(value, warnings=False)
    return dump(value)


def _large_fields(value: object) -> Dict[str, str]:
    """
    Return a marker for each field that a model would copy as a whole although nearly all of the copy is cut.
    """
    try:
        state = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    sizes = {name: len(item) for name, item in state.items() if type(item) in _CONTAINERS}
    return {name: f"<cut: {size} items>" for name, size in sizes.items() if size > _MAX_ITEMS}


_CONTAINERS = frozenset((dict, frozenset, list, set, tuple))
_MAX_ITEMS = 100_000
