"""
No module of the package imports itself by way of others. Late imports count, and so do imports for types alone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

grimp = pytest.importorskip("grimp", reason="needs import-linter, which the nox session `lint` installs")

SOURCE = Path(__file__).parents[2] / "src"


def circles(folder):
    """Return the modules of the package in `folder` that import themselves by way of others."""
    sys.path.insert(0, str(folder))
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "clew"}
    try:
        graph = grimp.build_graph("clew", cache_dir=None)  # it looks for the package on the path, and loads nothing
    finally:
        sys.path.remove(str(folder))
        sys.modules.update(loaded)
    # The package itself looks its names up at run time; it names them for type checkers.
    for imported in graph.find_modules_directly_imported_by("clew"):
        graph.remove_import(importer="clew", imported=imported)
    return {
        module
        for module in graph.modules
        if any(
            imported == module or graph.chain_exists(importer=imported, imported=module)
            for imported in graph.find_modules_directly_imported_by(module)
        )
    }


def test_no_module_imports_itself_by_way_of_others():
    assert circles(SOURCE) == set()


@pytest.mark.parametrize(
    "line",
    [
        "from clew.runs.trace import trace",
        "def late():\n    import clew.runs.traceable",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from clew.runs.trace import trace",
    ],
    ids=["plain", "late", "for types alone"],
)
def test_a_planted_circle_is_found(tmp_path, line):
    package = Path(shutil.copytree(SOURCE / "clew", tmp_path / "clew", ignore=shutil.ignore_patterns("__pycache__")))
    identity = package / "runs/_tree/identity.py"
    identity.write_text(f"{identity.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    assert "clew.runs._tree.identity" in circles(tmp_path)
