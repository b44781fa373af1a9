"""
How much may be added to a run bit by bit, and inherited from the runs and blocks around it.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from clew.runs._tree.kept.copier import MAX_ITEMS

__all__ = ("CUT_KEY", "CUT_TAGS", "MAX_OBJECTS", "extend_bounded", "merge_bounded")

CUT_KEY = "clew.cut"  # the key that says that others were left out
CUT_TAGS = "<cut: more tags>"
MAX_OBJECTS = 3 * MAX_ITEMS  # more than a copy has: its keys, its items, and their containers


def extend_bounded(values: List[Any], added: Sequence[Any], most: int, marker: Any) -> bool:
    """
    Extend the tags or the events of a run, until there are `most` of them. Return True if some are left out.

    In that case a marker follows the last one.
    """
    room = most - len(values)
    if room >= len(added):
        values.extend(added)
        return False
    if room >= 0:
        values.extend((*added[:room], marker))
    return True


def merge_bounded(metadata: Dict[str, Any], added: Mapping[str, Any]) -> bool:
    """
    Merge values into a part of a run, until it has `MAX_ITEMS` keys. Return True if some values are left out.

    In that case a further key says so.
    """
    for key, value in added.items():
        if len(metadata) >= MAX_ITEMS and key not in metadata:
            metadata[CUT_KEY] = f"<cut: more than {MAX_ITEMS} keys>"
            return True
        metadata[key] = value
    return False
