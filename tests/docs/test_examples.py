"""
Every example that a reader can copy: it runs, and prints what the page says that it prints.

The examples are the blocks marked `python` in README.md and docs/, each a program or a `>>>` session that stands on
its own; the `$ clew` commands in blocks marked `console`; and the examples in the docstrings of the public modules.
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
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, NamedTuple, Optional

import pytest

import clew
import clew.errors

if TYPE_CHECKING:
    from types import ModuleType

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/**/*.md"))]
FENCE = re.compile(
    r"^(?P<indent> *)(?P<mark>`{3,})(?P<language>[^`\n]*)\n(?P<text>.*?)^(?P=indent)(?P=mark) *$",
    flags=re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str
    output: Optional[str]  # of the block marked `text` that follows with nothing but blank lines between


def blocks_of(page: Path) -> Iterator[Block]:
    source = page.read_text(encoding="utf-8")
    fences = list(FENCE.finditer(source))
    for fence, following in zip(fences, [*fences[1:], None]):
        output = None
        if following and following["language"] == "text" and not source[fence.end() : following.start()].strip():
            output = textwrap.dedent(following["text"])
        line = source.count("\n", 0, fence.start("text")) + 1
        name = page.relative_to(PROJECT).as_posix()
        yield Block(name, line, fence["language"], textwrap.dedent(fence["text"]), output)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def each_block(language: str, is_wanted: Callable[[Block], bool]) -> Any:
    blocks = [block for block in BLOCKS if block.language == language and is_wanted(block)]
    return pytest.mark.parametrize("block", [pytest.param(b, id=f"{b.page}:{b.line}") for b in blocks])


def is_session(block: Block) -> bool:
    return block.text.startswith(">>>")


def check_session(test: doctest.DocTest) -> None:
    """Run a doctest in an empty context, as a reader's own session has one."""
    printed: List[str] = []
    contextvars.Context().run(doctest.DocTestRunner().run, test, out=printed.append)
    assert not printed, "".join(printed)


@each_block("python", lambda block: not is_session(block))
def test_program_prints_what_the_page_says(block: Block) -> None:
    if "langsmith" in block.text:
        pytest.importorskip("langsmith", reason="needs langsmith, which has no release for this Python")
    # 3.14+: where this flag is set, bare threads take the context along, and a pool's keep that of its first job.
    uses_bare_threads = re.search(r"import ThreadPoolExecutor|threading\.Thread\b|run_in_executor\(None", block.text)
    if getattr(sys.flags, "thread_inherit_context", 0) and uses_bare_threads:
        pytest.skip("needs threads that start in an empty context, as with -X thread_inherit_context=0")
    # The lines in front make a traceback point into the page.
    code = compile("\n" * (block.line - 1) + block.text, str(PROJECT / block.page), "exec")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        contextvars.Context().run(exec, code, {"__name__": "__main__"})
    assert printed.getvalue() == (block.output or "")


@each_block("python", is_session)
def test_session_prints_what_the_page_says(block: Block) -> None:
    check_session(doctest.DocTestParser().get_doctest(block.text, {}, block.page, block.page, block.line - 1))


@each_block("console", lambda block: block.text.startswith("$ clew "))
def test_command_prints_what_the_page_says(block: Block, tmp_path: Path) -> None:
    """Run a command with the programs above it on its page at hand, each under the name in its first line."""
    pytest.importorskip("click", reason="needs the packages of the extra `cli`")
    for program in BLOCKS:
        name = re.match(r"# (\w+\.py)\n", program.text)
        if name and program.page == block.page and program.line < block.line:
            (tmp_path / name[1]).write_text(program.text, encoding="utf-8")
    command, _, expected = block.text.partition("\n")
    done = subprocess.run(
        [sys.executable, "-m", *command[len("$ ") :].split()],
        cwd=str(tmp_path),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    if expected:
        assert without_durations(done.stdout) == without_durations(expected)


def without_durations(text: str) -> str:
    return re.sub(r"\d+\.\d+ m?s\b", "... ms", text)


def public_modules() -> Iterator[ModuleType]:
    yield clew
    for found in pkgutil.walk_packages(clew.__path__, "clew."):
        if not any(part.startswith("_") for part in found.name.split(".")):
            yield importlib.import_module(found.name)


def docstring_examples() -> Iterator[doctest.DocTest]:
    finder = doctest.DocTestFinder()
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            # `module=False`, as the everyday names say that they are from `clew`, and doctest would pass over them in
            # the module that has them. Each example has no names but those it imports itself.
            value = getattr(module, name)
            yield from finder.find(value, f"{module.__name__}.{name}", module=False, globs={})


DOCSTRING_EXAMPLES = [pytest.param(test, id=test.name) for test in docstring_examples() if test.examples]


@pytest.mark.parametrize("test", DOCSTRING_EXAMPLES)
def test_docstring_example_is_right(test: doctest.DocTest) -> None:
    check_session(test)


def test_docstring_examples_are_found() -> None:
    found = {test.values[0].name for test in DOCSTRING_EXAMPLES}
    assert found >= {"clew.context.binding.bind", "clew.context.snapshot.Snapshot.run", "clew.bind"}


# The command and the fixtures have pages of their own, which do not list functions.
NOT_LISTED = {"clew.cli", "clew.testing.plugin"}


def test_reference_has_every_public_name_and_no_other() -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in PROJECT.glob("docs/reference/*.md"))
    listed = set(re.findall(r"^\.\. auto\w+:: clew\.(?:errors\.)?([\w.]+)", reference, flags=re.MULTILINE))
    everyday = {*clew.__all__, *clew.errors.__all__} - {"__version__"}
    of_modules = {
        (module.__name__, name)
        for module in public_modules()
        if module.__name__ not in {"clew", "clew.errors", *NOT_LISTED}
        for name in getattr(module, "__all__", ())
    }
    others = {f"{module}.{name}"[len("clew.") :] for module, name in of_modules if name not in everyday}
    assert listed == everyday | others


