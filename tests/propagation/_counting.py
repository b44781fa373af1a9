"""
What `clew.stats()` has counted in a block.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Dict, Iterator

import clew


@contextmanager
def counting() -> Iterator[Dict[str, int]]:
    """Yield a dict. After the block it holds the incidents that were counted in the block."""
    before = clew.stats()
    counted: Dict[str, int] = {}
    yield counted
    counted.update({kind: n - before.get(kind, 0) for kind, n in clew.stats().items() if n != before.get(kind, 0)})
