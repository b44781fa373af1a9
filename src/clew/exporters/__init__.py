"""
Exporters, which take finished runs somewhere: their protocol, the pipeline that feeds them, and a module for each.

`clew.configure`, which chooses exporters, is in `clew.exporters.configuration`.
"""

from __future__ import annotations

from clew._shared.environment import load_configuration

load_configuration()
