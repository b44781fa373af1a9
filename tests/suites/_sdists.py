"""
The source distribution of an installed package, for the tests in it, which its wheel is without.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Dict, List

from tests.suites._suites import go_without, untraced_environment

DEADLINE = 180.0


def fetch_sdist(name: str, cache: Path, directory: Path) -> Path:
    """
    Return the folder of the very release of `name` that is installed, unpacked in `directory`.

    What is fetched stays in `cache`. How, and from where, is for pip and its configuration.
    """
    release = f"{name}-{version(name)}"
    archive = cache / f"{release}.tar.gz"
    if not archive.is_file():
        with TemporaryDirectory(dir=str(cache)) as scratch:
            download(f"{name}=={version(name)}", name, Path(scratch))
            os.replace(str(Path(scratch, archive.name)), str(archive))
    # 3.12+, and the last releases of others, want to be told; drop the condition with 3.11.
    options: Dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(str(archive)) as packed:
        packed.extractall(str(directory), **options)
    return directory / release


def download(requirement: str, name: str, scratch: Path) -> None:
    python = sys.executable
    # uv makes environments without pip.
    if importlib.util.find_spec("pip") is None:
        run_or_go_without([python, "-m", "venv", str(scratch / "venv")], "an environment with pip")
        python = str(scratch / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python")
    # pip builds the metadata as well, which takes a build backend, and some seconds.
    options = ["--quiet", "--no-deps", "--no-binary", name, "--dest", str(scratch)]
    run_or_go_without([python, "-m", "pip", "download", *options, requirement], f"the source of {requirement}")


def run_or_go_without(command: List[str], what: str) -> None:
    try:
        subprocess.run(
            command,
            env=untraced_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
            check=True,
        )
    except subprocess.SubprocessError as error:
        output = (getattr(error, "output", None) or b"").decode("utf-8", "replace").strip()
        go_without(f"needs {what}, which could not be had: {error}\n{output[-1000:]}")
