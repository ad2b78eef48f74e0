/* Spikes in noise: what the page draws, and what hands, keys and addresses do to it. */
"use strict";

(() => {
const { el, drawing, shown, clamp, address, labelled, button, choice, codeBox, spikes: S } = Touch;
const root = document.getElementById("spikes-in-noise"), part = {};
const START = { dprime: 4, ar: 0, rate: 10, tolerance: 2, threshold: 3, filter: "matched", seed: 827, from: 0 };
const RANGE = { dprime: [1, 8, 0.1], ar: [-0.9, 0.95, 0.05], rate: [1, 35, 1], tolerance: [0, 12, 1], threshold: [0, 9, 0.05], seed: [1, 1e6, 1], from: [0, S.LENGTH, 1] };
const PLOT = { recording: 150, score: 170, curve: 190, kernel: 150 };
let s, now, later; // the state, what follows from it, and the timer of the slow part

// ---- The state, and what follows from it.

function fromAddress(parts) {
  const state = { ...START };
  for (const name of Object.keys(RANGE)) {
    const value = Number(parts[name]);
    if (parts[name] && Number.isFinite(value)) state[name] = Math.round(clamp(value, ...RANGE[name]) / RANGE[name][2]) * RANGE[name][2];
    state[name] = Number(state[name].toFixed(2));
  }
  if (parts.filter === "shape") state.filter = "shape";
  return state;
}
const toAddress = () => Object.fromEntries(Object.entries(s).filter(([name, value]) => value !== START[name]));

/* The steps of the chain; each is done anew only if what it depends on has changed. */
const kept = {};
function once(name, inputs, make) {
  const key = JSON.stringify(inputs);
  if (kept[name]?.key !== key) kept[name] = { key, value: make() };
  return kept[name].value;
}

function evaluated() {
  const { seed, dprime, ar, filter, threshold, tolerance } = s, rate = s.rate / 1000;
  const recording = once("recording", [seed, dprime, ar, rate], () => S.simulate({ seed, rate, dprime, ar }));
  const kernel = once("kernel", [ar, filter], () => (filter === "matched" ? S.matchedFilter(S.waveform(), ar) : S.waveform()));
  const score = once("score", [seed, dprime, ar, rate, filter], () => S.score(recording.x, kernel, ar));
  const all = once("events", [seed, dprime, ar, rate, filter], () => S.findEvents(score, -Infinity, S.EXCLUSION));
  // A maximum is dropped only because of a higher one: so a threshold cuts the list by height.
  const above = (u) => all.filter((t) => score[t] > u);
  const found = above(threshold), result = S.match(recording.times, found, tolerance);
  const reached = S.dprime(kernel, recording.template, ar);
  return { rate, ...recording, kernel, score, above, found, ...result, reached, hit: new Set(result.pairs.map((pair) => pair[0])), right: new Set(result.pairs.map((pair) => pair[1])) };
}

const theory = () => once("theory", [s.dprime, s.rate, s.tolerance, s.ar], () => S.theory({ ...s, rate: s.rate / 1000 }));

function code() {
  const noise = s.ar ? `[${s.ar}]` : '"white"', matched = s.filter === "matched";
  return `import tinynn as tnn
from tinynn import spikes

# Another recording of the same kind: the numbers differ by chance.
r = spikes.simulate(20_000, rate=${s.rate / 1000}, dprime=${s.dprime}, noise=${noise}, rng=${s.seed})
kernel = ${matched ? "spikes.matched_filter(r.template, r.noise)" : "r.template"}
score = tnn.conv1d(r.x, kernel[:, None, None], padding="same")[0]
score = score / ${matched ? `${s.dprime}  # its noise has standard deviation d'` : "(kernel @ kernel) * spikes.dprime(kernel, r.template, r.noise)"}
found = spikes.find_events(score, ${s.threshold}, exclusion=${S.EXCLUSION})
print(spikes.match(r.times[0], found, tolerance=${s.tolerance}))
print(spikes.predicted_f1(${s.dprime}, ${s.rate / 1000}, tolerance=${s.tolerance}, noise=${noise}))
`;
}

// ---- The parts of the page.

function slider(name, text, unit) {
  const [min, max, step] = RANGE[name];
  part[name] = el("input", { type: "range", min, max, step, input: () => change({ [name]: Number(part[name].value) }) });
  part[`${name}Shown`] = el("b");
  part[`${name}Unit`] = unit;
  return el("label", { class: "slider" }, el("span", {}, text, " ", part[`${name}Shown`]), part[name]);
}

function build() {
  part.filter = choice({ matched: "the matched filter", shape: "the spike's own shape" }, (filter) => change({ filter }));
  const bar = el("div", { class: "bar" }, button("New recording", () => change({ seed: s.seed + 1, from: 0 }), { class: "play" }),
    el("div", { class: "pair", role: "group", "aria-label": "look elsewhere" }, button("← earlier", () => look(-0.8)), button("later →", () => look(0.8))),
    part.miss = button("Next missed spike", () => next(now.times.filter((_, i) => !now.hit.has(i)))),
    part.alarm = button("Next false alarm", () => next(now.found.filter((_, j) => !now.right.has(j)))),
    button("Best threshold", () => change({ threshold: Number((Math.round(theory().u / 0.05) * 0.05).toFixed(2)) })),
    button("Reset", () => restart({})));
  const sliders = el("fieldset", { "aria-label": "settings" }, slider("dprime", "d′, how far a spike stands out", ""), slider("ar", "noise", ""),
    slider("rate", "spikes", " per 1,000 samples"), slider("threshold", "threshold", ""), slider("tolerance", "tolerance", " samples"), labelled("kernel", part.filter));
  const plot = (name, ...title) => el("div", { class: "plot" }, el("p", { class: "name" }, ...title), part[name] = el("div", { class: name }));
  const b = (text) => el("b", {}, text), mark = (name, text) => el("span", { class: `mark ${name}` }, text);
  const { box, code: codeText } = codeBox();
  part.code = codeText;
  const counts = ["found", "missed", "false alarms", "precision", "recall", "F1", "theory predicts"];
  part.values = {};
  const cards = el("dl", { class: "cards" }, ...counts.map((name) => el("div", { class: name.split(" ")[0] }, el("dt", {}, name), part.values[name] = el("dd"))));
  root.replaceChildren(bar, el("div", { class: "stage" },
    plot("recording", b("Recording"), ", ", part.where = el("span"), " ", mark("found", "▼ found"), mark("missed", "▽ missed")),
    plot("score", b("Score"), " of the kernel, in units of its noise ", mark("found", "● right"), mark("false", "✕ false alarm"))),
  sliders, el("div", { class: "results" }, plot("curve", b("F1"), " at every threshold: ", mark("found", "━ this recording"), mark("theory", "┅ theory")),
    plot("kernel", b("Kernel"), " (bars) and spike (line)"), cards),
  part.remarks = el("p", { class: "remarks", role: "status" }), box);
  part.recording.addEventListener("pointerdown", panned);
  part.score.addEventListener("pointerdown", (event) => (event.target.closest(".handle") ? follow(event, (e) => {
    const { top } = part.score.getBoundingClientRect(), { low, high, height } = now.axis;
    setThreshold(high - ((e.clientY - top) / height) * (high - low));
  }) : panned(event)));
  part.curve.addEventListener("pointerdown", (event) => {
    const aim = (e) => {
      const { left, width } = part.curve.getBoundingClientRect();
      setThreshold(((e.clientX - left - 34) / (width - 44)) * RANGE.threshold[1]);
    };
    aim(event);
    follow(event, aim);
  });
  root.addEventListener("keydown", (event) => { if (event.key.startsWith("Arrow")) event.stopPropagation(); });
}

// ---- The drawing.

const visible = () => (part.recording.clientWidth > 640 ? 600 : 300);
const path = (points, name) => `<path class="${name}" d="M${points.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}"/>`;
const text = (x, y, words, anchor = "end") => `<text x="${x}" y="${y}" style="text-anchor:${anchor}">${words}</text>`;
const polygon = (x, y, name) => `<path class="${name}" d="M${x - 5} ${y}h10l-5 8z"/>`;

function drawSeries() {
  const width = part.recording.clientWidth, n = visible(), from = (s.from = Math.round(clamp(s.from, 0, S.LENGTH - n))), end = from + n;
  const x = (t) => ((t - from + 0.5) / n) * width, inside = (t) => t >= from && t < end;
  const trace = (values, y) => Array.from(values.slice(from, end), (value, i) => [x(from + i), y(value)]);
  const bands = now.times.filter((t) => t > from - 20 && t < end + 20).map((t) => `<rect class="tolerance" x="${x(t - s.tolerance - 0.5)}" y="0" width="${((2 * s.tolerance + 1) / n) * width}" height="100%"/>`).join("");

  const reach = Math.max(4.5, Math.max(...now.template) + 3), up = (v) => 22 + ((reach - v) / (2 * reach)) * (PLOT.recording - 22);
  const spikes = now.times.map((t, i) => (inside(t) ? polygon(x(t), 6, now.hit.has(i) ? "right" : "miss") : "")).join("");
  part.recording.innerHTML = drawing(width, PLOT.recording, bands + path(trace(now.x, up), "trace") + spikes);

  const height = PLOT.score, high = Math.max(now.reached + 3, 6), low = -4;
  now.axis = { low, high, height };
  const y = (v) => ((high - v) / (high - low)) * height, u = y(s.threshold);
  const events = now.found.map((t, j) => {
    if (!inside(t)) return "";
    const [ex, ey] = [x(t), y(now.score[t])];
    return now.right.has(j) ? `<circle class="right" cx="${ex}" cy="${ey}" r="4.5"/>` : `<path class="wrong" d="M${ex - 5} ${ey - 5}l10 10m0 -10l-10 10"/>`;
  }).join("");
  part.score.innerHTML = drawing(width, height, `${bands}<path class="axis" d="M0 ${y(0)}H${width}"/>${path(trace(now.score, y), "trace")}${events}
    <g class="handle"><rect x="0" y="${u - 14}" width="${width}" height="28"/><path class="threshold" d="M0 ${u}H${width}"/><circle cx="${width - 12}" cy="${u}" r="9"/>${text(width - 28, u - 6, `threshold ${shown(s.threshold)}`)}</g>`);
  part.where.textContent = `samples ${from.toLocaleString("en")} to ${(end - 1).toLocaleString("en")} of ${S.LENGTH.toLocaleString("en")}`;
}

/* The kernel's weights, and over them the spike; both reach as high. */
function drawKernel() {
  const width = part.kernel.clientWidth, height = PLOT.kernel, n = S.TAPS + 2, step = width / n;
  const top = Math.max(...now.kernel), spike = Math.max(...now.template), low = Math.min(...now.kernel.map((w) => w / top), -0.4);
  const unit = (height - 12) / (1 - low), zero = 6 + unit, x = (i, size) => (i - (size - 1) / 2 + n / 2) * step;
  const bars = now.kernel.map((w, i) => `<rect class="weight" x="${x(i, now.kernel.length) - 0.35 * step}" y="${zero - Math.max(w / top, 0) * unit}" width="${0.7 * step}" height="${Math.abs(w / top) * unit}"/>`);
  part.kernel.innerHTML = drawing(width, height, `<path class="axis" d="M0 ${zero}H${width}"/>${bars.join("")}${path(now.template.map((v, i) => [x(i, S.TAPS), zero - (v / spike) * unit]), "spike")}`);
}

/* F1 over the threshold, measured and predicted. The prediction is the slow part. */
function drawCurve(limit) {
  const width = part.curve.clientWidth, height = PLOT.curve, top = RANGE.threshold[1];
  const x = (u) => 34 + (u / top) * (width - 44), y = (f1) => 8 + (1 - f1) * (height - 40);
  const u = Array.from({ length: 91 }, (_, i) => i / 10), at = (f) => u.map((one) => [x(one), y(f(one) || 0)]);
  const measured = once("measured", [s.seed, s.dprime, s.ar, s.rate, s.filter, s.tolerance], () => u.map((one) => S.match(now.times, now.above(one), s.tolerance).f1 || 0));
  const lines = [0, 0.5, 1].map((f1) => `<path class="axis" d="M34 ${y(f1)}H${width - 10}"/>${text(28, y(f1) + 4, f1)}`);
  const marks = [0, 2, 4, 6, 8].map((one) => text(x(one), height - 16, one, "middle"));
  const best = limit ? path(limit.curve.map((f1, i) => [x(u[i]), y(f1)]), "theory") + `<circle class="best" cx="${x(limit.u)}" cy="${y(limit.f1)}" r="4"/>` : "";
  part.curve.innerHTML = drawing(width, height, `${lines.join("")}${marks.join("")}${text(x(top), height - 2, "threshold")}
    <path class="threshold" d="M${x(s.threshold)} 4V${height - 30}"/>${best}${path(measured.map((f1, i) => [x(u[i]), y(f1)]), "measured")}
    <circle class="right" cx="${x(s.threshold)}" cy="${y(now.f1 || 0)}" r="5"/>`);
}

function tell(limit) {
  const share = (value) => el("data", { value }, Number.isNaN(value) ? "–" : value.toFixed(3)), count = (value) => el("data", { value }, value);
  const values = { found: count(now.tp), missed: count(now.fn), "false alarms": count(now.fp), precision: share(now.precision), recall: share(now.recall), F1: share(now.f1), "theory predicts": limit ? share(limit.f1) : "…" };
  for (const name in values) part.values[name].replaceChildren(values[name]);
  const error = Math.sqrt((now.f1 * (1 - now.f1) || 0) / Math.max(1, now.times.length));
  const efficiency = (now.reached / s.dprime) ** 2;
  part.remarks.textContent = `Of ${now.times.length} spikes ${now.tp} are found and ${now.fn} missed, with ${now.fp} false alarms.`
    + (efficiency < 0.999 ? ` This kernel reaches d′ ${shown(now.reached)} of ${shown(s.dprime)}: an efficiency of ${Math.round(100 * efficiency)} %.` : "")
    + (limit ? ` Theory predicts F1 up to ${limit.f1.toFixed(2)}, at threshold ${limit.u.toFixed(2)}. On ${now.times.length} spikes chance moves F1 by about ±${error.toFixed(2)}.` : "");
}

function render() {
  now = evaluated();
  drawSeries();
  drawKernel();
  const key = JSON.stringify([s.dprime, s.rate, s.tolerance, s.ar]), known = kept.theory?.key === key;
  const limited = () => {
    const limit = theory();
    limit.curve ??= Array.from({ length: 91 }, (_, i) => limit.at(i / 10));
    drawCurve(limit);
    tell(limit);
  };
  clearTimeout(later);
  if (known) limited();
  else {
    drawCurve(null);
    tell(null);
    later = setTimeout(limited, 120);
  }
  for (const name of ["dprime", "ar", "rate", "threshold", "tolerance"]) {
    part[name].value = s[name];
    part[`${name}Shown`].textContent = name === "ar" ? (s.ar ? `AR(1), coefficient ${shown(s.ar)}` : "white") : shown(s[name]) + part[`${name}Unit`];
    part[name].setAttribute("aria-valuetext", part[`${name}Shown`].textContent);
  }
  part.filter.value = s.filter;
  part.miss.disabled = !now.fn;
  part.alarm.disabled = !now.fp;
  part.code.textContent = code();
  address.write(toAddress());
}

// ---- What people do.

function change(parts) {
  Object.assign(s, parts);
  render();
}

const setThreshold = (u) => change({ threshold: Number((Math.round(clamp(u, 0, RANGE.threshold[1]) / 0.05) * 0.05).toFixed(2)) });
const look = (share) => change({ from: s.from + Math.round(share * visible()) });

/* Go to the next of these times that is not in sight; behind the last comes the first. */
function next(times) {
  const middle = s.from + visible() / 2, time = times.find((t) => t > middle + 1) ?? times[0];
  change({ from: Math.round(time - visible() / 2) });
}

/* Listen to a finger or a mouse until it lets go. */
function follow(event, moved) {
  if (event.button) return;
  const ended = () => {
    removeEventListener("pointermove", moved);
    for (const name of ["pointerup", "pointercancel"]) removeEventListener(name, ended);
  };
  if (event.pointerType === "mouse") event.preventDefault();
  addEventListener("pointermove", moved);
  for (const name of ["pointerup", "pointercancel"]) addEventListener(name, ended);
}

function panned(event) {
  const { clientX } = event, { from } = s, step = visible() / part.recording.clientWidth;
  follow(event, (e) => change({ from: from + Math.round((clientX - e.clientX) * step) }));
}

function restart(parts) {
  s = fromAddress(parts);
  render();
}

build();
restart(address.read() ?? {});
new ResizeObserver(render).observe(root);
addEventListener("hashchange", () => {
  const parts = address.read();
  if (!parts) return;
  restart(parts);
  root.scrollIntoView({ block: "nearest" });
});
})();
