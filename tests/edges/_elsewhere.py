"""
Jobs for other processes, which import this module to run them: it imports little.
"""

from __future__ import annotations

import os
from typing import Any, Tuple

from tests.edges._threads import user


def value_of_user(*_: object) -> Any:
    return user.get()


def process() -> int:
    return os.getpid()


def describe(*args: object, **kwargs: object) -> Tuple[Any, ...]:
    return args, kwargs


def fail(message: str) -> None:
    raise LookupError(message)


def read_line(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline()
