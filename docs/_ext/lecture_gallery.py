"""The gallery of the lecture: which scripts, in which order, and how their pictures are taken."""

import ast
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from textwrap import indent
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst, matplotlib_scraper

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
TITLES = {  # of scripts whose docstring has no heading of its own
    "detect_spikes": "A spike detector, beside its limit",
    "detect_heartbeats": "Heartbeats in a real recording",
}
HEADER = "Examples\n========\n"
BUTTONS = {
    "fa-minus": "−",
    "fa-fast-backward": "|◀",
    "fa-step-backward": "◀|",
    "fa-play fa-flip-horizontal": "◀",
    "fa-pause": "❚❚",
    "fa-play": "▶",
    "fa-step-forward": "|▶",
    "fa-fast-forward": "▶|",
    "fa-plus": "+",
}
PRINTED = "It prints:\n\n.. rst-class:: sphx-glr-script-out\n"
HEARTBEATS = """\
.. image:: /images/heartbeats.png
   :alt: An electrocardiogram with labelled and found beats, seven of which lack a label; the score;
         the learned kernel over the average beat; the loss

*The picture that it draws. It was not run for this page, since it needs the extra* ``ecg``.
"""
PICTURES = re.compile(r"^\.\. image(?:-sg)?::.*\n(?: +\S.*\n|\n(?= +:))+", re.MULTILINE)
PICTURE = Path(tempfile.gettempdir()) / f"tinynn-docs-{os.getpid()}.png"


def stage(source: Path, target: Path, pages: Path) -> Path:
    """Copy the scripts of ``source`` to ``target``, each with a heading, and return ``target``.

    A script that is as it was is not run again, unless the library or the quickness has changed.
    In ``pages``, what was made of scripts that are no more is deleted.
    """
    target.mkdir(parents=True, exist_ok=True)
    texts = {path.name: _with_heading(path) for path in sorted(source.glob("*.py"))}
    texts["GALLERY_HEADER.rst"] = HEADER
    for path in target.glob("*.py"):
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        file = target / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)
    for page in pages.glob("*.rst"):
        if page.stem != "index" and (page.stem.startswith("_") or f"{page.stem}.py" not in texts):
            page.unlink()
    library = sorted((source.parent / "tinynn").rglob("*.py"))
    state = repr(quick()) + "".join(map(Path.read_text, [*library, source / "_shared.py"]))
    digest, noted = hashlib.sha256(state.encode()).hexdigest(), target / "state.txt"
    if not noted.exists() or noted.read_text() != digest:
        for sum_of_script in pages.glob("*.md5"):
            sum_of_script.unlink()
        noted.write_text(digest)
    return target


def quick() -> bool:
    """Tell whether the environment asks for a quick build."""
    return os.environ.get("TINYNN_DOCS_QUICK", "0") not in ("", "0")


def _with_heading(path: Path) -> str:
    """Return a script whose docstring begins with a heading, as a page must."""
    text = path.read_text()
    title = TITLES.get(path.stem)
    docstring = ast.get_docstring(ast.parse(text), clean=False) or ""
    lines = docstring.strip().splitlines()
    underlined = len(lines) > 1 and lines[1] and set(lines[1]) <= set("=-~^")
    page = docstring
    if title is not None and not underlined:
        page = f"{title}\n{'=' * len(title)}\n\n{docstring.lstrip()}"
    page = re.sub(r"(?<!::)\n\n(?=    python examples/)", "\n\n.. code-block:: sh\n\n", page)
    return text.replace(docstring, page, 1)


