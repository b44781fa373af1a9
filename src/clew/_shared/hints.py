"""
Names for type hints that older Pythons lack, so that `typing.get_type_hints` works on every version.

Type checkers take them from `typing_extensions`, which is not loaded at run time.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__all__ = ("ParamSpec", "subscriptable")

if TYPE_CHECKING:
    from typing_extensions import ParamSpec
elif sys.version_info >= (3, 10):
    from typing import ParamSpec
else:  # drop with 3.9

    class ParamSpec(list):
        """
        A stand-in for `typing.ParamSpec`. It is a list, as `typing.Callable` takes nothing else for its parameters.
        """

        def __init__(self, name: str) -> None:
            self.__name__ = name
            self.args = self.kwargs = Any

        def __repr__(self) -> str:
            return f"~{self.__name__}"


def subscriptable(cls: Any) -> Any:
    """
    Return a name for a class in hints of 3.8, where few generic classes take a subscript. Drop it with 3.8.
    """
    return _Subscriptable(cls)


class _Subscriptable:
    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def __getitem__(self, parameters: object) -> Any:
        return self._cls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cls, name)
