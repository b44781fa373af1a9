"""
Which variables of the environment configure clew, and when they take effect: with the first module of the run tree.

What they say is in `clew.exporters.configuration`.
"""

from __future__ import annotations

import os

__all__ = ("VARIABLES", "load_configuration")

VARIABLES = (
    *("CLEW_ENABLED", "CLEW_EXPORT", "CLEW_HIDE", "CLEW_MAX_QUEUED_BYTES", "CLEW_PROJECT"),
    *("CLEW_SAMPLE", "CLEW_SERVICE"),
    *(
        f"{whose}_HIDE_{what}"
        for whose in ("CLEW", "LANGSMITH", "LANGCHAIN")
        for what in ("INPUTS", "OUTPUTS", "METADATA")
    ),
)


def load_configuration() -> None:
    """
    Load the module that reads the variables, if any of them is set. It reads them once.

    The packages `clew.runs` and `clew.exporters` call this before any module of theirs is loaded, so that the way of
    import makes no difference. The module is named by text: these packages are below it.
    """
    if any(name in os.environ for name in VARIABLES):
        __import__("clew.exporters.configuration")