def arrange(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put what a script drew and printed before its code, and leave out notes on the build.

    Sphinx calls this for each page before it reads it; a page's source is ``source[0]``.
    """
    folder, _, name = docname.rpartition("/")
    if folder != "lecture/examples" or name not in ORDER:
        return
    text = source[0].split(".. rst-class:: sphx-glr-timing")[0]
    text = text.split(".. _sphx_glr_download_")[0]
    start = text.index(".. rst-class:: sphx-glr-example-title")
    intro, mark, code = text[start:].partition(".. GENERATED FROM PYTHON SOURCE LINES")
    code = re.sub(r"^ *(picture|animation): .*\n", "", code, flags=re.MULTILINE)
    code = re.sub(r"^ *Epoch \d+/\d+: .*\n(\s*\n)?", "", code, flags=re.MULTILINE)  # progress bars
    last = max(code.rfind(".. GENERATED FROM PYTHON SOURCE LINES"), 0)
    listing = code.index(".. code-block:: Python", last)
    results = re.search(r"^\.\. (image-sg|container|rst-class)::", code[last:], re.MULTILINE)
    shown = ""
    if results:
        at = last + results.start()  # a script of one block has its results first
        end = listing if at < listing else len(code)
        code, shown = code[:at] + code[end:], code[at:end]
        shown = re.sub(r"^\.\. rst-class:: sphx-glr-script-out\n", PRINTED, shown, flags=re.M)
    elif name == "detect_heartbeats":
        shown = HEARTBEATS
    # The gallery does not escape quotes in the text for those who cannot see a picture.
    shown = re.sub(
        r"^ +:alt: .*", lambda line: line[0].replace('"', "'"), shown, flags=re.MULTILINE
    )
    shown = PICTURES.sub(
        lambda found: ".. container:: picture\n\n" + indent(found[0], "    "), shown
    )
    source[0] = f"{intro}\n{shown}\n\nThe script, ``examples/{name}.py``:\n\n{mark}{code}"


class LectureOrder:
    """The order of the lecture; scripts that it does not name come last."""

    def __init__(self, src_dir: str) -> None:
        self.src_dir = src_dir

    def __call__(self, filename: str) -> tuple[int, str]:
        """Return the key by which the file is sorted."""
        stem = Path(filename).stem
        return (ORDER.index(stem) if stem in ORDER else len(ORDER)), stem

    def __repr__(self) -> str:
        return "LectureOrder"


def command_line(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """Return the arguments of every script: draw, and be quick if the environment says so."""
    PICTURE.unlink(missing_ok=True)
    return ["--plot", str(PICTURE), *(["--quick"] if quick() else [])]


def scraper(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Take the open figures and animations; or the file that a script saved before it closed."""
    films = animations(block_vars["example_globals"].values())
    rst = matplotlib_scraper(block, block_vars, gallery_conf)
    if not rst and PICTURE.exists():
        path = next(block_vars["image_path_iterator"])
        shutil.copy(PICTURE, path)
        rst = figure_rst([path], gallery_conf["src_dir"])
    PICTURE.unlink(missing_ok=True)
    return rst + films


def animations(values: Iterable[Any]) -> str:
    """Return the animations among ``values`` as reST, with buttons to play them; close them."""
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation

    rst = ""
    for film in [value for value in values if isinstance(value, FuncAnimation)]:
        page = film._fig
        if not plt.fignum_exists(page.number):
            continue
        page.canvas.draw()
        page.set_layout_engine("none")  # found once, not anew for each frame
        if quick():
            film._save_count = 4  # each frame takes a third of a second
        html = without_network(film.to_jshtml(default_mode="once"))
        plt.close(page)
        block = "\n\n.. container:: sphx-glr-animation\n\n    .. raw:: html\n\n"
        rst += block + indent(html, " " * 8) + "\n\n"
    return rst


def without_network(html: str) -> str:
    """Return Matplotlib's player with characters for its buttons; their font is on a server."""
    html = re.sub(r"<link\s[^>]*font-awesome[^>]*>", "", html)
    html = html.replace("<img id=", '<img alt="The animation: see the text" id=')
    return re.sub(r'<i class="fa ([^"]*)"></i>', lambda icon: BUTTONS[icon[1]], html)
