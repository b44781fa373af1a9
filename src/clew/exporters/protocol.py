"""
The protocol of an exporter.

When exporters are called is in `clew.exporters.pipeline`.
"""

from __future__ import annotations

from typing import Protocol, Sequence

from clew.runs.finished import Run

__all__ = ("Exporter",)


class Exporter(Protocol):
    """
    Takes finished runs to where they are kept.

    Any object with these methods is an exporter; it need not derive from this.

    The methods are called one at a time, in an empty context in which nothing is recorded. The caller is one daemon
    thread, until `clew.configure` sets exporters again. An exporter may also have ``export_starts(runs)``, which gets
    runs that have started and not ended yet, in their state at the time of the call.
    """

    def export(self, runs: Sequence[Run]) -> None:
        """
        Deliver finished runs. After any exception, `export` gets the same runs again, up to a limit.

        After `clew.errors.RunsRefusedError` it does not: that error says that some of the runs can never be delivered
        and that all others are delivered.
        """

    def shutdown(self, timeout: float) -> None:
        """
        Release all resources, within `timeout` seconds. `export` is not called after this.
        """
