"""
The command: choose groups, run them through pyperf in rounds, print a table for each. Or compare two builds.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import List, Optional, Sequence

from benchmarks._against import print_ratios
from benchmarks._cases import HOT_PATHS, TIMED_GROUPS, sections_of
from benchmarks._table import machine, memory_table, timing_table
from benchmarks.memory import OPERATIONS, footprints

__all__ = ("main",)

GROUPS = (*TIMED_GROUPS, "memory")


def main(argv: Optional[Sequence[str]] = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"{', '.join((*GROUPS, *HOT_PATHS))}")
    parser.add_argument("--against", metavar="BUILD", help="compare with this directory or revision, by the hot paths")
    parser.add_argument("--instructions", action="store_true", help="count instructions, with --against (valgrind)")
    parser.add_argument("--cases", default="", metavar="TEXT", help="only those with this in the title, with --against")
    parser.add_argument("--fast", action="store_true", help="take fewer values")
    parser.add_argument("--smoke", action="store_true", help="only see that every case runs, and measure nothing")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="keep pyperf's raw results")
    options = parser.parse_args(argv)
    unknown = sorted({*options.groups} - {*GROUPS, *HOT_PATHS})
    if unknown:
        parser.error(f"expected groups out of {', '.join((*GROUPS, *HOT_PATHS))}, found {', '.join(unknown)}")
    if (options.instructions or options.cases) and not options.against:
        parser.error("expected --against with --instructions and --cases")
    if options.output and options.output.exists():
        parser.error(f"expected a new file, found that {options.output} exists")
    groups = options.groups or (HOT_PATHS if options.against else GROUPS)
    if options.against:
        if "memory" in groups:
            parser.error("expected timed groups with --against, found memory")
        print_ratios(groups, options.against, part=options.cases, counts=options.instructions, smoke=options.smoke)
        return
    if options.smoke:
        smoke(groups)
        return
    with tempfile.TemporaryDirectory() as directory:
        results = options.output or Path(directory) / "results.json"
        for group in groups:
            print(f"## {group}\n")
            report = memory_report() if group == "memory" else timing_report(group, results, fast=options.fast)
            print(report, end="\n\n", flush=True)


def smoke(groups: Sequence[str]) -> None:
    for group in groups:
        if group == "memory":
            for found in footprints(operations=2_000):
                print(f"{group}: {found.name}: ok", flush=True)
            continue
        for section in sections_of(group):
            for case in section.cases:
                outcome = "ok"
                if case.version is None:
                    outcome = "not installed"
                elif case.command:
                    subprocess.run([sys.executable, *case.command], check=True)
                else:
                    case.measure(1)
                print(f"{group}: {section.title(case)}: {outcome}", flush=True)


def memory_report() -> str:
    return f"{machine({})}, {OPERATIONS:,} operations\n\n{memory_table(footprints())}"


def timing_report(group: str, results: Path, *, fast: bool) -> str:
    import pyperf  # here, as --smoke and the group memory do without

    # Many short rounds and not few long ones, as the cases of a section are compared within a round.
    rounds, values = (3, 2) if fast else (10, 3)
    for number in range(1, rounds + 1):
        print(f"{group}: round {number} of {rounds}", file=sys.stderr, flush=True)
        run_round(group, number, values, results)
    benchmarks = {bench.get_name(): bench for bench in pyperf.BenchmarkSuite.load(str(results))}
    # A round leaves one run with values; the first one leaves those of pyperf's calibration, too, without.
    medians = {
        name: [median(run.values) for run in bench.get_runs() if run.values] for name, bench in benchmarks.items()
    }
    sections = sections_of(group)
    found = benchmarks[sections[0].title(sections[0].cases[0])].get_metadata()
    line = f"{machine(found)}; median of {rounds} rounds, each the median of {values} values, +- median deviation"
    return f"{line}\n\n{timing_table(sections, medians)}"


def run_round(group: str, number: int, values: int, results: Path) -> None:
    command = [sys.executable, "-m", "benchmarks._pyperf_script", group, f"--round={number}", "--quiet"]
    command += ["--processes=1", f"--values={values}", "--min-time=0.03", f"--append={results}", *pinning(group)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nround {number} of {group} failed")


def pinning(group: str) -> List[str]:
    # Not on macOS and Windows, and not for threads that are to run at once. The last CPU, as the first one often serves
    # the interrupts.
    if group == "sharing" or not hasattr(os, "sched_getaffinity"):
        return []
    return [f"--affinity={max(os.sched_getaffinity(0))}"]


if __name__ == "__main__":
    main()
