"""
The tables: figures beside their baselines and their bars, as aligned Markdown.
"""

from __future__ import annotations

import os
import platform
from statistics import median
from typing import TYPE_CHECKING, Any, Iterable, List, Mapping, Sequence, Tuple

if TYPE_CHECKING:
    from benchmarks._cases import Case, Section
    from benchmarks.memory import Footprint

__all__ = ("machine", "memory_table", "timing_table")


def machine(found: Mapping[str, Any]) -> str:
    """
    Return the line about the machine, from what pyperf has `found` out about it, if anything.
    """
    parts = [
        f"{platform.python_implementation()} {platform.python_version()}",
        found.get("cpu_model_name") or platform.machine(),
        f"{os.cpu_count()} cores",
    ]
    if found:
        cpu = found.get("cpu_affinity")
        parts.append(f"pyperf {found['perf_version']}")
        parts.append("not pinned" if cpu is None else f"pinned to CPU {cpu}")
    return ", ".join(parts)


def timing_table(sections: Iterable[Section], rounds: Mapping[str, Sequence[float]]) -> str:
    """
    Return the table of a timed group.

    Cases are compared round by round, and the median of that is shown: what slows a whole round down
    falls on both sides of a difference, where it would not on the medians of all values.

    Args:
        rounds: by the title of a case, the seconds of one operation in each round.
    """
    rows = [("operation", "case", "time", "difference", "ratio", "bar (rounds that met it)")]
    for section in sections:
        measured = {case.name: rounds[section.title(case)] for case in section.cases if section.title(case) in rounds}
        baseline = measured[section.cases[0].name]
        rows += [(section.operation, *timing_row(case, measured, baseline)) for case in section.cases]
    return aligned(rows, left=2)


def timing_row(case: Case, measured: Mapping[str, Sequence[float]], baseline: Sequence[float]) -> Tuple[str, ...]:
    if case.name not in measured:
        return (case.name, "not installed", "", "", "")
    name = f"{case.name} ({case.version})" if case.version else case.name
    own = measured[case.name]
    time = f"{in_unit(median(own))} +- {in_unit(deviation(own))}"
    if own is baseline:
        return (name, time, "", "", "")
    above = [(mine - bare) * 1e6 for mine, bare in zip(own, baseline)]
    ratios = [mine / bare for mine, bare in zip(own, baseline)]
    bars = []
    if case.most_us is not None:
        bars.append(judged(f"<= {case.most_us:,g} us", [mine * 1e6 - case.most_us for mine in own]))
    if case.most_above_us is not None:
        bars.append(judged(f"<= {case.most_above_us:+,g} us", [one - case.most_above_us for one in above]))
    if case.most_ratio is not None:
        bars.append(judged(f"<= {case.most_ratio:g}x", [one - case.most_ratio for one in ratios]))
    if case.less_than in measured:
        bars.append(judged(f"< {case.less_than}", [mine - its for mine, its in zip(own, measured[case.less_than])]))
    return (
        name,
        time,
        f"{median(above):+,.2f} +- {deviation(above):,.2f} us",
        f"{median(ratios):.2f}x",
        "; ".join(bars),
    )


def judged(bar: str, excesses: Sequence[float]) -> str:
    met = sum(excess <= 0 for excess in excesses)
    return f"{bar}: {'met' if median(excesses) <= 0 else 'MISSED'} ({met}/{len(excesses)})"


def deviation(values: Sequence[float]) -> float:
    """
    Return the median absolute deviation: how far from the median half of the values stay.
    """
    middle = median(values)
    return median(abs(value - middle) for value in values)


def memory_table(footprints: Iterable[Footprint]) -> str:
    rows = [("case", "operations", "bytes kept, each", "objects kept, each", "bytes left, all", "objects left, all")]
    rows += [
        (
            found.name,
            f"{found.operations:,}",
            f"{found.kept_bytes / found.operations:,.1f}",
            f"{found.kept_objects / found.operations:,.1f}",
            f"{found.left_bytes:+,}",
            f"{found.left_objects:+,}",
        )
        for found in footprints
    ]
    return aligned(rows, left=1)


def in_unit(seconds: float) -> str:
    for unit, scale in (("ns", 1e9), ("us", 1e6)):
        if seconds * scale < 1_000:
            return f"{seconds * scale:.4g} {unit}"
    return f"{seconds * 1e3:.4g} ms"


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> str:
    """
    Return rows as a Markdown table: the first `left` columns flush left, the others flush right.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines: List[str] = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = [f":{'-' * (w - 1)}" if i < left else f"{'-' * (w - 1)}:" for i, w in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)
