"""
Check the relative links between Markdown files, with one job in a thread pool for each file.

    clew run examples/link_check.py docs            the whole tree
    clew run examples/link_check.py --bare docs     the broken trees of the standard library's pool
"""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clew import ContextThreadPoolExecutor, trace, traceable

LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")


@traceable(run_type="retriever")
def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@traceable(run_type="tool")
def find_broken(text: str, folder: Path) -> list[str]:
    return [target for target in LINK.findall(text) if not (folder / target).exists()]


def check(path: Path) -> list[str]:
    with trace(f"check {path.name}", inputs={"path": str(path)}):
        return [f"{path}: {target}" for target in find_broken(read(path), path.parent)]


@traceable
def check_all(root: Path, *, bare: bool) -> list[str]:
    pool_class = ThreadPoolExecutor if bare else ContextThreadPoolExecutor
    with pool_class(max_workers=4) as pool:
        return [broken for result in pool.map(check, sorted(root.rglob("*.md"))) for broken in result]


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--bare"]
    found = check_all(Path(words[0] if words else "."), bare="--bare" in sys.argv)
    print("\n".join(found) or "every relative link leads somewhere")
    sys.exit(bool(found))
