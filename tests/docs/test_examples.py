"""
Every example that a reader can copy: it runs, and prints what the page says that it prints.

The examples are the blocks marked `python` in README.md and docs/, each a program or a `>>>` session that stands on
its own; the commands in blocks marked `console`; and the examples in the docstrings of the public modules.
"""

from __future__ import annotations

import contextlib
import contextvars
import doctest
import importlib
import io
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

import clew

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/**/*.md"))]
FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,})(?P<language>[^`\n]*)\n(?P<text>.*?)^(?P=indent)(?P=mark) *$", re.M | re.S)


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str
    output: Optional[str]  # of the block marked `text` that follows with nothing but blank lines between


def blocks_of(page):
    source = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(source))
    for fence, following in zip(fences, [*fences[1:], None]):
        output = None
        if following and following["language"].strip() == "text" and not source[fence.end() : following.start()].strip():
            output = textwrap.dedent(following["text"])
        line = source.count("\n", 0, fence.start("text")) + 1
        name = page.relative_to(PROJECT).as_posix()
        yield Block(name, line, fence["language"].strip(), textwrap.dedent(fence["text"]), output)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def each_block(*, language, where=lambda block: True):
    blocks = [block for block in BLOCKS if block.language == language and where(block)]
    return pytest.mark.parametrize("block", [pytest.param(b, id=f"{b.page}:{b.line}") for b in blocks])


def is_session(block):
    return block.text.startswith(">>>")


def check_session(test):
    """Run a doctest in an empty context, as a reader's own session has one."""
    printed = []
    contextvars.Context().run(doctest.DocTestRunner().run, test, out=printed.append)
    assert not printed, "".join(printed)


@each_block(language="python", where=lambda block: not is_session(block))
def test_program_prints_what_the_page_says(block):
    # The lines in front make a traceback point into the page.
    code = compile("\n" * (block.line - 1) + block.text, str(PROJECT / block.page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        contextvars.Context().run(exec, code, {"__name__": "__main__"})
    assert printed.getvalue() == (block.output or "")


@each_block(language="python", where=is_session)
def test_session_prints_what_the_page_says(block):
    check_session(doctest.DocTestParser().get_doctest(block.text, {}, block.page, block.page, block.line - 1))


@each_block(language="console")
def test_command_prints_what_the_page_says(block, tmp_path):
    """Run `$ clew ...` with the page's programs at hand, each named by its first line, and compare but for durations."""
    pytest.importorskip("click", reason="needs the packages of the extra `cli`")
    for program in BLOCKS:
        name = re.match(r"# (\w+\.py)\n", program.text)
        if program.page == block.page and program.line < block.line and name:
            (tmp_path / name[1]).write_text(program.text, encoding="utf-8")
    first, _, expected = block.text.partition("\n")
    assert first.startswith("$ clew "), f"expected a block to start with a clew command, found {first!r}"
    done = subprocess.run(
        [sys.executable, "-m", *first[2:].split()],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    if expected:
        assert without_durations(done.stdout) == without_durations(expected)


def without_durations(text):
    return re.sub(r"\d+\.\d+ m?s\b", "... ms", text)


def public_modules():
    yield clew
    for found in pkgutil.walk_packages(clew.__path__, "clew."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in public_modules():
        # By name, as the everyday names say that they are from `clew`, and doctest passes over what is from elsewhere.
        # Each starts with nothing but what it imports itself.
        for name in getattr(module, "__all__", ()):
            for test in finder.find(getattr(module, name), f"{module.__name__}.{name}", module=False, globs={}):
                if test.examples:
                    yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", docstring_examples())
def test_docstring_example_is_right(test):
    check_session(test)


def test_reference_has_every_public_name():
    reference = "".join(page.read_text(encoding="utf-8") for page in PROJECT.glob("docs/reference/*.md"))
    listed = set(re.findall(r"^\.\. auto\w+:: clew\.(?:errors\.)?(\w+)", reference, flags=re.M))
    assert listed == {*clew.__all__, *importlib.import_module("clew.errors").__all__} - {"__version__"}
