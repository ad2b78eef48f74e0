"""The dark variant of a picture: an SVG drawn by Matplotlib, its text, axes and background swapped.

Colours that carry meaning stay what they are: greys and pale tints change their lightness, and
only a colour too dark to be seen is lifted. Matplotlib leaves out the colour of black text, so the
whole picture is given one.
"""

import colorsys
import re
from pathlib import Path
from typing import Any

from docutils import nodes

PAPER, INK = 0.08, 0.86  # the lightness of what was white, and of what was black; as furo's
GREY, TINT = 0.12, 0.80  # below this saturation, or above this lightness, a colour is background
DIMMEST = 0.55  # the least lightness of a colour that is to be seen on dark paper
PAINTED = re.compile(r'((?:fill|stroke|stop-color)(?:: ?|="))(#[0-9a-fA-F]{6}|#[0-9a-fA-F]{3})\b')


def dark(svg_text: str) -> str:
    """Return the SVG for a dark page: what was black is light, what was white is dark."""
    text = PAINTED.sub(lambda found: found[1] + darkened(found[2]), svg_text)
    return re.sub(r"<svg\b", f'<svg fill="{darkened("#000000")}"', text, count=1)


def darkened(colour: str) -> str:
    """Return the counterpart of a colour such as ``#1f77b4`` on a dark page."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:4])
    red, green, blue = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    if max(red, green, blue) - min(red, green, blue) < GREY or lightness > TINT:
        lightness = INK + (PAPER - INK) * lightness
        saturation = min(saturation, 0.4)
    else:
        lightness, saturation = max(lightness, DIMMEST), min(saturation, 0.75)
    parts = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def both(app: Any, doctree: nodes.document) -> None:
    """Give each picture that Matplotlib drew as SVG its dark variant, shown on dark pages."""
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if path.suffix == ".svg" and path.exists() and "Matplotlib" in (text := path.read_text()):
            twin = path.with_name(f"{path.stem}-dark.svg")
            if not twin.exists() or twin.read_text() != dark(text):
                twin.write_text(dark(text))
            other = image.deepcopy()
            other["uri"] = image["uri"].removesuffix(".svg") + "-dark.svg"
            image["classes"].append("only-light")
            other["classes"].append("only-dark")
            image.parent.insert(image.parent.index(image) + 1, other)


def setup(app: Any) -> dict[str, bool]:
    """Run before the pictures of a page are collected."""
    app.connect("doctree-read", both, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
