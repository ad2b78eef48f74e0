"""Write the lists of NumPy's and Matplotlib's documented names, by which pages link to theirs.

    python docs/_inventories/make.py

They are plain text (version 1 of Sphinx's inventories), so that the site is built offline. The
addresses are those of both projects' own pages: one page for each name.
"""

from pathlib import Path

import numpy

HERE = Path(__file__).parent
MATPLOTLIB = {
    "matplotlib.axes.Axes": "class",
    "matplotlib.figure.Figure": "class",
    "matplotlib.figure.Figure.savefig": "method",
    "matplotlib.animation.FuncAnimation": "class",
    "matplotlib.pyplot.figure": "function",
    "matplotlib.pyplot.savefig": "function",
    "matplotlib.pyplot.show": "function",
    "matplotlib.pyplot.subplots": "function",
}
MODULES = {"numpy": numpy, "numpy.linalg": numpy.linalg}
MORE = {"numpy.random.default_rng": "function", "numpy.random.Generator": "class"}


def main() -> None:
    """Write both lists."""
    names = {}
    for module, members in MODULES.items():
        for name in members.__all__:
            member = getattr(members, name)
            if callable(member) and not name.startswith("_"):
                names[f"{module}.{name}"] = "class" if isinstance(member, type) else "function"
    lines = [f"{name} {kind} reference/generated/{name}.html" for name, kind in names.items()]
    pages = {"numpy.random.default_rng": "generator", "numpy.random.Generator": "generator"}
    lines += [f"{name} {kind} reference/random/{pages[name]}.html" for name, kind in MORE.items()]
    write("numpy", lines)
    write(
        "matplotlib", [f"{n} {kind} api/_as_gen/{page(n)}.html" for n, kind in MATPLOTLIB.items()]
    )


def page(name: str) -> str:
    """Return the page of a name: a method's is that of its class."""
    return name.rpartition(".")[0] if MATPLOTLIB[name] == "method" else name


def write(project: str, lines: list[str]) -> None:
    """Write one list."""
    head = ["# Sphinx inventory version 1", f"# Project: {project}", "# Version: stable"]
    (HERE / f"{project}.inv").write_text("\n".join([*head, *sorted(lines), ""]))


if __name__ == "__main__":
    main()