TEXTS = [PROJECT / "CONTRIBUTING.md", PROJECT / "CHANGELOG.md", *PAGES]
each_text = pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.relative_to(PROJECT).as_posix()) for page in TEXTS]
)


def prose_of(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@each_text
def test_links_between_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", prose_of(page)):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@each_text
def test_prose_has_no_markup_that_only_sphinx_reads(page: Path) -> None:
    assert re.findall(r"\{[\w:]+\}`|\]\(<|\[\]\(|^\(.*\)=$|^:::", prose_of(page), flags=re.MULTILINE) == []
    fences = {fence["language"] for fence in FENCE.finditer(page.read_text(encoding="utf-8"))}
    assert {language for language in fences if "{" in language} <= {"{eval-rst}"}


@each_text
def test_names_in_code_spans_exist(page: Path) -> None:
    """Sphinx links a code span that is the full name of something, and leaves it alone where there is no such name."""
    for name in re.findall(r"`(clew(?:\.\w+)+)(?:\(\))?`", prose_of(page)):
        if not name.startswith(METADATA_KEYS):
            found: Any = clew
            for depth, part in enumerate(name.split(".")[1:], start=2):
                if not hasattr(found, part):
                    importlib.import_module(".".join(name.split(".")[:depth]))
                found = getattr(found, part)


METADATA_KEYS = ("clew.cut", "clew.status")  # no name of Python's, although it looks like one


def test_each_file_of_the_examples_is_named_in_a_page() -> None:
    ignored = {"node_modules", "__pycache__"}
    files = [path for path in PROJECT.glob("examples/**/*") if path.is_file() and not ignored & {*path.parts}]
    text = (PROJECT / "docs/guides/examples.md").read_text(encoding="utf-8")
    assert len(files) >= 7
    assert [path for path in files if f"](../../{path.relative_to(PROJECT).as_posix()})" not in text] == []


@pytest.mark.skipif(sys.version_info < (3, 10), reason="needs sys.stdlib_module_names")
def test_blocks_name_the_packages_that_they_need() -> None:
    installed_with_clew = {"clew", "anyio"}
    for block in BLOCKS:
        if block.language.startswith("python"):
            imported = set(re.findall(r"^(?:>>> )?(?:from|import) (\w+)", block.text, flags=re.MULTILINE))
            needed = imported - sys.stdlib_module_names - installed_with_clew
            named = " ".join(re.findall(r"^# pip install (.*)", block.text, flags=re.MULTILINE))
            assert {package for package in needed if package not in named} == set(), f"{block.page}:{block.line}"


@pytest.mark.parametrize("example", ["interleaved_streams.py", "lazy_worker.py"])
def test_example_shows_whole_trees_and_broken_ones(example: str) -> None:
    program = [sys.executable, "-m", "clew", "run", str(PROJECT / "examples" / example)]
    for arguments, trees in (((), WHOLE[example]), (("--bare",), BROKEN[example])):
        ran = subprocess.run([*program, *arguments], capture_output=True, timeout=60, check=True, cwd=PROJECT)
        lines = ran.stderr.decode("utf-8").splitlines()
        assert [re.sub(r" [\d.]+ ms.*", "", line) for line in lines if " ms" in line] == trees


def test_example_of_hidden_secrets_prints_what_the_page_says() -> None:
    program = [sys.executable, str(PROJECT / "examples/hidden_secrets.py")]
    printed = subprocess.run(program, capture_output=True, timeout=60, check=True).stdout.decode("utf-8")
    assert printed in (PROJECT / "docs/guides/examples.md").read_text(encoding="utf-8")
    bare = subprocess.run([*program, "--bare"], capture_output=True, timeout=60, check=True).stdout.decode("utf-8")
    assert "lovelace" not in printed
    assert "lovelace" in bare


WHOLE = {
    "interleaved_streams.py": [
        "conversation",
        "├── answer ada",
        *["│   ├── look_up"] * 2,
        "│   └── look_up",
        "└── answer grace",
        *["    ├── look_up"] * 2,
        "    └── look_up",
    ],
    "lazy_worker.py": ["request", "refresh"] * 2,
}
BROKEN = {
    "interleaved_streams.py": [
        "conversation",
        "└── answer ada",
        "    ├── look_up",
        "    └── answer grace",
        *["        ├── look_up"] * 4,
        "        └── look_up",
    ],
    "lazy_worker.py": ["request", "├── refresh", "└── refresh", "request"],
}
