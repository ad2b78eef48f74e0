"""Analytic against numeric slopes, along a direction or element by element."""

import math
from dataclasses import dataclass

import numpy as np

from tinynn.testing.moves import differences
from tinynn.testing.points import Point, length, random_signs
from tinynn.testing.slopes import STEPS, Line, Slope, scales_of, slope_along

__tracebackhide__ = True  # pytest shows the line of the test that failed, not ours

CONFIRMED = 16  # wrong elements examined closely; the rest are taken to be as wrong as they look
SCREEN = 1e-4  # of rtol: a direction must agree this well to spare its elements


@dataclass
class Table:
    """Slopes side by side: of every element of an input, or one along a random direction."""

    whole: bool  # every element
    analytic: np.ndarray
    numeric: np.ndarray
    noise: np.ndarray
    left: np.ndarray
    right: np.ndarray
    kink: np.ndarray
    tolerance: np.ndarray
    note: str = ""  # how the slopes were found

    def verdicts(self) -> np.ndarray:
        """Return the verdict on each slope, as a position in VERDICTS."""
        gap = np.abs(self.analytic - self.numeric)
        low, high = np.minimum(self.left, self.right), np.maximum(self.left, self.right)
        low, high = np.minimum(low, 0), np.maximum(high, 0)  # kinks that meet have slopes of 0
        margin = self.tolerance + self.noise + 1e-3 * np.abs(self.right - self.left)
        between = (low - margin <= self.analytic) & (self.analytic <= high + margin)
        unclear = np.where(self.kink, between, gap <= self.tolerance + self.noise)
        unclear |= np.isnan(self.numeric) | self.unbounded()
        return np.where(gap <= self.tolerance, 0, np.where(unclear, 1, 2))

    def unbounded(self) -> np.ndarray:
        """Tell where f has no finite slope, on one side at least: it jumps, or is vertical."""
        return np.asarray(np.isinf(self.left) | np.isinf(self.right))

    def bent(self, place: tuple[int, ...]) -> np.ndarray:
        """Tell which other elements have a kink, unless the one at ``place`` has one itself."""
        apart = np.abs(self.right - self.left) > 0.1 * (np.abs(self.left) + np.abs(self.right))
        bent = apart | self.kink | self.unbounded()
        return np.zeros(bent.shape, bool) if bent[place] else bent

    def common_size(self) -> float:
        """Return the size of the gradient, as far as both sides agree on it."""
        smaller = np.minimum(np.abs(self.analytic), np.abs(self.numeric))
        return float(np.max(smaller, initial=0, where=np.isfinite(smaller)))


def compared(point: Point, i: int, name: str, analytic: np.ndarray) -> Table:
    """Compare the gradient of input i in the mode that was asked for."""
    if point.settings.mode != "full" and analytic.size:
        table, clean, d = along_a_direction(point, i, analytic)
        if clean:
            return table
        if point.settings.mode == "fast":
            _allow_for_ties(point, i, table, (), d, np.ones(d.shape, bool))
            return table
    return element_by_element(point, i, name, analytic)


def along_a_direction(point: Point, i: int, analytic: np.ndarray) -> tuple[Table, bool, np.ndarray]:
    """Compare along a random direction of length 1, which is returned; tell if no doubt is left."""
    settings, x = point.settings, point.inputs[i]
    random = random_signs(settings.rng, x.shape)
    steepness = np.where(np.isfinite(analytic), np.abs(analytic), 0)
    tables = []
    for scale in scales_of(x, settings.eps):
        reach = length(scale * random)
        d = scale * random / reach
        target, size = float(np.sum(analytic * d)), length(steepness * d)
        goal = max(SCREEN * settings.rtol, 100 * point.eps) * size
        trust = 0.1 * settings.rtol * size
        slope = slope_along(Line(point, i, d), [reach], target, goal, trust)
        tolerance = max(goal, trust / math.sqrt(x.size))
        a, n, noise, left, right, kink, t = map(np.asarray, (target, *slope[:5], tolerance))
        table = Table(False, a, n, noise, left, right, kink, t)
        if abs(slope.numeric - target) <= goal and slope.noise <= trust:
            return table, True, d
        tables.append(table)
    return min(tables, key=lambda t: (t.verdicts(), t.noise)), False, d


