"""
Run one of CPython's own suites about generators, bare or with all of its generator functions decorated by clew.

A script for a process of its own: `_run_cpython_generators.py REPORT (bare|clew) SECONDS SUITE`. Which tests need
not pass is not here but in `test_cpython_generators.py`, which starts it.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import faulthandler
import importlib
import importlib.util
import inspect
import json
import sys
import sysconfig
import traceback
import unittest
from collections import Counter
from contextvars import ContextVar
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any, Callable, Dict, List

import clew
from clew.context._stepping import function_likes

# What a body sets is to reach the `with` block, so that no context manager is made of a generator that keeps it all.
OF_CONTEXT_MANAGERS = ("test_contextlib.py", "test_contextlib_async.py")

# The names of the generator functions, and how many generators they made, by the name of the generator's type.
decorated: List[str] = []
made: Dict[str, int] = Counter()

own: ContextVar[int] = ContextVar("own")


class Decorate(ast.NodeTransformer):
    """
    Have each function and lambda decorated by the builtin `DECORATOR`, before any other decorator gets it.
    """

    DECORATOR = "__clew_decorated__"

    def _decorate(self, node: Any) -> Any:
        self.generic_visit(node)
        node.decorator_list.append(self._decorator(node))
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = _decorate

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.Call(self._decorator(node), [node], []), node)

    def _decorator(self, node: ast.AST) -> ast.expr:
        return ast.copy_location(ast.Name(self.DECORATOR, ast.Load()), node)


def compile_decorated(source: Any, filename: str, mode: str, flags: int = 0, dont_inherit: bool = True) -> Any:
    """
    Do what the builtin `compile` does, and decorate.
    """
    tree = compile(source, filename, mode, flags | ast.PyCF_ONLY_AST, dont_inherit)
    return compile(Decorate().visit(tree), filename, mode, flags, dont_inherit)


def exec_decorated(source: str, *scopes: Any) -> None:
    """
    Do what the builtin `exec` does, and decorate.
    """
    exec(compile_decorated(source, "<string>", "exec"), *scopes)


class Loader(SourceFileLoader):
    """
    Load a module of which no compiled file is read or written.
    """

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return compile_decorated(self.get_data(path), path, "exec")


def arrange(decorate: Callable[[Any], Any]) -> None:
    """
    Have generator functions decorated in all that is compiled here from now on, and what they make counted.
    """

    def decorate_generator_functions(fn: Any) -> Any:
        if not fn.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR):
            return fn
        decorated.append(fn.__qualname__)
        return decorate(fn)

    module: Any = function_likes
    native_named = module.named

    def named(driver: Any, *args: Any) -> Any:
        made[type(driver).__name__] += 1
        return native_named(driver, *args)

    # Each generator of clew's passes here, once.
    module.named = named
    setattr(builtins, Decorate.DECORATOR, decorate_generator_functions)
    doctest.compile = compile_decorated  # type: ignore[attr-defined]  # it looks for the builtin here first


def load(suite: str) -> Any:
    """
    Import a module of the stdlib's folder of tests, with its generator functions decorated.
    """
    path = str(Path(sysconfig.get_path("stdlib"), "test", suite))
    name = module_of(suite)
    spec: Any = importlib.util.spec_from_file_location(name, path, loader=Loader(name, path))
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    module.exec = exec_decorated
    spec.loader.exec_module(module)
    return module


def module_of(suite: str) -> str:
    return f"test.{Path(suite).stem}"


class Examples(doctest.DocTestRunner):
    """
    Know of each example of the doctests what came of it, as if it were a test.
    """

    def __init__(self) -> None:
        super().__init__(verbose=False)
        self.passed: List[str] = []
        self.failed: Dict[str, str] = {}
        self._seen: Dict[str, int] = Counter()

    def report_success(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.passed.append(self._id(test, example))

    def report_failure(self, out: Any, test: doctest.DocTest, example: doctest.Example, got: str) -> None:
        self.failed[self._id(test, example)] = f"expected:\n{example.want}\ngot:\n{got}"

    def report_unexpected_exception(self, out: Any, test: doctest.DocTest, example: doctest.Example, info: Any) -> None:
        self.report_failure(out, test, example, "".join(traceback.format_exception(*info)))

    def _id(self, test: doctest.DocTest, example: doctest.Example) -> str:
        # Not by its line, which each version has elsewhere.
        name = f"{test.name}: {' '.join(example.source.split())}"
        self._seen[name] += 1
        return name if self._seen[name] == 1 else f"{name} ({self._seen[name]})"


def main(report: str, kind: str, seconds: str, suite: str) -> None:
    """
    Run a suite, a file of the stdlib's, for so many seconds at most, and write what came of it to the file `report`.
    """
    from _run_cpython_suite import Result  # beside this script

    faulthandler.dump_traceback_later(float(seconds), exit=True)
    if kind == "clew":
        arrange(clew.context_generator(isolate=[own]) if suite in OF_CONTEXT_MANAGERS else clew.context_generator)
        module = load(suite)
    else:
        module = importlib.import_module(module_of(suite))
    # 3.11+: it adds the doctests, and each would pass or fail as a whole.
    vars(module).pop("load_tests", None)
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    result: Any = unittest.TextTestRunner(resultclass=Result, verbosity=2).run(tests)
    examples = Examples()
    for test in doctest.DocTestFinder().find(module):
        examples.run(test)
    failed = {test.id(): why for test, why in (*result.failures, *result.errors)}
    Path(report).write_text(
        json.dumps(
            {
                "passed": [*result.passed, *examples.passed],
                "failed": {**failed, **examples.failed},
                "decorated": len(decorated),
                "made": made,
            }
        ),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
