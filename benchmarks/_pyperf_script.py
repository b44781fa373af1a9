"""
One round of one group: what pyperf runs, once as the manager and once as each worker process.

`benchmarks.__main__` starts it, several rounds to a file.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pyperf

from benchmarks._cases import BATCH, TIMED_GROUPS, sections_of

__all__ = ("main",)


def main() -> None:
    runner = pyperf.Runner(program_args=("-m", "benchmarks._pyperf_script"), add_cmdline_args=tell_worker)
    runner.argparser.add_argument("group", choices=TIMED_GROUPS)
    runner.argparser.add_argument("--round", type=int, required=True)
    args = runner.parse_args()
    # Another order each round, so that a machine that slows down favours no case, and the cases of a section
    # one after the other, as they are compared. Seeded, as a worker finds its case by its place in the order.
    order = random.Random(args.round)
    sections = sections_of(args.group)
    cases = [
        (section.title(case), case)
        for section in order.sample(sections, len(sections))
        for case in order.sample(section.cases, len(section.cases))
    ]
    loops = loops_so_far(args.append)
    for title, case in cases:
        if case.version is None:
            continue
        args.loops = loops.get(title, args.loops)
        if case.command:
            runner.bench_command(title, [sys.executable, *case.command])
        else:
            runner.bench_time_func(title, case.measure, inner_loops=BATCH)


def tell_worker(command, args) -> None:
    command.extend((args.group, "--round", str(args.round)))


def loops_so_far(path) -> dict:
    """
    Return how many loops each case had in the rounds before; in the first one, pyperf finds out.
    """
    if path is None or not Path(path).exists():
        return {}
    return {bench.get_name(): bench.get_loops() for bench in pyperf.BenchmarkSuite.load(path)}


if __name__ == "__main__":
    main()
