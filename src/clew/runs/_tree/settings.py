"""
What `clew.configure` has set for the runs of the process: project, service and sampler.

What a sampler is, is in `clew.runs.sampling`.
"""

from __future__ import annotations

from math import isnan
from typing import Any, NamedTuple, Optional, Union

from clew._shared.incidents import report
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.runs._tree.identity import UnsampledRoot
from clew.runs._tree.ids import digits_of, draw_numbers, next_random_number, number_of
from clew.runs._tree.inherited import Inherited
from clew.runs.sampling import Sampler, TraceRoot

__all__ = (
    "MAX_QUEUED_BYTES",
    "Resource",
    "Settings",
    "settings",
)


class Resource(NamedTuple):
    """
    The project and the service of the runs of the process. Immutable: `clew.configure` replaces the object.
    """

    project_name: Optional[str] = None
    service: Optional[str] = None


MAX_QUEUED_BYTES = 1 << 26


class Settings:
    """
    The one configuration of the process, which `clew.configure` changes.
    """

    __slots__ = ("_sampler", "max_queued_bytes", "resource", "sampling")

    resource: Optional[Resource]  # None until one of the two is set, so that a run need not store it
    # How to sample, in one attribute, as another thread may replace it at any time. Read it once for a decision: None
    # records each trace; an int is the threshold of a ratio, below which a trace's random number is not sampled. Any
    # other value is the sampling function.
    sampling: Any

    def __init__(self) -> None:
        self.resource = None
        self._sampler: Optional[Sampler] = None
        self.sampling = None
        self.max_queued_bytes = MAX_QUEUED_BYTES

    @property
    def project_name(self) -> Optional[str]:
        """
        The project of runs without a project of their own.
        """
        return None if self.resource is None else self.resource.project_name

    @property
    def service(self) -> Optional[str]:
        """
        The name of this program.
        """
        return None if self.resource is None else self.resource.service

    def set_resource(self, *, project_name: Optional[str], service: Optional[str]) -> None:
        """
        File the runs that end from now on under these names.
        """
        is_said = project_name is not None or service is not None
        self.resource = Resource(project_name, service) if is_said else None

    @property
    def sampler(self) -> Optional[Sampler]:
        """
        The sampler; None if every trace is recorded.

        Raises:
            ArgumentTypeError: on setting what is neither a number nor callable.
            ArgumentValueError: on setting a number that is not from 0 to 1.
        """
        return self._sampler

    @sampler.setter
    def sampler(self, sampler: Optional[Sampler]) -> None:
        sampling: Any = sampler
        if isinstance(sampler, (int, float)) and not isinstance(sampler, bool):
            if not 0 <= sampler <= 1:
                raise ArgumentValueError(
                    f"expected a ratio from 0 to 1, got {sampler!r}; 0.1 records a tenth of all traces"
                )
            sampling = _threshold_of(sampler)
        elif sampler is not None and not callable(sampler):
            raise ArgumentTypeError(
                f"expected a sampler as a ratio or a function, got {type(sampler).__name__} {sampler!r}; "
                f"pass a number from 0 to 1, or a function that gets a TraceRoot"
            )
        self._sampler = sampler
        self.sampling = sampling

    def decide(
        self, name: str, run_type: str, inherited: Optional[Inherited] = None, id_text: Optional[str] = None
    ) -> Union[UnsampledRoot, str]:
        """
        Decide whether to sample a new trace. Return its random id digits if so, or an `UnsampledRoot` root if not.

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
        sampling = self.sampling
        threshold = sampling if type(sampling) is int else self._threshold_for(sampling, name, run_type)
        if number >= threshold:
            return digits_of(number)
        # Filled in here instead of in an `__init__`, as the two objects in `open_run`.
        root = UnsampledRoot()
        root.name = name
        root.inherited = inherited
        root._number = number
        root._id_text = id_text
        return root

    def _threshold_for(self, sampler: Any, name: str, run_type: str) -> int:
        if sampler is None:  # another thread has removed the sampler just now
            return 0
        try:
            return _threshold_of(float(sampler(TraceRoot(name, run_type, self.service))))
        except Exception as error:  # noqa: BLE001  a failing sampler must not break the traced call
            report("samplers_failed", "a sampler failed, and the trace is recorded", error=error)
            return 0


settings: Settings = Settings()


_RANDOM_SPACE = 1 << 56


def _threshold_of(ratio: float) -> int:
    if isnan(ratio):
        raise ArgumentValueError(f"expected a ratio from 0 to 1 of the sampler, got {ratio!r}; return 1 to record")
    # Not computed as 1 - ratio, which is 1 for a small ratio.
    recorded = round(min(max(ratio, 0), 1) * _RANDOM_SPACE)
    return _RANDOM_SPACE - recorded << 8  # the place of these bits in a random number: see `digits_of`
