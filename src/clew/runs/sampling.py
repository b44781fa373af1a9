"""
Whether anything is recorded: who wants to be told, what `clew.configure` has said, and sampling, at each root.

What travels of the decision is in `clew.runs.headers`.
"""

from __future__ import annotations

from math import isnan
from typing import Any, Callable, NamedTuple, Optional, Union

from clew._shared.incidents import report
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.identity import Inherited, Unsampled
from clew.runs._tree.ids import digits_of, draw_numbers, next_random_number, number_of

__all__ = (
    "Filing",
    "Sampler",
    "Settings",
    "TraceRoot",
    "settings",
)

_RANDOM_SPACE = 1 << 56

_new = object.__new__


class TraceRoot(NamedTuple):
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


class Filing(NamedTuple):
    """
    Hold what the runs of the process are filed under. It never changes: `clew.configure` puts another one in its place.
    """

    project_name: Optional[str] = None
    service: Optional[str] = None


Sampler = Union[float, Callable[[TraceRoot], Union[bool, float]]]


class Settings:
    """
    Hold what `clew.configure` has said: the one default configuration of the process.
    """

    __slots__ = ("_sampler", "threshold", "filing", "is_sampling")

    filing: Optional[Filing]  # None, which a run does not have to remember, where nothing was said
    is_sampling: bool  # whether there is a sampler

    def __init__(self) -> None:
        self.filing = None
        self._sampler: Optional[Sampler] = None
        self.threshold: Optional[int] = None  # of a ratio: a trace whose random number is below is not sampled
        self.is_sampling = False

    @property
    def project_name(self) -> Optional[str]:
        """
        The project of the runs that have no other.
        """
        return None if self.filing is None else self.filing.project_name

    @property
    def service(self) -> Optional[str]:
        """
        The name of this program.
        """
        return None if self.filing is None else self.filing.service

    def file_under(self, *, project_name: Optional[str], service: Optional[str]) -> None:
        """
        File the runs that end from now on under these names.
        """
        is_said = project_name is not None or service is not None
        self.filing = Filing(project_name, service) if is_said else None

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
        threshold = None
        if isinstance(sampler, (int, float)) and not isinstance(sampler, bool):
            if not 0 <= sampler <= 1:
                raise ArgumentValueError(
                    f"expected a ratio from 0 to 1, got {sampler!r}; 0.1 records a tenth of all traces"
                )
            threshold = _threshold_of(sampler)
        elif sampler is not None and not callable(sampler):
            raise ArgumentTypeError(
                f"expected a sampler as a ratio or a function, got {type(sampler).__name__} {sampler!r}; "
                f"pass a number from 0 to 1, or a function that gets a TraceRoot"
            )
        self._sampler = sampler
        self.threshold = threshold
        self.is_sampling = sampler is not None

    def decide(
        self, name: str, run_type: str, inherited: Optional[Inherited] = None, id_text: Optional[str] = None
    ) -> Union[Unsampled, str]:
        """
        Decide whether to sample a new trace. Return its random id digits if so, or an `Unsampled` root if not.

        A given id decides by its own digits. A sampler that fails records the trace, and is counted as
        ``"samplers_failed"`` in `clew.stats()`.

        Source:
            W3C Trace Context, level 2, section 3.2.2.3.2: the last 7 bytes of the trace id are random; and
            OpenTelemetry's consistent sampling, which records a trace unless these are below the threshold.
        """
        if id_text is not None:
            number = number_of(id_text[19:23] + id_text[24:])
        else:
            try:
                number = next_random_number()
            except IndexError:
                number = draw_numbers()
        threshold = self.threshold
        if threshold is None:
            threshold = self._threshold_for(name, run_type)
        if number >= threshold:
            return digits_of(number)
        # Filled in here instead of in an `__init__`, as the two objects in `open_run`.
        root = _new(Unsampled)
        root.name = name
        root.inherited = inherited
        root._number = number
        root._id_text = id_text
        return root

    def _threshold_for(self, name: str, run_type: str) -> int:
        try:
            sampler: Any = self._sampler
            return _threshold_of(float(sampler(TraceRoot(name, run_type, self.service))))
        except Exception as error:  # noqa: BLE001  it is the program's own function, and its call to be made
            report("samplers_failed", "a sampler failed, and the trace is recorded", error=error)
            return 0


def _threshold_of(ratio: float) -> int:
    if isnan(ratio):
        raise ArgumentValueError(f"expected a ratio from 0 to 1 of the sampler, got {ratio!r}; return 1 to record")
    # Not computed as 1 - ratio, which is 1 for a small ratio.
    recorded = round(min(max(ratio, 0), 1) * _RANDOM_SPACE)
    return _RANDOM_SPACE - recorded << 8  # the place of these bits in a random number: see `digits_of`


settings: Settings = Settings()
