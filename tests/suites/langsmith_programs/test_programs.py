"""
LangSmith's documented programs, the same ones with its names and with clew's.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Optional

import pytest

import clew
from tests.foreign._tracers import NEEDS_LANGSMITH
from tests.suites.langsmith_programs import annotating, by_hand, nesting, streaming, telling
from tests.suites.langsmith_programs._programs import GENERATION, Clew, LangSmith, Program, drawn, said

PROGRAMS = [*annotating.PROGRAMS, *by_hand.PROGRAMS, *telling.PROGRAMS, *nesting.PROGRAMS, *streaming.PROGRAMS]
REACHED = nesting.REACHED


@pytest.fixture
def langsmith(monkeypatch: pytest.MonkeyPatch) -> Iterator[LangSmith]:
    sdk = LangSmith(monkeypatch)
    yield sdk
    monkeypatch.undo()
    sdk.close()


def each(programs: List[Program], reason: Callable[[Program], Optional[str]] = lambda program: None) -> Any:
    """Run a test with each of the programs; with `reason`, one that clew has not caught up with."""

    def case(program: Program) -> Any:
        why = reason(program)
        marks = [] if why is None else [pytest.mark.xfail(reason=f"clew has not {why}")]
        return pytest.param(program, id=program.call.__name__, marks=marks)

    return pytest.mark.parametrize("program", [case(program) for program in programs])


@NEEDS_LANGSMITH
@each([program for program in [*PROGRAMS, *REACHED] if program.since <= GENERATION])
def test_program_with_langsmiths_names_is_whole_or_split(langsmith: LangSmith, program: Program) -> None:
    assert program.bare != program.tree
    assert drawn(langsmith.run(program)) == (program.bare or program.tree)


@each(PROGRAMS, lambda program: program.missing)
def test_program_with_clews_names_is_whole(program: Program) -> None:
    assert drawn(Clew().run(program)) == program.tree


@each(REACHED)
def test_program_with_the_stdlibs_threads_is_whole_once_they_are_reached(program: Program) -> None:
    with clew.installed():
        assert drawn(Clew().run(program)) == program.tree


@NEEDS_LANGSMITH
@each(
    [program for program in PROGRAMS if program.since <= GENERATION], lambda program: program.missing or program.untold
)
def test_both_say_the_same_of_each_run(langsmith: LangSmith, program: Program) -> None:
    ours, theirs = Clew().run(program), langsmith.run(program)
    assert said(ours, program.differs) == said(theirs, program.differs)
    # What is left out is what they differ in.
    assert not program.differs or said(ours) != said(theirs)
