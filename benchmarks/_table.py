"""
The tables: figures beside their baselines and their bars, as aligned Markdown.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, List, Mapping, Sequence

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


def timing_table(sections: Iterable[Section], benchmarks: Mapping[str, Any]) -> str:
    """
    Return the table of a timed group from pyperf's benchmarks by their names.
    """
    rows = [("operation", "case", "time", "spread", "difference", "ratio", "bar")]
    for section in sections:
        measured = {case.name: benchmarks.get(section.title(case)) for case in section.cases}
        medians = {name: bench.median() for name, bench in measured.items() if bench is not None}
        baseline = medians[section.cases[0].name]
        for case in section.cases:
            name = f"{case.name} ({case.version})" if case.version else case.name
            bench = measured[case.name]
            if bench is None:
                rows.append((section.operation, name, "not installed", "", "", "", ""))
                continue
            median, spread = medians[case.name], f"+- {in_unit(bench.median_abs_dev())}"
            if case is section.cases[0]:
                rows.append((section.operation, name, in_unit(median), spread, "", "", ""))
                continue
            rows.append(
                (
                    section.operation,
                    name,
                    in_unit(median),
                    spread,
                    f"{(median - baseline) * 1e6:+,.2f} us",
                    f"{median / baseline:.2f}x",
                    "; ".join(judge(case, medians, baseline)),
                )
            )
    return aligned(rows, left=2)


def judge(case: Case, medians: Dict[str, float], baseline: float) -> Iterator[str]:
    median = medians[case.name]
    if case.most_us is not None:
        yield f"<= {case.most_us:,g} us: {verdict(median * 1e6 <= case.most_us)}"
    if case.most_above_us is not None:
        yield f"<= {case.most_above_us:+,g} us: {verdict((median - baseline) * 1e6 <= case.most_above_us)}"
    if case.less_than is not None and case.less_than in medians:
        yield f"< {case.less_than}: {verdict(median < medians[case.less_than])}"


def verdict(is_met: bool) -> str:  # noqa: FBT001  one argument, named by the function
    return "met" if is_met else "MISSED"


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
