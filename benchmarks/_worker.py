"""
One process of one build: it measures the cases that `benchmarks._against` names on standard input, one a line.

What is compared and printed is for `benchmarks._against`.
"""

from __future__ import annotations

import sys

from benchmarks._cases import BATCH, sections_of

__all__ = ("main",)


def main(group: str) -> None:
    """
    Answer each line, a title and a number of loops, with the seconds of one operation.
    """
    sections = sections_of(group)
    cases = {section.title(case): case for section in sections for case in section.cases}
    for line in sys.stdin:
        title, loops = line.rstrip("\n").split("\t")
        print(cases[title].measure(int(loops)) / (int(loops) * BATCH), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
