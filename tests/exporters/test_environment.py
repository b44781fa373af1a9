"""
The variables of the environment hold on every way of import, and load nothing where none is set.
"""

from __future__ import annotations

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

import clew


def modules_that_load_the_run_tree() -> List[str]:
    return [
        f"clew.{room}.{module.name}"
        for room in ("runs", "exporters")
        for module in pkgutil.iter_modules([str(Path(clew.__file__).parent / room)])
        if not module.name.startswith("_")
    ]


STATEMENTS = [
    "import clew",
    "from clew import traceable",
    "from clew.runs.traceable import traceable",
    "import clew.runs.trace",
    "import clew.integrations.logging",
    "import clew.integrations.opentelemetry",
    "import clew.integrations.structlog",
    "import clew.testing.fakes",
    "import clew.cli",
    *(f"import {name}" for name in modules_that_load_the_run_tree()),
]


def run(program: str, **variables: str) -> str:
    environ: Dict[str, str] = {name: value for name, value in os.environ.items() if not name.startswith("CLEW_")}
    environ["PYTHONPATH"] = str(Path(clew.__file__).parents[1])
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env={**environ, **variables}, capture_output=True, encoding="utf-8", timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("statement", STATEMENTS)
def test_variables_hold_on_every_way_of_import(statement: str, tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    program = (
        f"{statement}\n"
        "from clew.runs.traceable import traceable\n"
        "@traceable\n"
        "def work(): pass\n"
        "work()\n"
    )  # fmt: skip
    run(program, CLEW_EXPORT=f"jsonl:{file}", CLEW_PROJECT="a project", CLEW_SERVICE="a service")
    (line,) = file.read_text(encoding="utf-8").splitlines()
    written = json.loads(line)
    assert (written["name"], written["project_name"], written["service"]) == ("work", "a project", "a service")


@pytest.mark.parametrize("name", ["CLEW_PROJECT", "CLEW_SAMPLE", "CLEW_ENABLED", "CLEW_SERVICE"])
def test_each_variable_alone_is_read(name: str) -> None:
    program = "import sys, clew.runs.trace\nprint('clew.exporters.configuration' in sys.modules)"
    assert run(program, **{name: "1"}).strip() == "True"


def test_nothing_is_loaded_where_no_variable_is_set() -> None:
    program = "import sys, clew.runs.traceable, clew.runs.trace\nprint('clew.exporters.configuration' in sys.modules)"
    assert run(program).strip() == "False"


def test_package_alone_loads_nothing_where_a_variable_is_set() -> None:
    program = "import sys, clew\nprint(sorted(name for name in sys.modules if name.startswith('clew')))"
    assert run(program, CLEW_EXPORT="memory:").strip() == "['clew']"


def test_variable_that_is_set_before_a_later_name_is_read_too(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    program = (
        "import os, clew\nclew.RunTree\n"
        f"os.environ['CLEW_EXPORT'] = {f'jsonl:{file}'!r}\n"
        "with clew.trace('work'): pass\n"
    )
    run(program)
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1
