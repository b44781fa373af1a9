"""
Whether a trace is recorded, decided once, at its root; and what `clew.configure` has said for the whole process.

What travels of the decision is in `clew.runs.headers`.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Union

from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = ("Root", "Sampler", "settings")

_RANDOM_BITS = 56


class Root(NamedTuple):
    """
    Hold what a sampler is told of the root of a trace that is about to begin.

    Args:
        name: of the root run.
        run_type: LangSmith's kind of run.
        service: as `clew.configure` was told; None where it was not.
    """

    name: str
    run_type: str
    service: Optional[str]


Sampler = Union[float, Callable[[Root], Union[bool, float]]]


class Settings:
    """
    Hold what `clew.configure` has said: the one default configuration of the process.
    """

    __slots__ = ("_sampler", "project_name", "service")

    project_name: Optional[str]
    service: Optional[str]

    def __init__(self) -> None:
        self.project_name = None
        self.service = None
        self._sampler: Optional[Sampler] = None

    @property
    def sampler(self) -> Optional[Sampler]:
        """
        What decides; None if every trace is recorded.

        Raises:
            ArgumentTypeError: on setting what is neither a number nor callable.
            ArgumentValueError: on setting a number that is not from 0 to 1.
        """
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Optional[Sampler]) -> None:
        if isinstance(sampler, bool) or not (sampler is None or isinstance(sampler, (int, float)) or callable(sampler)):
            raise ArgumentTypeError(
                f"expected a sampler as a ratio or a function, got {type(sampler).__name__} {sampler!r}; "
                f"pass a number from 0 to 1, or a function of a clew.Root"
            )
        if isinstance(sampler, (int, float)) and not 0 <= sampler <= 1:
            raise ArgumentValueError(
                f"expected a ratio from 0 to 1, got {sampler!r}; 0.1 records a tenth of all traces"
            )
        self._sampler = sampler


settings = Settings()
