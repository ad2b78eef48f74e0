"""Pictures for light and dark pages: Matplotlib's SVG, and the same in the dark theme's colours."""

DARK = {  # of the pictures (tinynn.plots and Matplotlib) -> on the theme's dark background
    "#ffffff": "#131416",
    "#000000": "#d4d4d4",
    "#333333": "#cccccc",
    "#0072b2": "#4fa8e0",
    "#d55e00": "#f08238",
    "#009e73": "#2fc79a",
    "#b0b0b0": "#4a4a4a",
    "#cccccc": "#555555",
}


def dark(svg: str) -> str:
    """Return an SVG of Matplotlib's in colours for the dark theme."""
    parts = svg.split("#")
    for i, part in enumerate(parts[1:], start=1):
        color = "#" + part[:6].lower()
        parts[i] = DARK.get(color, "#" + part[:6])[1:] + part[6:]
    svg = "#".join(parts)
    # What has no colour of its own is black: text, above all.
    return svg.replace("<svg ", f'<svg fill="{DARK["#000000"]}" ', 1)
