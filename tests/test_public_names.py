"""
What is public exists, is documented and typed, costs nothing before it is used, and says where it is.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

import clew


def public_modules() -> Iterator[str]:
    yield "clew"
    for module in pkgutil.walk_packages(clew.__path__, "clew."):
        if not any(part.startswith("_") for part in module.name.split(".")):
            yield module.name


MODULES = sorted(public_modules())


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_exists_and_is_documented_and_typed(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    names = getattr(module, "__all__", ())
    assert isinstance(names, tuple)
    assert list(names) == sorted(names)
    for public in names:
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{name}.{public} has no docstring"
            assert value.__doc__.startswith("\n"), f"the quotes of {name}.{public} stand on their own lines"
        if inspect.isfunction(value):
            for parameter in inspect.signature(value).parameters.values():
                assert parameter.annotation is not parameter.empty, f"{name}.{public}({parameter})"


def test_every_module_of_the_package_has_a_literal_all_or_no_public_name() -> None:
    for path in Path(clew.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        public = re.findall(r"^(?:class|def|async def) ([a-z]\w*|[A-Z]\w*)", text, re.MULTILINE)
        if public:
            assert re.search(r"^__all__ = \($|^__all__ = \(\"", text, re.MULTILINE), path


def test_everyday_names_say_clew_is_their_module() -> None:
    for name in clew.__all__:
        value = getattr(clew, name)
        if inspect.isclass(value):
            assert value.__module__.startswith("clew.")
        elif name != "__version__":
            assert value.__module__ == "clew"
    assert set(clew.__all__) <= set(dir(clew))


def test_everyday_names_are_the_same_to_type_checkers_and_at_run_time() -> None:
    (checked,) = (
        node
        for node in ast.parse(Path(clew.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(checked.body)
    assert {alias.name: node.module for node in imports for alias in node.names} == clew._HOMES
    assert all(alias.asname == alias.name for node in imports for alias in node.names)
    assert set(clew.__all__) == {*clew._HOMES, "__version__"}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'clew' has no attribute 'nonsense'"):
        clew.nonsense


HEAVY = set(
    "typing_extensions dataclasses importlib.metadata email ssl sqlite3 http.client "  # noqa: SIM905  as one reads it
    "anyio trio sniffio asyncio click rich langsmith opentelemetry".split()
)


# What the standard library itself loads for a thread pool and for reading signatures.
NEEDED = "import concurrent.futures.thread, inspect, contextvars, uuid"


@pytest.mark.parametrize(
    "statement",
    [
        "import clew",
        "from clew import ContextThreadPoolExecutor, bind, capture, record, stats, trace, traceable, RunTree",
    ],
)
def test_import_loads_nothing_heavy(statement: str) -> None:
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    needed = "" if statement == "import clew" else NEEDED
    before = set(modules_loaded(f"import sys\n{needed}\nprint(*sorted(sys.modules))"))
    added = set(modules_loaded(code)) - before
    assert not added & HEAVY
    if statement == "import clew":
        assert added <= {"clew", "__future__"}


def modules_loaded(code: str) -> list[str]:
    return subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    ).stdout.split()


def test_the_command_says_what_to_install_where_its_packages_are_missing() -> None:
    code = (
        "import sys\nfor name in ('click', 'rich'):\n    sys.modules[name] = None\n"
        "from clew.cli import main\nmain(['demo'])"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install 'clew[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_package_is_marked_as_typed() -> None:
    assert (Path(clew.__file__).parent / "py.typed").exists()
