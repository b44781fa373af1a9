"""
`inspect` and `typing` can read what is public: its source, its signature and its hints.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import typing
from typing import Any, Dict, Iterator, Tuple

import pytest

import clew
from tests.test_public_names import MODULES


def public_objects() -> Dict[str, Any]:
    found: Dict[str, Any] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            value = getattr(module, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{name}.{public}"] = value
    return found


OBJECTS = public_objects()


def methods_of(cls: type) -> Iterator[Tuple[str, Any]]:
    """Return the functions of a class that clew has written, inherited ones included."""
    for name in dir(cls):
        value = inspect.getattr_static(cls, name)
        for fn in (getattr(value, "__func__", value), getattr(value, "fget", None), getattr(value, "fset", None)):
            # Some are made by the stdlib, from text: `__new__` of a NamedTuple.
            if inspect.isfunction(fn) and str(fn.__globals__.get("__name__")).startswith("clew."):
                yield name, fn


@pytest.mark.parametrize("name", OBJECTS)
def test_source_of_what_is_public_is_found(name: str) -> None:
    value = OBJECTS[name]
    kind = "class" if inspect.isclass(value) else "def"
    assert f"{kind} {value.__name__}" in inspect.getsource(value)
    assert str(inspect.getsourcefile(inspect.unwrap(value))).startswith(str(clew.__file__).rpartition("__init__")[0])


@pytest.mark.parametrize("name", OBJECTS)
def test_hints_of_what_is_public_can_be_read(name: str) -> None:
    value = OBJECTS[name]
    if name != "clew.tasks.anyio.TaskGroup":  # anyio's own class has a hint that only type checkers can read
        typing.get_type_hints(value)
    if inspect.isclass(value):
        failed = {}
        for method, fn in methods_of(value):
            try:
                typing.get_type_hints(fn)
            except (NameError, TypeError) as error:
                if sys.version_info >= (3, 9) or method != "_submit":  # which stands for another on 3.8 alone
                    failed[method] = repr(error)
        assert failed == {}


@pytest.mark.parametrize("name", OBJECTS)
def test_parameters_of_what_is_public_can_be_read(name: str) -> None:
    value = OBJECTS[name]
    functions = [fn for _, fn in methods_of(value)] if inspect.isclass(value) else [value]
    for fn in functions:
        spec = inspect.getfullargspec(fn)
        assert {*spec.args, *spec.kwonlyargs} <= set(inspect.signature(fn).parameters)
    if inspect.isclass(value) and not issubclass(value, (BaseException, type)):
        assert inspect.signature(value)


def test_hints_can_be_read_in_an_instance_s_class_before_and_after_it_is_imported_from_the_package() -> None:
    from clew.runs.run import RunTree

    before = typing.get_type_hints(RunTree)
    assert clew.RunTree is RunTree
    assert typing.get_type_hints(clew.RunTree) == before
