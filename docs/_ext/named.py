"""Links from the names in a page's text, such as ``tnn.Conv1d``, to where they are described."""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

NAME = re.compile(r"(?:tnn|tinynn|np|numpy)\.[A-Za-z_][\w.]*")
LONG = {"tnn": "tinynn", "np": "numpy"}


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make a link of each literal that begins with the name of a documented object."""
    for literal in list(doctree.findall(nodes.literal)):
        if _linked(literal):
            continue
        found = NAME.match(literal.astext())
        if found is None:
            continue
        head, _, rest = found[0].rstrip(".").partition(".")
        reference = _reference(app, docname, f"{LONG.get(head, head)}.{rest}")
        if reference is not None:
            literal.replace_self(reference)
            reference += literal


def _linked(node: nodes.Node) -> bool:
    """Tell whether a link, or a heading, is around a node."""
    parents = nodes.reference, nodes.title
    while node is not None:
        if isinstance(node, parents):
            return True
        node = node.parent
    return False


def _reference(app: Sphinx, docname: str, name: str) -> nodes.reference | None:
    """Return an empty link to what ``name``, or its first parts, names."""
    objects = app.env.domaindata["py"]["objects"]
    while "." in name:
        if name in objects:
            entry = objects[name]
            empty = nodes.inline()
            return make_refnode(app.builder, docname, entry.docname, entry.node_id, empty, name)
        if (address := _elsewhere(app.env, name)) is not None:
            return nodes.reference("", "", internal=False, refuri=address, reftitle=name)
        name = name.rpartition(".")[0]
    return None


def _elsewhere(env: BuildEnvironment, name: str) -> str | None:
    """Return the address of a name of another project's."""
    for kind in ("function", "class", "method"):
        item = env.intersphinx_inventory.get(f"py:{kind}", {}).get(name)
        if item is not None:
            return item.uri
    return None
