"""
How the documentation is built: `nox -s docs`. Nothing is fetched from the network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, List, Optional

from docutils import nodes

import clew
import clew.errors

if TYPE_CHECKING:
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
nitpick_ignore_regex = [
    ("py:.*", r"(anyio|langsmith|opentelemetry|trio)\..*"),
    ("py:class", r".*\.(TypeVarTuple|Unset)"),
]

# Loaded now, so that annotations, too, show these objects under the name that people import.
EVERYDAY = [getattr(clew, name) for name in clew.__all__]
# Classes keep the name of the module that has their source; the pages describe them under the package's.
for everyday in EVERYDAY:
    if isinstance(everyday, type):
        everyday.__module__ = "clew"

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
    app.connect("source-read", include_changelog)
    app.connect("source-read", add_toctree_of_links)
    app.connect("doctree-resolved", link_names_in_code_spans)


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


def include_changelog(_app: Sphinx, docname: str, source: List[str]) -> None:
    """
    Show CHANGELOG.md on its page; the page itself only names that file, for its readers in the repository.
    """
    if docname == "changelog":
        source[0] = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")


def add_toctree_of_links(_app: Sphinx, docname: str, source: List[str]) -> None:
    """
    Make the navigation of an index page from the links in its list.

    The page itself has no toctree, because its readers in the repository would see the directive as text.
    """
    if docname.rpartition("/")[2] == "index":
        pages = re.findall(r"^- .*?\]\((?!https?:)([^)#]+)\.md\)", source[0], flags=re.MULTILINE)
        source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"


def link_names_in_code_spans(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """
    Link each code span that is the full name of something, of clew or of the standard library, to its description.

    The pages have plain code spans instead of roles, because their readers in the repository would see a role as text.
    """
    env = app.env
    python = env.get_domain("py")
    stdlib = {
        name: item
        for kind, items in env.intersphinx_inventory.items()
        if kind[:3] == "py:"
        for name, item in items.items()
    }
    for span in list(doctree.findall(nodes.literal)):
        text = span.astext()
        name = text[:-2] if text.endswith("()") else text
        parent = span.parent
        if "." not in name or isinstance(parent, (nodes.reference, nodes.title)):
            continue
        if name in python.objects:
            found = python.objects[name]
            uri = app.builder.get_relative_uri(docname, found.docname) + f"#{found.node_id}"
        elif name in stdlib:
            item = stdlib[name]
            uri = item.uri if hasattr(item, "uri") else item[2]
        else:
            continue
        parent.replace(span, nodes.reference("", "", span.deepcopy(), refuri=uri, internal=name in python.objects))
