"""How the site is built: python -m sphinx -W -b html docs docs/_build/html.

The pages of the lecture are the scripts in lessons/, which run while the site is built.
"""

import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

import lessons  # noqa: E402
import named  # noqa: E402
import terms  # noqa: E402

project = "tinynn"
copyright = "2026, the tinynn authors"
author = "the tinynn authors"
release = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",  # parameter lists
    "sphinx.ext.viewcode",  # links to the source
    "sphinx.ext.intersphinx",
    "sphinx_copybutton",
    "sphinx_codeautolink",  # links from the names in code blocks
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "drawn",
    "two_tones",
]
exclude_patterns = [
    "_build",
    "_ext",
    "figures",
    "lessons",
    f"{lessons.FOLDER}/index.rst",  # lecture/index.md takes its place
    "**/sg_execution_times.rst",
]
nitpicky = True
smartquotes = False  # in code and outside it, -- is two hyphens

# Markdown.
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_update_mathjax = False

# The reference. Types are in the docstrings' words: shapes say more than "Any".
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
add_function_parentheses = False
python_use_unqualified_type_names = True
numpydoc_show_class_members = False  # autodoc shows them

# NumPy's and Matplotlib's own pages; the lists of their names are kept here, for builds offline.
intersphinx_mapping = {
    "numpy": ("https://numpy.org/doc/stable", "_inventories/numpy.inv"),
    "matplotlib": ("https://matplotlib.org/stable", "_inventories/matplotlib.inv"),
}
suppress_warnings = ["codeautolink.match_block", "codeautolink.match_name"]  # a link less
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Mathematics: MathML, made while building; browsers draw it themselves, without a network.
html_math_renderer = "mathml"

# Figures of "How it works": scripts in figures/.
plot_include_source = False
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("svg", 100)]
plot_rcparams = {"svg.fonttype": "path"}
plot_apply_rcparams = True

# The lessons.
sphinx_gallery_conf = {
    "examples_dirs": ["lessons"],
    "gallery_dirs": [lessons.FOLDER],
    "within_subsection_order": "lessons.LectureOrder",
    "filename_pattern": r"\.py$",
    "image_scrapers": ("lessons.scraper",),
    "abort_on_example_error": True,
    "capture_repr": (),
    "download_all_examples": False,
    "copyfile_regex": "",
    "min_reported_time": 0,
    "write_computation_times": False,
    "show_memory": False,
    "show_signature": False,
}

html_theme = "furo"
html_title = f"tinynn {release}"
html_static_path = ["_static"]
html_css_files = ["tinynn.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0072B2",
        "color-brand-content": "#0072B2",
    },
    "dark_css_variables": {
        "color-brand-primary": "#56B4E9",
        "color-brand-content": "#56B4E9",
    },
    "navigation_with_keys": True,
}


NUMPYS = set(re.findall(r"^numpy\.(\S+)", (HERE / "_inventories" / "numpy.inv").read_text(), re.M))


ADVANCED = """\
```{note}
This page is advanced. [Start](../start/install.md) and the [lessons](../lecture/index.md) need none
of it.
```
"""


def advanced(app, docname, source):
    """Say at the top of each page of "How it works" that it is advanced."""
    if docname.startswith("how/"):
        title, _, rest = source[0].partition("\n")
        source[0] = f"{title}\n\n{ADVANCED}{rest}"


def setup(app):
    """Connect what is done to docstrings and pages."""

    def refer(app, what, name, obj, options, lines):
        """Refer to NumPy's function of the same name, whose parameters an operation has."""
        theirs = name.removeprefix("tinynn.").replace("norm", "linalg.norm")
        if what == "function" and theirs in NUMPYS and "Parameters" not in lines:
            blank = lines.index("") if "" in lines else len(lines)
            lines[blank:blank] = [
                "",
                f"The parameters mean what they do in :func:`numpy.{theirs}`.",
            ]

    def escape(app, what, name, obj, options, lines):
        """Keep an absolute value, |x|, from being a substitution of reST's."""
        for i, line in enumerate(lines):
            if "|" in line and ">>>" not in line:
                plain = re.split(r"(``.*?``)", line)
                plain[::2] = [part.replace("|", r"\|") for part in plain[::2]]
                lines[i] = "".join(plain)

    app.connect("autodoc-process-docstring", refer, priority=100)  # before numpydoc
    app.connect("autodoc-process-docstring", escape)
    app.connect("doctree-resolved", named.link)
    app.connect("doctree-resolved", terms.link)
    app.connect("source-read", advanced)
    app.connect("source-read", lessons.arrange)
    app.connect("builder-inited", lessons.make_downloads, priority=900)  # after the gallery
