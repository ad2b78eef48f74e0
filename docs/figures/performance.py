"""One training step of other libraries against tnn.fit, drawn from the table of all figures."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

PAGE = Path("../how/performance-figures.md")  # Sphinx runs the script in its own folder
COLUMNS = {"PyTorch": "#0072B2", "JAX": "#009E73", "tinynn eager": "#E69F00"}
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}

table = PAGE.read_text().split("One core, one thread each:")[1].split("\n\n")[1]
lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
names, rows = ["", *(name.strip() for name in lines[0])], lines[2:]
times = {}
for row in rows:
    cells = dict(zip(names, row, strict=True))
    for name in ("tinynn fit", *COLUMNS):
        number, unit = re.fullmatch(r"([\d.]+) (µs|ms|s)", cells[name].strip()).groups()
        times.setdefault(name, []).append(float(number) * UNITS[unit])

plt.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9})
figure, ax = plt.subplots(figsize=(8, 2.9), layout="constrained")
at = np.arange(len(rows))
for i, (name, color) in enumerate(COLUMNS.items()):
    ratio = np.divide(times[name], times["tinynn fit"])
    label = {"tinynn eager": "tinynn without replay"}.get(name, name)
    bars = ax.bar(at + 0.27 * (i - 1), ratio, 0.25, color=color, label=label)
    ax.bar_label(bars, [f"{value:.1f}" for value in ratio], fontsize=7.5, padding=1)
ax.axhline(1, color="#333333", linewidth=1)
ax.text(len(rows) - 0.55, 1.1, "tnn.fit", va="bottom", fontsize=8)
ax.set_xticks(at, [row[0].strip() for row in rows])
ax.set(ylabel="time of a step / that of tnn.fit", xlim=(-0.6, len(rows) - 0.1))
ax.legend(frameon=False, loc="upper left")
