"""
The list and dict that `RunTree.tags` and `RunTree.metadata` return. Changing them changes the run, as with LangSmith.

The run keeps its tags and metadata in `clew.runs._tree.attributes`, which makes a new view for each reader.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import Any, Dict, Iterable, List

from clew.runs._tree.options import check_tags

__all__ = ("Metadata", "Tags")


class Tags(List[str]):
    """
    The tags of a run, in a list of their own. Each change of the list is also made in the run.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Any) -> None:  # a MutableRun, whose module imports this one
        super().__init__(run._all_tags())
        self._run = run

    def append(self, tag: str) -> None:
        self.extend([tag])

    def extend(self, tags: Iterable[str]) -> None:
        added = check_tags(tags)
        super().extend(added)
        self._run.add_tags(added)

    def __iadd__(self, tags: Iterable[str]) -> Tags:  # type: ignore[override,misc]
        self.extend(tags)
        return self

    def __reduce__(self) -> Any:
        return list, (list(self),)


class Metadata(Dict[str, Any]):
    """
    The metadata of a run, in a dict of its own. Each change of the dict is also made in the run.
    """

    __slots__ = ("_run",)

    def __init__(self, run: Any) -> None:  # as with tags
        super().__init__(run._all_metadata())
        self._run = run

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self.update({key: default})
        return self[key]

    def update(self, *given: Any, **more: Any) -> None:
        added = dict(*given, **more)
        super().update(added)
        self._run.add_metadata(added)

    def __ior__(self, metadata: Any) -> Metadata:  # type: ignore[override,misc]
        self.update(metadata)
        return self

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _setting_the_run(change: Any, field: str) -> Any:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        result = change(self, *args, **options)
        self._run.set(**{field: self})
        return result

    return update_wrapper(method, change)


# The methods above add to what the run has. After those that remove, replace or move items, the run takes over the
# whole list or dict.
for _name in ("__delitem__", "__imul__", "__setitem__", "clear", "insert", "pop", "remove", "reverse", "sort"):
    setattr(Tags, _name, _setting_the_run(getattr(list, _name), "tags"))
for _name in ("__delitem__", "clear", "pop", "popitem"):
    setattr(Metadata, _name, _setting_the_run(getattr(dict, _name), "metadata"))
