"""
A traced function is pickled where the undecorated one would be, and is traced at the other end.
"""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

import cloudpickle
import pytest

import clew

PROGRAM = """
import asyncio, functools, pickle, subprocess, sys
import cloudpickle
import clew

FACTOR = 2

def shout(inputs):
    return {{"shouted": inputs["x"]}}

@clew.traceable
def double(x):
    return x * FACTOR

@clew.traceable(run_type="tool", name="later", tags=["t"], metadata={{"m": 1}}, process_inputs=shout,
                process_outputs=lambda result: {{"out": result}})
async def double_later(x):
    return double(x)

@clew.traceable
def doubles(x):
    yield double(x)

@clew.traceable(reduce_fn=sum)
async def doubles_later(x):
    yield double(x)

@clew.traceable
def factorial(n):
    return n * factorial(n - 1) if n else 1

class Shop:
    @clew.traceable
    def sell(self, x):
        return double(x)

    @clew.traceable
    @staticmethod
    def count(x):
        return double(x)

    @clew.traceable
    @classmethod
    def open(cls, x):
        return double(x)

@clew.traceable
def with_run(x, run_tree=None):
    return run_tree.name

def local():
    y = 1
    @clew.traceable
    def inner(x):
        return double(x) + y
    return inner

async def collected(stream):
    return [item async for item in stream]

def call():
    with clew.record() as runs:
        found = {expression}
    return found, runs.tree()

if len(sys.argv) == 1:
    double(1)
    with clew.record():
        double(1)  # which makes what reads its inputs
    code = "import sys, pickle; print(*pickle.load(sys.stdin.buffer)(), sep='|')"
    sys.stdout.flush()
    subprocess.run([sys.executable, "-c", code], input=cloudpickle.dumps(call), check=True)
"""

EXPRESSIONS = {
    "function": ("double(3)", "6|double"),
    "coroutine": ("asyncio.run(double_later(3))", "6|later\n└── double"),
    "generator": ("list(doubles(3))", "[6]|double"),
    "async generator": ("asyncio.run(collected(doubles_later(3)))", "[6]|double"),
    "recursive": ("factorial(2)", "2|factorial\n└── factorial\n    └── factorial"),
    "method": ("Shop().sell(3)", "6|sell\n└── double"),
    "static method": ("Shop.count(3)", "6|count\n└── double"),
    "class method": ("Shop.open(3)", "6|open\n└── double"),
    "partial": ("functools.partial(double, 3)()", "6|double"),
    "run_tree": ("with_run(3)", "with_run|with_run"),
    "local": ("local()(3)", "7|inner\n└── double"),
}


@pytest.mark.parametrize("kind", EXPRESSIONS)
def test_function_of_a_script_is_pickled_by_value(kind: str, tmp_path: Path) -> None:
    expression, expected = EXPRESSIONS[kind]
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(expression=expression), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], stdout=subprocess.PIPE, encoding="utf-8", timeout=60, check=True,
        env=environment(),
    )  # fmt: skip
    assert done.stdout.rstrip("\n") == expected


def environment() -> Dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(Path(clew.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}


def by_value(value: Any) -> Any:
    return pickle.loads(cloudpickle.dumps(value))


def test_options_arrive_with_a_function_pickled_by_value() -> None:
    options: Dict[str, Any] = {
        "name": "named", "tags": ["t"], "metadata": {"m": 1}, "project_name": "p", "run_type": "tool",
        "process_inputs": lambda inputs: {"in": inputs["x"]}, "process_outputs": lambda result: {"out": result},
    }  # fmt: skip

    @clew.traceable(**options)
    def local(x: int) -> int:
        return x + 1

    with clew.record() as runs:
        local(1)  # which makes what reads its inputs
        assert by_value(local)(1) == 2
        assert by_value(by_value(local))(1) == 2
    found = [
        (run.name, run.tags, run.metadata, run.project_name, run.run_type, run.inputs, run.outputs) for run in runs
    ]
    assert found == [("named", ("t",), {"m": 1}, "p", "tool", {"in": 1}, {"out": 2})] * 3


def test_function_that_is_switched_off_stays_so_by_value() -> None:
    @clew.traceable(enabled=False)
    def local() -> str:
        return "done"

    with clew.record() as runs:
        assert by_value(local)() == "done"
    assert not len(runs)


def test_call_with_options_of_its_own_works_after_a_pickle_by_value() -> None:
    @clew.traceable
    def local(x: int) -> int:
        return x

    with clew.record() as runs:
        assert by_value(local)(1, langsmith_extra={"name": "other"}) == 1
    assert runs.tree() == "other"


def test_names_and_signature_arrive_by_value() -> None:
    import inspect

    @clew.traceable
    def local(x: int, *, y: int = 1) -> int:
        """Add."""
        return x + y

    arrived = by_value(local)
    assert (arrived.__name__, arrived.__qualname__, arrived.__doc__) == (local.__name__, local.__qualname__, "Add.")
    assert inspect.signature(arrived) == inspect.signature(local)
    assert inspect.getfullargspec(arrived) == inspect.getfullargspec(local)


@clew.traceable
def of_module(x: int) -> int:
    return x + 1


@clew.traceable
async def coroutine_of_module(x: int) -> int:
    return x + 1


@clew.traceable
def generator_of_module(x: int) -> Any:
    yield x + 1


@clew.traceable
async def async_generator_of_module(x: int) -> Any:
    yield x + 1


OF_MODULE: List[Callable[..., Any]] = [
    of_module, coroutine_of_module, generator_of_module, async_generator_of_module,
]  # fmt: skip


@pytest.mark.parametrize("copied", [lambda x: pickle.loads(pickle.dumps(x)), by_value, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("fn", OF_MODULE)
def test_function_of_a_module_is_itself_again(fn: Any, copied: Callable[[Any], Any]) -> None:
    assert copied(fn) is fn


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_local_function_is_copied_as_functions_are(copied: Callable[[Any], Any]) -> None:
    for fn in OF_MODULE:
        local = clew.traceable(name="again")(fn)
        assert copied(local) is local
    partial = functools.partial(of_module, 1)
    assert copied(partial)() == 2


def test_coroutine_function_arrives_as_one() -> None:
    @clew.traceable
    async def local() -> str:
        return "done"

    arrived = by_value(local)
    assert inspect.iscoroutinefunction(arrived)
    assert asyncio.run(arrived()) == "done"


@pytest.mark.parametrize("kind", ["open run", "ended run", "finished run", "recording"])
def test_run_is_its_own_copy_and_says_what_to_send_instead_of_a_pickle(kind: str) -> None:
    with clew.record() as runs, clew.trace("open") as run:
        kinds = {"open run": (run, r"to_headers\(\)"), "recording": (runs, r"to_json\(\)")}
        if kind in kinds:
            check_copies(*kinds[kind])
    check_copies(*{**kinds, "ended run": kinds["open run"], "finished run": (runs.roots[0], "record_of")}[kind])


def check_copies(value: Any, remedy: str) -> None:
    assert copy.copy(value) is value
    assert copy.deepcopy({"in": [value]})["in"][0] is value
    for dumps in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(clew.errors.ArgumentTypeError, match=f"expected an object that can be pickled.*{remedy}"):
            dumps(value)
