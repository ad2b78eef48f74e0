"""A page's own pictures: ``drawn`` shows what the Python blocks above it have drawn.

The blocks run while the site is built, in order, in one namespace for each page, as the tests run
them. So a picture is always that of the code which the reader sees.
"""

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LOOK = {"svg.fonttype": "path", "svg.hashsalt": "tinynn"}


class Drawn(SphinxDirective):
    """Run the blocks above that have not run yet, and show the figures that are open then."""

    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return a container of images, one below the other."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        page = self.env.doc2path(self.env.docname)
        above = "".join(Path(page).read_text().splitlines(keepends=True)[: self.lineno - 1])
        blocks = BLOCK.findall(above)
        state = self.env.temp_data.setdefault("drawn", {"done": 0, "names": {"__name__": "page"}})
        plt.close("all")
        with plt.rc_context(LOOK), _elsewhere():
            for block in blocks[state["done"] :]:
                exec(compile(block, page, "exec"), state["names"])
            state["done"] = len(blocks)
            figures = [plt.figure(number) for number in plt.get_fignums()]
            pictures = [self.saved(figure, i) for i, figure in enumerate(figures)]
        plt.close("all")
        if not pictures:
            raise self.error("drawn: the blocks above drew nothing.")
        return [nodes.container("", *pictures, classes=["picture"])]

    def saved(self, figure: Any, i: int) -> nodes.image:
        """Save a figure beside the site, and return the node that shows it."""
        folder = Path(self.env.doctreedir).parent / "drawn"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.env.docname.replace('/', '-')}-{self.lineno}-{i}.svg"
        figure.savefig(file, metadata={"Date": None})
        uri = os.path.relpath(file, Path(self.env.doc2path(self.env.docname)).parent)
        return nodes.image(uri=Path(uri).as_posix(), alt=self.options.get("alt", ""))


@contextlib.contextmanager
def _elsewhere() -> Any:
    """Let a block print and write files where nobody looks."""
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        yield


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("drawn", Drawn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
