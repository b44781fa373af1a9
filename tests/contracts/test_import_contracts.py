"""
The contracts of `[tool.importlinter]`: the package keeps each of them, and each of them can be broken.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="needs import-linter, which the nox session `lint` installs")

import tomllib

PROJECT = Path(__file__).parents[2]
CONFIGURATION = PROJECT / "pyproject.toml"

# Under the first words of each contract's name: a module, and a line in it that breaks this contract and no other.
# Modules that do not exist, on either side, are made: most rooms may be missing, and the contracts hold them already.
VIOLATIONS = {
    "rooms": [
        ("errors", "import clew._shared.locks"),
        ("_shared.incidents", "import clew.context.snapshot"),
        ("errors", "import clew.context.snapshot"),
        ("context.snapshot", "from clew.runs import recording"),
        ("propagation", "import clew.context.snapshot"),
        ("propagation", "import clew.runs._tree.identity"),
        ("executors.thread_pool", "import clew.tasks"),
        ("executors.thread_pool", "from clew.runs.recording import record"),
        ("executors.thread_pool", "import clew.cli"),
        ("executors.threads", "import clew.queues"),
        ("executors.installation", "import clew.runs.trace"),
        ("queues", "import clew.tasks"),
        ("runs.recording", "import clew.exporters"),
        ("exporters", "import clew.integrations"),
        ("exporters.configuration", "import clew.viewer"),
        ("integrations", "import clew.diagnostics"),
        ("lint", "import clew.viewer"),
        ("testing", "import clew.cli"),
        ("undeclared", "import sys"),
    ],
    "the run tree": [
        ("runs.run", "import clew.executors.thread_pool"),
        ("runs.run", "from clew.executors import thread_pool"),
        ("runs.current", "import clew.executors.threads"),
        ("runs._tree.identity", "import clew.queues"),
        ("runs.current", "import clew.tasks"),
    ],
    "text formats": [
        ("executors.thread_pool", "import clew.propagation"),
        ("executors.threads", "import clew.propagation"),
        ("queues", "import clew.propagation"),
        ("tasks", "import clew.propagation"),
    ],
    "the front door": [
        ("context.snapshot", "import clew"),
        ("executors.thread_pool", "from clew import record"),
        ("runs.recording", "from clew import ContextThreadPoolExecutor"),
    ],
    "the package itself": [
        ("", "import clew.context.snapshot"),
        ("", "from clew.runs.recording import record"),
    ],
    "no event loop": [
        ("_shared.locks", "import asyncio"),
        ("errors", "import anyio"),
        ("_shared.incidents", "import trio"),
        ("context.snapshot", "import asyncio"),
        ("context.snapshot", "def late():\n    import sniffio"),
        ("propagation.traceparent", "from asyncio import tasks"),
        ("runs.current", "from trio.lowlevel import current_task"),
        ("runs._tree.identity", "import asyncio"),
    ],
    "third parties": [
        ("_shared.locks", "import typing_extensions"),
        ("errors", "import rich"),
        ("_shared.incidents", "import rich.console"),
        ("context.snapshot", "from typing_extensions import ParamSpec"),
        ("executors.thread_pool", "import opentelemetry.context"),
        ("propagation.traceparent", "import langsmith"),
        ("runs.recording", "import rich"),
        ("runs._tree.kept.copier", "import rich"),
        ("runs.traceable", "def late():\n    import click"),
    ],
}
CONTRACTS = [
    contract["name"] for contract in tomllib.loads(CONFIGURATION.read_text())["tool"]["importlinter"]["contracts"]
]
COMMAND = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]


def lint_imports(folder):
    """Return the verdict on each contract, by its name, for the package in `folder`, and all that was printed."""
    done = subprocess.run(
        [*COMMAND, "--config", str(CONFIGURATION), "--no-cache"],
        cwd=folder,  # which lint-imports puts in front of the installed package
        env={**os.environ, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
    )
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)\b", done.stdout, flags=re.MULTILINE))
    assert (done.returncode == 0) == ("BROKEN" not in verdicts.values()), done.stdout
    return verdicts, done.stdout


def source_of(package, module):
    """Return the file of a module under `package`, made empty if it is not there."""
    folder = package.joinpath(*module.split("."))
    if folder.is_dir():
        return folder / "__init__.py"
    file = folder.with_suffix(".py")
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.touch()
    return file


@pytest.fixture
def package(tmp_path):
    return Path(shutil.copytree(PROJECT / "src/clew", tmp_path / "clew", ignore=shutil.ignore_patterns("__pycache__")))


def test_contracts_are_kept_by_the_package():
    verdicts, output = lint_imports(PROJECT / "src")
    assert verdicts == dict.fromkeys(CONTRACTS, "KEPT"), output


def test_contracts_each_have_a_planted_violation():
    assert [name.partition(":")[0] for name in CONTRACTS] == list(VIOLATIONS)


@pytest.mark.parametrize(
    ("contract", "module", "line"),
    [
        pytest.param(contract, module, line, id=f"{contract}-clew.{module}-{line}".replace("\n   ", ""))
        for contract, violations in VIOLATIONS.items()
        for module, line in violations
    ],
)
def test_contract_is_broken_by_a_planted_import(package, contract, module, line):
    for imported in re.findall(r"import clew\.(\S+)", line):
        source_of(package, imported)
    source = source_of(package, module)
    source.write_text(f"{source.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    verdicts, output = lint_imports(package.parent)
    expected = {name: "BROKEN" if name.partition(":")[0] == contract else "KEPT" for name in CONTRACTS}
    assert verdicts == expected, output
