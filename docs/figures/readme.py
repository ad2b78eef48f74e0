"""The README's picture, drawn by its own first lines of code: python docs/figures/readme.py."""

import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1]
sys.path += [str(DOCS / "_ext"), str(DOCS.parent)]

from two_tones import dark  # noqa: E402

code = re.search(r"^```python\n(.*?)^```$", (DOCS.parent / "README.md").read_text(), re.S | re.M)[1]
plt.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "tinynn"})
exec(code, {"__name__": "readme"})
light = DOCS / "images" / "first.svg"
plt.gcf().savefig(light, metadata={"Date": None})
# White behind it all: a viewer in the dark may not know the picture's dark variant.
light.with_stem("first-dark").write_text(dark(light.read_text()))
