"""A grid of convolutions, forward and backward, against PyTorch eager: none may embarrass."""

import itertools
import statistics

from . import columns, tables
from .pool import Row
from .settings import Settings
from .workloads import Spec

SHAPES = ((1, 256), (32, 1024), (1, 65_536))  # batch, length
CHANNELS = ((1, 8), (8, 8), (16, 16), (64, 64), (8, 1))
KERNELS = (3, 9, 25, 65)
# name: stride, dilation, depthwise, dtype
VARIANTS = {
    "plain": (1, 1, False, "float32"),
    "stride 2": (2, 1, False, "float32"),
    "stride 3, dilation 2": (3, 2, False, "float32"),
    "dilation 4": (1, 4, False, "float32"),
    "depthwise": (1, 1, True, "float32"),
    "float64": (1, 1, False, "float64"),
}
MOST = 2e9  # multiplications of a forward pass: beyond, a case takes seconds
QUICK = ((1, 256),), ((1, 8), (8, 8)), (3, 25)


def cases(quick: bool) -> dict[str, Spec]:
    """Return the configurations by name."""
    found = {}
    shapes, pairs, kernels = QUICK if quick else (SHAPES, CHANNELS, KERNELS)
    for (n, length), (c, f), k, name in itertools.product(shapes, pairs, kernels, VARIANTS):
        stride, dilation, depthwise, dtype = VARIANTS[name]
        if (depthwise and (c != f or c == 1)) or n * length * c * f * k > MOST:
            continue
        found[f"({n}, {length}) {c}-{f} kernel {k} {name}"] = {
            "task": "conv", "batch": n, "length": length, "in": c, "filters": f, "kernel": k,
            "stride": stride, "dilation": dilation, "groups": c if depthwise else 1,
            "dtype": dtype,
        }  # fmt: skip
    return found


def measure(settings: Settings) -> str:
    """Measure every case on one core."""
    rows: dict[str, Row] = {}
    turn = 0.01 if settings.quick else 0.05
    with settings.pool(columns.EAGER, "one-core") as pool:
        for name, spec in cases(settings.quick).items():
            rows[name] = pool.measure(spec, rounds=min(settings.rounds, 5), turn=turn)
        settings.note(pool)
    ratios = {name: row.ratio("tinynn eager", "PyTorch") for name, row in rows.items()}
    known = {name: r for name, r in ratios.items() if r is not None}
    return _all(rows, ratios) + "\n" + _worst(rows, known) + "\n" + _by_variant(known)


def _all(rows: dict[str, Row], ratios: dict[str, float | None]) -> str:
    """Return the table of all ratios, kernels across."""
    lines: dict[str, dict[int, str]] = {}
    for name, ratio in ratios.items():
        head, tail = name.split(" kernel ")
        kernel, variant = tail.split(" ", 1)
        lines.setdefault(f"{head}, {variant}", {})[int(kernel)] = tables.times(ratio)
    kernels = sorted({k for line in lines.values() for k in line})
    body = [[name, *(line.get(k, "") for k in kernels)] for name, line in lines.items()]
    header = ["(batch, length) channels-filters", *(f"kernel {k}" for k in kernels)]
    title = "Convolution, forward and backward, one core: PyTorch eager's time over tinynn's"
    return tables.markdown(title, header, body, tables.remarks(rows))


def _worst(rows: dict[str, Row], ratios: dict[str, float]) -> str:
    worst = sorted(ratios, key=ratios.__getitem__)[:12]
    lines = [
        [n, *(tables.cell(rows[n], c) for c in columns.EAGER), tables.times(ratios[n])]
        for n in worst
    ]
    slow, behind = (sum(r < limit for r in ratios.values()) for limit in (0.5, 1))
    note = f"Of {len(ratios)} cases {behind} are slower than PyTorch, {slow} slower than half."
    return tables.markdown("The worst convolutions", ["", *columns.EAGER, "ratio"], lines, note)


def _by_variant(ratios: dict[str, float]) -> str:
    lines = []
    for variant in VARIANTS:
        seen = [r for name, r in ratios.items() if name.split(" ", 5)[-1] == variant]
        if seen:
            figures = min(seen), statistics.geometric_mean(seen), max(seen)
            lines.append([variant, str(len(seen)), *map(tables.times, figures)])
    header = ["", "cases", "worst", "geometric mean", "best"]
    return tables.markdown("Convolutions by kind", header, lines)
