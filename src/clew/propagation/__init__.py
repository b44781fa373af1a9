"""
Read and write the headers that carry a trace from one process to the next.

`clew.propagation.carrier` reads and writes all of them at once; a module for each format is below it. They turn text
into values and values into text. They know no run, event loop or framework, and send nothing. No input makes a reader
raise, and writers write only what the specification of the format allows.
"""

from __future__ import annotations
