"""
Whether a trace is recorded, decided once, at its root; and what `clew.configure` has said for the whole process.

What travels of the decision is in `clew.runs.headers`.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Union

from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.incidents import report
from clew.runs.identity import Identity, Unsampled, new_id_text, new_random_digits

__all__ = ("Root", "Sampler", "Settings", "settings")

_RANDOM_SPACE = 1 << 56


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

    __slots__ = ("_sampler", "is_enabled", "is_sampling", "project_name", "service")

    project_name: Optional[str]
    service: Optional[str]
    is_enabled: bool
    is_sampling: bool  # whether there is a sampler

    def __init__(self) -> None:
        self.is_enabled = True
        self.project_name = None
        self.service = None
        self._sampler: Optional[Sampler] = None
        self.is_sampling = False

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
    def sampler(self, sampler: Any) -> None:
        is_ratio = isinstance(sampler, (int, float)) and not isinstance(sampler, bool)
        if not (sampler is None or is_ratio or callable(sampler)):
            raise ArgumentTypeError(
                f"expected a sampler as a ratio or a function, got {type(sampler).__name__} {sampler!r}; "
                f"pass a number from 0 to 1, or a function of a clew.Root"
            )
        if is_ratio and not 0 <= sampler <= 1:
            raise ArgumentValueError(
                f"expected a ratio from 0 to 1, got {sampler!r}; 0.1 records a tenth of all traces"
            )
        self._sampler = sampler
        self.is_sampling = sampler is not None

    def decide(self, identity: Identity, run_type: str) -> Optional[Unsampled]:
        """
        Return None if the trace is recorded that begins with a root of that name, and who the root is otherwise.

        A sampler that fails records the trace, and is counted as ``"samplers_failed"`` in `clew.stats()`.

        Source:
            W3C Trace Context, level 2, section 3.2.2.3.2: the last 7 bytes of the trace id are random; and
            OpenTelemetry's consistent sampling, which records what is not below the threshold.
        """
        digits = new_random_digits()
        try:
            verdict: Any = self._sampler
            if callable(verdict):
                verdict = verdict(Root(identity.name, run_type, self.service))
            is_sampled = int(digits, 16) % _RANDOM_SPACE >= (1 - verdict) * _RANDOM_SPACE
        except Exception as error:  # noqa: BLE001  it is the program's own function, and its call to be made
            report("samplers_failed", "a sampler failed, and the trace is recorded", error=error)
            is_sampled = True
        if is_sampled:
            identity._id_text = new_id_text(identity.start_time_ns, digits)
            return None
        return Unsampled(identity.name, identity.start_time_ns, digits, identity.inherited)


settings = Settings()