def element_by_element(point: Point, i: int, name: str, analytic: np.ndarray) -> Table:
    """Compare every element: by plain differences first, with care where those disagree."""
    settings, x = point.settings, point.inputs[i]
    scales = scales_of(x, settings.eps)
    plain, step = differences(point, i, name, scales[0]), np.zeros(x.shape)
    left, right, noise = plain.left, plain.right, plain.noise
    numeric, kink = np.array((left + right) / 2), np.zeros(x.shape, bool)
    table = Table(True, analytic, numeric, noise, left, right, kink, noise, plain.note)
    floor = settings.atol * table.common_size()
    bend = np.abs(right - left)
    straight = (bend <= 0.1 * (np.abs(left) + np.abs(right))) | (bend <= floor)
    excess = np.abs(analytic - numeric) - settings.rtol * np.abs(numeric) - floor
    doubtful = np.flatnonzero(~((excess <= 0) & straight))
    tied, refuted = np.zeros(x.shape, bool), 0
    for flat in doubtful[np.argsort(-np.nan_to_num(excess, nan=np.inf).ravel()[doubtful])]:
        place = tuple(int(k) for k in np.unravel_index(flat, x.shape))
        _examine(point, i, table, place, [float(scale[place]) for scale in scales])
        table.tolerance = settings.rtol * np.abs(table.numeric) + floor
        if refuted < 3:  # the verdict on the whole is certain otherwise
            step[place] = scales[:2][-1][place]
            free = tied | ~table.bent(place)
            tied[place] = _allow_for_ties(point, i, table, place, step, scales[:2][-1] * free)
            step[place] = 0
        refuted += int(table.verdicts()[place] == 2)
        if refuted == CONFIRMED:
            break
    table.tolerance = settings.rtol * np.abs(table.numeric) + settings.atol * table.common_size()
    return table


def _examine(
    point: Point, i: int, table: Table, place: tuple[int, ...], scales: list[float]
) -> None:
    """Enter into the table the numeric slope of one element as well as it can be found."""
    target, settings = float(table.analytic[place]), point.settings
    unit = np.zeros(table.analytic.shape)
    unit[place] = 1
    goal = settings.rtol * abs(target) + settings.atol * table.common_size()
    goal = goal if math.isfinite(goal) else 0.0
    slope = slope_along(Line(point, i, unit), dict.fromkeys(scales), target, 0.5 * goal, 0.5 * goal)
    columns = table.numeric, table.noise, table.left, table.right, table.kink
    for column, value in zip(columns[: 1 if math.isnan(slope.numeric) else 5], slope, strict=False):
        column[place] = value


def _allow_for_ties(
    point: Point, i: int, table: Table, place: tuple[int, ...], d: np.ndarray, others: np.ndarray
) -> bool:
    """Call a wrong slope along ``d`` a kink if it depends on how ``others`` move; tell whether.

    At a tie of several a function may look smooth along each of them, and have no gradient.
    """
    if table.verdicts()[place] != 2:
        return False
    if table.kink[place] and not table.whole:  # with several kinks no slopes bound the analytic
        table.noise[place] = math.inf
        return True
    sides = [float(table.left[place]), float(table.right[place])]
    analytic, numeric = float(table.analytic[place]), float(table.numeric[place])
    share = 0.4 * float(np.abs(d).max()) if table.whole else 1.0
    worth = 0.05 * abs(analytic - numeric)
    for _ in range(6):
        random = random_signs(point.settings.rng, d.shape)
        a, b = np.where(random < 0, d, 0), np.where(random < 0, 0, d)
        if table.whole:
            a, b = 0.4 * d, np.where(d == 0, others * random, 0)
        if mismatch := _mismatch(point, i, a, b, worth * share) / share:
            sides.append(numeric + mismatch)
    if len(sides) > 2:
        table.kink[place], table.left[place], table.right[place] = True, min(sides), max(sides)
        if point.level > 1 or not table.whole:  # no slopes bound what a convention may give
            table.noise[place] = math.inf
    return len(sides) > 2


def _mismatch(point: Point, i: int, a: np.ndarray, b: np.ndarray, worth: float) -> float:
    """Return by how much the slope along a + b differs from the sum of both; 0 if it may not.

    Curvature makes a difference too, which shrinks with the steps; less than ``worth`` is none.
    """
    found = []
    for h in (STEPS[4], STEPS[6]):
        total, noise = 0.0, worth
        for sign, direction in ((1, a + b), (-1, a), (-1, b)):
            line = Line(point, i, direction)
            total += sign * (line.change(h) - line.change(-h)) / (2 * h)
            noise += 100 * line.noise(Slope(0.0, 0.0, 0.0, 0.0, h=h))
        if not abs(total) > noise:
            return 0.0
        found.append(total)
    return found[1] if abs(found[1] - found[0]) <= 0.2 * abs(found[1]) else 0.0
