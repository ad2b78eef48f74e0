"""Links to the glossary: on each page, from the first use of each of its terms."""

import re

from docutils import nodes
from sphinx.application import Sphinx

GLOSSARY = "reference/glossary"
NOT_AFTER = {"precision": r"(?<!half )(?<!single )(?<!double )", "kernel": r"(?<!feature )"}
APART = nodes.reference, nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.image
OURS = "from", "how", "lecture", "start", "touch", "cookbook", "course", "formats"


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make a link of the first use of each term, in the running text of a page."""
    if docname.partition("/")[0] not in OURS:
        return
    objects = app.env.domaindata["std"]["objects"]
    terms = {
        name: label
        for (kind, name), (page, label) in objects.items()
        if kind == "term" and page == GLOSSARY
    }
    for name in sorted(terms, key=len, reverse=True):
        pattern = NOT_AFTER.get(name, "") + rf"(?<![\w-]){re.escape(name)}(?:s?)(?![\w-])"
        address = app.builder.get_relative_uri(docname, GLOSSARY) + f"#{terms[name]}"
        _link_first(doctree, re.compile(pattern, re.IGNORECASE), address, name)


def _link_first(doctree: nodes.document, term: re.Pattern[str], address: str, name: str) -> None:
    for text in doctree.findall(nodes.Text):
        found = term.search(text)
        if found is None or _apart(text):
            continue
        before, word, after = text[: found.start()], found[0], text[found.end() :]
        reference = nodes.reference("", word, internal=True, refuri=address, classes=["term"])
        reference["reftitle"] = f"{name}: see the glossary"
        parts = [nodes.Text(before), reference, nodes.Text(after)]
        text.parent.replace(text, parts)
        return


def _apart(node: nodes.Node) -> bool:
    """Tell whether a text is no running text: in a link, a heading, code or a formula."""
    inside = False
    while node is not None:
        if isinstance(node, APART):
            return True
        inside |= isinstance(node, nodes.paragraph)
        node = node.parent
    return not inside
