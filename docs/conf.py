project = "tinynn"
copyright = "2026, the tinynn authors"
author = "the tinynn authors"

extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "tinynn"
