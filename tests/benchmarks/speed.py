"""Training steps and inference: times of every library, and ratios to the best peer."""

from . import columns, tables
from .pool import Row
from .settings import Settings
from .workloads import SIZES, inference

GOALS = {"tiny": 2.0, "small": 1.8, "medium": 1.2, "large": 1.3, "wide": 1.4, "wider": 2.0}
EAGER_GOALS = {"tiny": 1.0, "small": 1.0}
RATE = 30_000  # samples a second of a neural recording

DETECTORS = {
    "1-16-16-1, kernel 9": ((1, 16, 16, 1), 9),
    "1-16-16-1, kernel 25": ((1, 16, 16, 1), 25),
    "1-1, kernel 25": ((1, 1), 25),
}


def training(settings: Settings, mode: str) -> str:
    """Measure a training step of every size."""
    rows = {}
    with settings.pool(columns.TRAINING, mode) as pool:
        for size in settings.sizes:
            rows[size] = pool.measure(SIZES[size], rounds=settings.rounds, turn=settings.turn)
        settings.note(pool)
    ours = list(columns.OURS)
    goal = {size: [f"{GOALS[size]:.1f}"] for size in rows}
    title = f"Training step, {mode}"
    eager = ", ".join(f"{size} {goal}" for size, goal in EAGER_GOALS.items())
    note = f"x: the best peer's time over ours. Goal of the eager column: {eager}."
    header = ["", *columns.TRAINING, *(f"x {c.removeprefix('tinynn ')}" for c in ours)]
    body = [[*_cells(size, row, columns.TRAINING, ours), *goal[size]] for size, row in rows.items()]
    return tables.markdown(
        title, [*header, "goal", "spread"],
        [[*line, tables.spread(rows[line[0]])] for line in body], note, tables.remarks(rows),
    )  # fmt: skip


def _cells(name: str, row: Row, names: tuple[str, ...], ours: list[str]) -> list[str]:
    return [
        name,
        *(tables.cell(row, column) for column in names),
        *(tables.times(row.ratio(column)) for column in ours),
    ]


def prediction(settings: Settings, mode: str) -> str:
    """Measure one long series, and how much faster than a 30 kHz recording it is."""
    length = 100_000 if settings.quick else 1_000_000
    rows, ours = {}, [c for c in columns.INFERENCE if columns.is_ours(c)]
    with settings.pool(columns.INFERENCE, mode) as pool:
        for name, (channels, kernel) in DETECTORS.items():
            spec = inference(length, channels, kernel)
            rows[name] = pool.measure(spec, rounds=settings.rounds, turn=settings.turn)
        settings.note(pool)
    lines = []
    for name, row in rows.items():
        real = (f"{length / RATE / row.median(c):,.0f}" if row.times.get(c) else "–" for c in ours)
        lines.append([*_cells(name, row, columns.INFERENCE, ours[:1]), *real])
    header = ["", *columns.INFERENCE, "x predict", *(f"real time: {c[7:]}" for c in ours)]
    note = (
        "x: the best peer's time over ours (goal 1.5). Real time: seconds of a 30 kHz recording "
        "that a second of computing gets through; the stream is fed 0.1 s at a time."
    )
    title = f"Inference over one series of {length:,} samples, {mode}"
    return tables.markdown(title, header, lines, note, tables.remarks(rows))
