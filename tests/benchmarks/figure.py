"""The figure of cost against size (needs Matplotlib, the extra 'plots')."""

from . import columns, scaling

# Shades that stay apart for colour-blind eyes and in print (Okabe and Ito 2008).
STYLES = {
    "tinynn eager": ("#D55E00", ":"),
    "tinynn compile": ("#D55E00", "-"),
    "tinynn fit": ("#D55E00", "--"),
    "PyTorch": ("#0072B2", ":"),
    "torch.compile": ("#0072B2", "-"),
    "JAX": ("#009E73", "-"),
}


def save(curves: scaling.Curves, path: str) -> None:
    """Draw a panel for each axis, all with one scale of time; save them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    page, panels = plt.subplots(1, len(curves), figsize=(9, 3.4), sharey=True, layout="constrained")
    for panel, axis in zip(panels, curves, strict=True):
        _panel(panel, curves, axis)
    panels[0].set_ylabel("a training step (ms)")
    handles, labels = panels[0].get_legend_handles_labels()
    page.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    page.savefig(path, dpi=150)
    plt.close(page)


def _panel(panel, curves: scaling.Curves, axis: str) -> None:
    highest = (0, 0.0)
    for column in columns.TRAINING:
        times = scaling.curve(curves, axis, column)
        if times:
            color, line = STYLES[column]
            milliseconds = [1e3 * t for t in times.values()]
            panel.loglog(
                list(times), milliseconds, line, color=color, marker=".", lw=1.3, label=column
            )
            highest = max(highest, (max(times), milliseconds[-1]))
    last, top = highest
    if last:  # what linear means, above all curves
        guide = [last / 30, last]
        panel.loglog(guide, [3 * top * n / last for n in guide], color="#999999", lw=0.8)
        panel.annotate("linear", (last, 3 * top), ha="right", va="bottom", color="#666666")
    panel.set_xlabel({"depth": "hidden layers", "length": "samples"}.get(axis, "series a batch"))
    panel.set_title(f"{axis}: {scaling.AXES[axis].partition(', n layers')[0]}", loc="left")
