"""
`inspect` and `typing` treat a bound function as they treat the function itself.
"""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import sys
import typing
from typing import Any, AsyncIterator, Callable, Dict, Iterator

import pytest

import clew

Decorate = Callable[[Any], Any]

DECORATORS: Dict[str, Decorate] = {
    "bind": clew.bind,
    "traceable": clew.traceable,
    "traceable(...)": clew.traceable(run_type="tool", name="named"),
}


def plain(first: int, /, second: str = "b", *rest: int, key: int = 1, **more: int) -> str:
    return f"{first}{second}{rest}{key}{more}"


async def coroutine(first: int, *, key: int = 1) -> int:
    return first + key


def generator(first: int, *, key: int = 1) -> Iterator[int]:
    yield first + key


async def async_generator(first: int, *, key: int = 1) -> AsyncIterator[int]:
    yield first + key


def without_annotations(first, second=2, *, key=1):  # type: ignore[no-untyped-def]  # that is what it is for
    return first, second, key


class Shop:
    def method(self, first: int, *, key: int = 1) -> int:
        return first + key

    def __call__(self, first: int, *, key: int = 1) -> int:
        return first + key


FUNCTIONS = [plain, coroutine, generator, async_generator, without_annotations]
OTHERS = [Shop().method, Shop(), functools.partial(plain, 1), functools.partial(generator, key=2)]


@pytest.fixture(params=list(DECORATORS))
def decorate(request: pytest.FixtureRequest) -> Decorate:
    return DECORATORS[request.param]


@pytest.mark.parametrize("fn", [*FUNCTIONS, functools.partial(without_annotations, 1)])
def test_full_argument_specification_is_that_of_the_function(decorate: Decorate, fn: Any) -> None:
    assert inspect.getfullargspec(decorate(fn)) == inspect.getfullargspec(fn)


@pytest.mark.parametrize("fn", OTHERS)
def test_full_argument_specification_names_the_parameters_of_a_call(decorate: Decorate, fn: Any) -> None:
    found = inspect.getfullargspec(decorate(fn))
    parameters = inspect.signature(fn).parameters
    names = {*found.args, *found.kwonlyargs, *filter(None, (found.varargs, found.varkw))}
    assert names - {"self"} == set(parameters)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_signature_is_that_of_the_function(decorate: Decorate, fn: Any) -> None:
    bare, ours = inspect.signature(fn), inspect.signature(decorate(fn))
    assert bare == ours
    assert ours == bare


@pytest.mark.parametrize("fn", [*FUNCTIONS, *OTHERS])
def test_signature_has_the_parameters_of_the_function(decorate: Decorate, fn: Any) -> None:
    for change in (lambda fn: fn, lambda fn: functools.partial(fn, 1)):
        bare, ours = inspect.signature(change(fn)), inspect.signature(change(decorate(fn)))
        assert [(p.name, p.kind, p.default) for p in ours.parameters.values()] == [
            (p.name, p.kind, p.default) for p in bare.parameters.values()
        ]


def test_signature_can_be_changed_copied_and_pickled() -> None:
    ours = inspect.signature(clew.traceable(module_level))
    bare = inspect.signature(without_annotations)
    assert ours != bare
    _, *others = ours.parameters.values()
    assert list(ours.replace(parameters=others).parameters) == ["key"]
    assert ours.bind(1, key=2).arguments == {"first": 1, "key": 2}
    assert pickle.loads(pickle.dumps(ours)) == copy.deepcopy(ours) == ours
    assert hash(ours) == hash(inspect.signature(clew.bind(module_level)))
    assert repr(ours).startswith("<Signature (first: ")


def module_level(first: int, *, key: int = 1) -> int:
    return first + key


@pytest.mark.skipif(sys.version_info < (3, 10), reason="eval_str= came with 3.10")
@pytest.mark.parametrize("fn", FUNCTIONS)
def test_annotations_that_are_text_are_evaluated_for_whom_asks(decorate: Decorate, fn: Any) -> None:
    bare, ours = (inspect.signature(each, eval_str=True) for each in (fn, decorate(fn)))
    assert [p.annotation for p in ours.parameters.values()] == [p.annotation for p in bare.parameters.values()]
    assert ours.return_annotation == bare.return_annotation


def test_annotation_of_an_unknown_name_stays_as_it_is(decorate: Decorate) -> None:
    def needs(what: NobodyKnows) -> None:  # type: ignore[name-defined]  # noqa: F821  that is what it is for
        pass

    assert inspect.signature(decorate(needs)).parameters["what"].annotation == "NobodyKnows"
    assert inspect.getfullargspec(decorate(needs)) == inspect.getfullargspec(needs)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_type_hints_are_those_of_the_function(decorate: Decorate, fn: Any) -> None:
    assert typing.get_type_hints(decorate(fn)) == typing.get_type_hints(fn)


@pytest.mark.parametrize("fn", FUNCTIONS)
def test_source_is_that_of_the_function(decorate: Decorate, fn: Any) -> None:
    assert inspect.getsource(decorate(fn)) == inspect.getsource(fn)


@pytest.mark.parametrize("fn", [Shop(), functools.partial(plain, 1)])
def test_wrapper_shows_no_annotations_of_its_own(decorate: Decorate, fn: Any) -> None:
    assert getattr(decorate(fn), "__annotations__", {}) == {}


def test_function_without_a_signature_has_none() -> None:
    without = type("Without", (), {"__call__": int.__add__})  # its signature does not have the parameter
    for fn in (dict.fromkeys, without):
        try:
            inspect.signature(fn)
        except ValueError:
            with pytest.raises(ValueError, match="no signature"):
                inspect.signature(clew.bind(fn))
