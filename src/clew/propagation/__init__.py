"""
The context as text: codecs for the headers that carry a trace from one process to the next.

Text in, values out, and the other way round: nothing here knows a run, an event loop or a framework, and nothing is
sent. Readers never raise, whatever they are given; writers never write what their specification forbids.
"""

from __future__ import annotations
