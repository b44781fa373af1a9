"""
How the documentation is built: `nox -s docs`. Nothing is fetched from the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional

from typing_extensions import ParamSpec

import clew
import clew.context.binding
import clew.context.snapshot
import clew.errors
import clew.executors.thread_pool

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "clew"
author = "The clew contributors"
release = version = clew.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",  # before the next one, which adds to what this makes of a docstring
    "sphinx_autodoc_typehints",
    "sphinx.ext.intersphinx",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"clew {release}"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 2

default_role = "code"
autodoc_member_order = "bysource"
# As they are written: `os.environ` is all that the machine has, which is nobody's business.
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
# The house's own sections: when a context is captured and who sees it; and what decides a behaviour.
napoleon_custom_sections = ["Context", "Source"]
typehints_document_rtype = False

# The inventory is a copy, from Debian's package python3.11-doc.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "_inventories/python.inv")}
# Of these there is no inventory.
nitpick_ignore_regex = [("py:.*", r"(anyio|langsmith|opentelemetry|trio)\..*"), ("py:class", r".*\.TypeVarTuple")]

# Loaded now, so that annotations, too, show these objects under the name that people import.
EVERYDAY = [getattr(clew, name) for name in clew.__all__]
# The package has its ParamSpec for type checkers alone, as it does not load typing_extensions.
for module in (clew.context.binding, clew.context.snapshot, clew.executors.thread_pool):
    module.P = ParamSpec("P")

# What docstrings and annotations name otherwise than the page that describes it.
KNOWN_AS = {
    **{name: f"clew.errors.{name}" for name in clew.errors.__all__ if name not in clew.__all__},
    "BrokenThreadPool": "concurrent.futures.thread.BrokenThreadPool",
    "UUID": "uuid.UUID",
    "_contextvars.Context": "contextvars.Context",
    "_contextvars.ContextVar": "contextvars.ContextVar",
    "_thread._local": "threading.local",
    "asyncio.events.AbstractEventLoop": "asyncio.AbstractEventLoop",
    "concurrent.futures._base.Executor": "concurrent.futures.Executor",
    "concurrent.futures.thread.ThreadPoolExecutor": "concurrent.futures.ThreadPoolExecutor",
    "datetime": "datetime.datetime",
}


def setup(app: Sphinx) -> None:
    # Before napoleon's and intersphinx's own listeners, which have the default priority of 500.
    app.connect("autodoc-process-docstring", keep_first_line_of_property, priority=400)
    app.connect("missing-reference", resolve_by_known_name, priority=400)


def keep_first_line_of_property(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: List[str]
) -> None:
    """
    Put an empty comment first: napoleon takes what stands before a colon in the first line for a type.
    """
    if what == "property":
        lines[:0] = ["..", ""]


def resolve_by_known_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.TextElement
) -> Optional[nodes.reference]:
    """
    Look in our own pages, and leave the others, under the right name, to intersphinx.
    """
    target = KNOWN_AS.get(node.get("reftarget", ""))
    if target is None:
        return None
    node["reftarget"] = target
    return env.get_domain("py").resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, contnode)
