"""
Record a log-in and a question to a model: passwords are hidden by name, e-mail addresses by a hook.

    python examples/hidden_secrets.py            what is recorded
    python examples/hidden_secrets.py --bare     what would be recorded if nothing were hidden
"""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from typing import Any, Dict

import clew

EMAIL = re.compile(r"[\w.]+@[\w.]+\w")


def redact(value: Any, part: str) -> Any:
    """
    Replace e-mail addresses at any depth.
    """
    if isinstance(value, str):
        return EMAIL.sub("<e-mail>", value)
    if isinstance(value, list):
        return [redact(item, part) for item in value]
    if isinstance(value, dict):
        return {key: redact(item, part) for key, item in value.items()}
    return value


@clew.traceable
def log_in(user: str, password: str) -> Dict[str, str]:
    return {"user": user, "accessToken": password[::-1]}


@clew.traceable(run_type="llm")
def ask(question: str, headers: Dict[str, str], max_tokens: int) -> str:
    if "Authorization" not in headers:
        raise PermissionError(f"nobody may ask {question!r}")
    return question[:max_tokens]


def main() -> None:
    with clew.record() as runs:
        session = log_in("ada@example.org", password="lovelace")  # noqa: S106  what is to be hidden
        ask("who is grace@example.org?", {"Authorization": f"Bearer {session['accessToken']}"}, max_tokens=100)
        with suppress(PermissionError):
            ask("who is ada@example.org?", {}, max_tokens=100)
    for run in runs:
        print(run.name, run.inputs, run.outputs or (run.error or "").splitlines()[-1])


if __name__ == "__main__":
    if "--bare" in sys.argv:
        clew.configure(hide=False)
    else:
        clew.configure(redact=redact)
    main()
