"""
The start of an interpreter that imports something, as a command-line tool would feel it.
"""

from __future__ import annotations

from benchmarks._cases import Case, Section

__all__ = ("SECTIONS",)

EVERYDAY = "from clew import ContextThreadPoolExecutor, traceable"
# The same two names; `import langsmith` alone loads them only when they are first used.
LANGSMITH = "from langsmith import traceable; from langsmith.utils import ContextThreadPoolExecutor"

SECTIONS = (
    Section(
        "python -c",
        (
            Case("pass", command=("-c", "pass")),
            Case("import clew", command=("-c", "import clew"), most_above_us=20_000),
            Case(EVERYDAY, command=("-c", EVERYDAY)),
            Case("import langsmith", command=("-c", "import langsmith"), package="langsmith"),
            Case(LANGSMITH, command=("-c", LANGSMITH), package="langsmith"),
            Case(
                "import opentelemetry.sdk.trace",
                command=("-c", "import opentelemetry.sdk.trace"),
                package="opentelemetry-sdk",
            ),
        ),
    ),
)
