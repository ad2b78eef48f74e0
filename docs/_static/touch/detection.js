/* Spikes in noise: the arithmetic of tinynn.spikes that the page needs. White or AR(1) noise. */
"use strict";

(() => {
const { erfc, normal, uniform } = Touch;
const LENGTH = 20000, TAPS = 25, EXCLUSION = 12, CENTRE = (TAPS - 1) / 2;

// ---- The spike, its filters, and d'.

const norm = (values) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

/* spikes.waveform(): a sharp peak, then a slow undershoot; its norm is 1. */
function waveform() {
  const bump = (t, width) => Math.exp(-0.5 * (t / width) ** 2);
  const s = Array.from({ length: TAPS }, (_, i) => bump(i - CENTRE, 1.6) - 0.35 * bump(i - CENTRE - 5, 3));
  const size = norm(s);
  return s.map((value) => value / size);
}

/* What the whitening filter makes of a template: one sample longer, unless the noise is white. */
function whitened(s, a) {
  if (a === 0) return [...s];
  return Array.from({ length: s.length + 1 }, (_, i) => ((s[i] ?? 0) - a * (s[i - 1] ?? 0)) / Math.sqrt(1 - a * a));
}

/* spikes.matched_filter(s, [a]): Sigma^-1 s. */
const matchedFilter = (s, a) => whitened(whitened(s, a).reverse(), a).reverse();

/* w' Sigma w, the variance of a filter's output, from the innovations of the noise. */
function variance(w, a) {
  let carried = 0, total = 0;
  for (let t = w.length - 1; t >= 0; t--) {
    carried = w[t] + a * carried;
    total += (t ? 1 - a * a : 1) * carried ** 2;
  }
  return total;
}

/* spikes.dprime(w, s, [a]): the centres of filter and template lie on each other. */
function dprime(w, s, a) {
  const lag = Math.floor((w.length - 1) / 2) - Math.floor((s.length - 1) / 2);
  return s.reduce((sum, value, i) => sum + value * (w[i + lag] ?? 0), 0) / Math.sqrt(variance(w, a));
}

// ---- A recording, its score, events, and how they agree with the truth.

/* Standard normal numbers, two at a time (Box and Muller). */
function gaussian(random) {
  let spare = null;
  return () => {
    const value = spare;
    spare = null;
    if (value !== null) return value;
    const radius = Math.sqrt(-2 * Math.log(1 - random())), angle = 2 * Math.PI * random();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

/* As spikes.simulate: unit noise, dead time TAPS, then geometric gaps. The noise belongs to the
   seed alone, so that it stays when spikes grow or become more. */
function simulate({ seed, rate, dprime: d, ar: a }) {
  const draw = gaussian(uniform(2 * seed)), random = uniform(2 * seed + 1), x = new Float64Array(LENGTH);
  for (let t = 0; t < LENGTH; t++) x[t] = t ? a * x[t - 1] + Math.sqrt(1 - a * a) * draw() : draw();
  const s = waveform(), size = d / norm(whitened(s, a)), template = s.map((value) => value * size), times = [];
  const chance = rate / (1 - rate * (TAPS - 1));
  const gap = () => TAPS + Math.floor(Math.log(1 - random()) / Math.log(1 - chance));
  let onset = random() < rate * TAPS ? Math.floor(TAPS * random()) : gap();
  for (; onset + TAPS <= LENGTH; onset += gap()) {
    template.forEach((value, i) => { x[onset + i] += value; });
    times.push(onset + CENTRE);
  }
  return { x, times, template };
}

/* The filter slid over the recording, padding="same"; in units of its noise. */
function score(x, w, a) {
  const left = (w.length - 1) >> 1, sd = Math.sqrt(variance(w, a));
  return x.map((_, t) => w.reduce((sum, weight, k) => sum + weight * (x[t + k - left] ?? 0), 0) / sd);
}

/* spikes.find_events: local maxima above the threshold, the highest first, none too close. */
function findEvents(values, threshold, exclusion) {
  const first = [];
  values.forEach((value, i) => { if (!i || value !== values[i - 1]) first.push(i); });
  if (first.length < 2) return [];
  const height = first.map((i) => values[i]), last = first.length - 1;
  const peaks = first.filter((_, i) => height[i] > threshold && (!i || height[i] > height[i - 1]) && (i === last || height[i] > height[i + 1]));
  const kept = [], dropped = new Set();
  for (const i of peaks.map((_, n) => n).sort((m, n) => values[peaks[n]] - values[peaks[m]] || m - n)) {
    if (dropped.has(i)) continue;
    kept.push(peaks[i]);
    for (const step of [-1, 1]) {
      for (let n = i + step; n in peaks && Math.abs(peaks[n] - peaks[i]) <= exclusion; n += step) dropped.add(n);
    }
  }
  return kept.sort((m, n) => m - n);
}

/* spikes.match: two pointers over sorted times, one to one. */
function match(truth, found, tolerance) {
  const pairs = [];
  for (let i = 0, j = 0; i < truth.length && j < found.length;) {
    const error = found[j] - truth[i];
    if (Math.abs(error) <= tolerance) pairs.push([i++, j++]);
    else if (error < 0) j++;
    else i++;
  }
  const tp = pairs.length, fp = found.length - tp, fn = truth.length - tp;
  return { pairs, tp, fp, fn, precision: tp / (tp + fp), recall: tp / (tp + fn), f1: (2 * tp) / (2 * tp + fp + fn) };
}

// ---- What theory predicts: spikes.predicted_f1.

const STEP = 0.005, GRID = Float64Array.from({ length: 3601 }, (_, i) => normal(-9 + i * STEP));

/* The normal distribution function, and its inverse, by straight lines between points. */
function table(z) {
  const at = Math.min(Math.max((z + 9) / STEP, 0), 3600), i = Math.min(Math.floor(at), 3599);
  return GRID[i] + (at - i) * (GRID[i + 1] - GRID[i]);
}
function quantile(p) {
  let low = 0, high = 3600;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (GRID[middle] <= p) low = middle;
    else high = middle;
  }
  return -9 + STEP * (low + (p - GRID[low]) / (GRID[high] - GRID[low] || 1));
}

/* Columns whose outer products add up to a covariance C: Cholesky's, the largest variance first. */
function columnsOf(C) {
  const left = C.map((row, i) => row[i]), columns = [];
  while (Math.max(...left) > 1e-10) {
    const i = left.indexOf(Math.max(...left));
    const column = C.map((row, j) => (row[i] - columns.reduce((sum, one) => sum + one[i] * one[j], 0)) / Math.sqrt(left[i]));
    column.forEach((value, j) => { left[j] -= value * value; });
    left[i] = 0;
    columns.push(column);
  }
  return columns;
}

/* The function that gives, for a threshold u, P(z_k <= u for all |k| <= reach) around a spike.
   z_k = d' rho_k + rho_k z + r_k; given r each k bounds z from one side; a lattice averages over r. */
function allBelow(d, rho, reach, points = 4096) {
  const k = Array.from({ length: 2 * reach + 1 }, (_, i) => i - reach), slope = k.map((i) => rho[Math.abs(i)] ?? 0);
  const others = k.map((_, i) => i).filter((i) => i !== reach); // at k = 0 there is no rest
  const columns = columnsOf(others.map((i) => others.map((j) => (rho[Math.abs(i - j)] ?? 0) - slope[i] * slope[j])));
  const roots = [];
  for (let q = 2; roots.length < columns.length; q++) if (!roots.some((r) => q % Math.round(r * r) === 0)) roots.push(Math.sqrt(q));
  const rest = Array.from({ length: points }, (_, n) => {
    const normals = roots.map((root) => quantile((root * (n + 0.5)) % 1)), at = slope.map((value) => d * value);
    columns.forEach((column, c) => others.forEach((i, row) => { at[i] += column[row] * normals[c]; }));
    return at;
  });
  const steep = slope.map((value) => (Math.abs(value) < 1e-9 ? 1e-9 : value));
  return (u) => rest.reduce((sum, at) => {
    let upper = Infinity, lower = -Infinity;
    for (let i = 0; i < at.length; i++) {
      const bound = (u - at[i]) / steep[i];
      if (steep[i] > 0) upper = Math.min(upper, bound);
      else lower = Math.max(lower, bound);
    }
    return sum + Math.max(0, table(upper) - table(lower));
  }, 0) / points;
}

/* P(z_0 <= u < z_1) for correlation rho (Plackett): the midpoint rule in the angle. */
function upcrossings(u, rho) {
  const low = Math.asin(rho), n = 400, h = (Math.PI / 2 - low) / n;
  let sum = 0;
  for (let i = 0; i < n; i++) sum += Math.exp((-u * u) / (1 + Math.sin(low + (i + 0.5) * h)));
  return (sum * h) / (2 * Math.PI);
}

/* F1 at any threshold, and the best one: { at(u), u, f1 }. */
function theory({ dprime: d, rate, tolerance, ar: a }) {
  const white = whitened(waveform(), a), power = norm(white) ** 2;
  const rho = white.map((_, lag) => white.slice(lag).reduce((sum, value, i) => sum + value * white[i], 0) / power);
  const below = allBelow(d, rho, tolerance);
  const at = (u) => {
    const tp = rate * (1 - below(u)), fp = upcrossings(u, rho[1]) * (1 - rate * TAPS);
    return (2 * tp) / (rate + tp + fp);
  };
  let low = 0, high = d + 6, best = { u: 0, f1: 0 };
  for (let round = 0; round < 3; round++) {
    const u = Array.from({ length: 13 }, (_, i) => low + ((high - low) * i) / 12), f1 = u.map(at), i = f1.indexOf(Math.max(...f1));
    best = { u: u[i], f1: f1[i] };
    [low, high] = [u[Math.max(i - 1, 0)], u[Math.min(i + 1, 12)]];
  }
  return { at, ...best };
}

Touch.spikes = { LENGTH, TAPS, EXCLUSION, waveform, matchedFilter, variance, dprime, simulate, score, findEvents, match, theory, erfc };
})();
