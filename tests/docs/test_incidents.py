"""
The reference says of each kind of incident what it is.
"""

from __future__ import annotations

import re
from pathlib import Path

import clew

PACKAGE = Path(clew.__file__).parent
REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "errors.md"
IN_CODE = re.compile(r"""\b(?:report|count)\w*\(\s*"([a-z]+(?:_[a-z]+)+)",""")


def test_every_kind_of_incident_is_in_the_reference() -> None:
    in_code = {kind for path in PACKAGE.rglob("*.py") for kind in IN_CODE.findall(path.read_text(encoding="utf-8"))}
    assert {"samplers_failed", "runs_dropped", "configs_refused"} <= in_code
    heads = re.findall(r"(?m)^(`\w+`(?:, `\w+`)*)\n: ", REFERENCE.read_text(encoding="utf-8"))
    described = {kind for head in heads for kind in re.findall(r"\w+", head)}
    assert sorted(in_code - described) == []
