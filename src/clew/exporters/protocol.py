"""
What an exporter is: something that finished runs are handed to.

When it is called, and what becomes of what it raises, is in `clew.exporters.pipeline`.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from clew.runs.finished import Run

__all__ = ("Exporter",)


class Exporter(Protocol):
    """
    Take finished runs to where they are kept. Any object with these methods is one; it need not derive from this.

    They are called one at a time, in an empty context in which nothing is recorded, and from one daemon thread until
    `clew.configure` names exporters anew. One that also has ``export_starts(runs)`` is told of runs that have started
    and have not ended yet, as they are at the time of the call.
    """

    def export(self, runs: Sequence[Run]) -> None:
        """
        Deliver finished runs; raise, whatever it is, if they were not delivered, and they will come again.

        `clew.errors.RunsRefusedError` says that all but some of them were, and that those are not to come again.
        """

    def shutdown(self, timeout: float) -> None:
        """
        Let go of what the exporter holds, in so many seconds at most; no runs will come any more.
        """
