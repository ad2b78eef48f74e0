"""Mathematics as MathML, converted while the site is built, so that pages need no network."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

UPRIGHT = r'<mi mathvariant="normal">\1</mi>'


def mathml(latex: str, display: str) -> str:
    """Return a formula as MathML, capital Greek letters upright as LaTeX sets them."""
    markup = convert(latex, display=display)
    return re.sub(r"<mi>([Α-Ω]|&#x0039[1-9A-F];|&#x003A[0-9];)</mi>", UPRIGHT, markup)


def visit_math(self: Any, node: nodes.math) -> None:
    """Write inline mathematics."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_displaymath(self: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own; one too wide for the window scrolls by itself."""
    self.body.append(self.starttag(node, "div", CLASS="math-display"))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({node["number"]})</span>')
    self.body.append(mathml(node.astext(), "block"))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer under the name "mathml"."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_displaymath, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
