"""
What a sampler is: a ratio, or a function that decides at the root of each trace.

How it is applied is in `clew.runs._tree.settings`; how the decision travels, in `clew.runs.headers`.
"""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional, Union

__all__ = ("TraceRoot",)


class TraceRoot(NamedTuple):
    """
    The root of a trace that is about to begin, as a sampler gets it.

    Args:
        name: the name of the root run.
        run_type: LangSmith's kind of run.
        service: the service that `clew.configure` has set; None without one.
    """

    name: str
    run_type: str
    service: Optional[str]


Sampler = Union[float, Callable[[TraceRoot], Union[bool, float]]]
