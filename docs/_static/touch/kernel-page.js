/* The sliding kernel: what the page draws, and what hands, keys and addresses do to it. */
"use strict";

(() => {
const { el, drawing, shown, parsed, clamp, address, labelled, button, choice, codeBox, kernel: K } = Touch;
const HEIGHT = { input: 92, weights: 78, products: 92, sum: 92, map: 126 };
const root = document.getElementById("sliding-kernel"), part = {};
let s, now; // the state, and the layer in that state
let seen = new Set(), width = 0, built = "", frozen = null, playing = null, scales = {};

// ---- The parts of the page.

const number = (low, high, set, step = 1) => el("input", { type: "number", min: low, max: high, step,
  change: ({ target }) => {
    const value = parsed(target.value) || 0;
    change(() => set(clamp(step < 1 ? value : Math.round(value), low, high)));
  } });
const strip = (name, height, ...title) => (part[name] = el("div", { class: `strip ${name}`, style: `height:${height}px` },
  el("span", { class: "name" }, ...title), part[`${name}Bars`] = el("div", { class: "bars" })));
const y = (index) => [el("i", {}, "y"), el("sub", {}, index)];

function toolbar() {
  const layers = { conv1d: "Conv1d: a few to one", dense: "Dense: all to one" };
  part.layers = Object.keys(layers).map((layer) => button(layers[layer], () => change(() => Object.assign(s, { layer, entry: K.START.entry }))));
  part.back = button("←", () => move(s.entry - 1), { "aria-label": "one location back" });
  part.play = button("", () => (playing ? pause() : play()), { class: "play" });
  part.on = button("→", () => move(s.entry + 1), { "aria-label": "one location on" });
  part.all = button("Whole map", () => { s.whole = 1 - s.whole; seen.clear(); render(); });
  part.again = button("", () => change(() => { s.shuffle += 1; }));
  part.order = button("Put it in order", () => change(() => { s.shuffle = 0; }));
  part.both = el("input", { type: "checkbox", change: () => change(() => { s.both = Number(part.both.checked); }) });
  part.bothLabel = el("label", { class: "check" }, part.both, "its weights too");
  const group = (label, ...buttons) => el("div", { class: "pair", role: "group", "aria-label": label }, ...buttons);
  return el("div", { class: "bar" }, group("layer", ...part.layers), group("slide", part.back, part.play, part.on),
    part.all, part.again, part.order, part.bothLabel, button("Reset", () => restart({})));
}

/* A control for one part of the state, under its name in tinynn. */
function control(name, step, set = (value) => { s[name] = value; }) {
  const range = K.RANGE[name] ?? (name === "bias" ? [-99, 99] : [1, K.MOST.w]);
  const options = Object.fromEntries((K.WORDS[name] ?? []).map((word) => [word, word + (word === "valid" || word === "linear" ? " (default)" : "")]));
  if (name === "padding") options.int = "zeros:";
  part[name] = step ? number(...range, set, step) : choice(options, (value) => change(() => set(value === "int" ? 1 : value)));
  return labelled(name, part[name]);
}

function settings() {
  const preset = (text, name, values) => labelled(text, part[name] = choice({ "": "your own", ...Object.fromEntries(Object.keys(values).map((one) => [one, one])) },
    (one) => one && change(() => { s[name] = values[one]; })));
  const padding = control("padding");
  padding.append(part.zeros = number(...K.RANGE.padding, (value) => { s.padding = value; }));
  part.zeros.setAttribute("aria-label", "zeros at either end");
  part.convOnly = [padding, control("kernel_size", 1, resize), control("strides", 1), control("dilation_rate", 1), preset("weights", "w", K.KERNELS)];
  return el("fieldset", { "aria-label": "settings" }, ...part.convOnly.slice(0, 4), control("bias", 0.5), control("activation"),
    preset("series", "x", K.SERIES), part.convOnly[4]);
}

function build() {
  part.kernel = el("div", { class: "kernel", role: "slider", tabindex: 0, "aria-label": "the kernel's location" },
    part.grip = el("div", { class: "grip" }), part.weightsDrawing = el("div", { class: "bars" }), part.weightsFields = el("div"));
  const weights = strip("weights", 142, el("b", {}, "Weights "), el("i", {}, "W"), part.where = el("span"));
  part.weightsBars.replaceWith(part.kernel);
  part.board = el("div", { class: "board", pointerdown: touched }, part.band = el("div", { class: "band" }),
    strip("input", 140, el("b", {}, "Input "), ...y("(l−1)"), ", by location"), weights, strip("products", HEIGHT.products, el("b", {}, "Products")),
    strip("sum", HEIGHT.sum), strip("map", HEIGHT.map, el("b", {}, "Feature map "), ...y("(l)"), ", each entry below its location"));
  part.input.append(part.inputFields = el("div"));
  const { box, code } = codeBox(), heads = ["entry", "centred on location", "sum", "output"];
  part.code = code;
  const table = el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)))), part.rows = el("tbody"));
  root.replaceChildren(toolbar(), part.stage = el("div", { class: "stage" }, part.board),
    el("div", { class: "below" }, part.formula = el("p"), part.curve = el("div", { class: "curve" })),
    part.remarks = el("p", { class: "remarks", role: "status" }), settings(),
    box, el("details", {}, el("summary", {}, "All numbers"), el("div", {}, table)));
  root.addEventListener("keydown", pressed);
}

// ---- The drawing.

function scale(name, values) {
  if (frozen === name) return scales[name]; // bars keep their size while one is dragged
  const high = Math.max(...values, 0), low = Math.min(...values, 0), span = Math.max(high - low, 1);
  const room = HEIGHT[name] - { input: 30, weights: 26, products: 46, map: 68 }[name], unit = room / span;
  return (scales[name] = { zero: 22 + (low < 0 ? high : span) * unit, unit });
}

const bar = (x, value, { zero, unit }, name, style = "") => {
  const size = Math.abs(value) * unit, wide = width * 0.56;
  return `<rect class="${name}" style="${style}" x="${x - wide / 2}" y="${value > 0 ? zero - size : zero}" width="${wide}" height="${size}" rx="${Math.min(3, size / 2)}"/>`;
};
const axis = ({ zero }, across) => `<path class="axis" d="M0 ${zero}H${across}"/>`;
const text = (x, at, words, name = "") => `<text x="${x}" y="${at}" class="${name}">${words}</text>`;
const middle = (column) => (column + 0.5) * width;
const brief = (value) => shown(value, width < 44 ? 1 : 2);
const under = () => (now.outputs.length ? now.w.map((_, k) => s.entry * now.strides + k * now.dilation_rate) : []);
const centre = (t) => middle(now.positions[t] + now.left);

function drawInput(across) {
  const fit = scale("input", now.x), columns = under();
  const cells = now.padded.map((value, c) => {
    const i = c - now.left, x = middle(c);
    if (i < 0 || i >= now.x.length) {
      return `<rect class="zero" x="${c * width + 3}" y="22" width="${width - 6}" height="${HEIGHT.input + 2}" rx="6"/>` + text(x, HEIGHT.input + 15, "0");
    }
    const hue = now.perm ? `fill:hsl(${200 + 150 * now.perm[i] / now.x.length} 60% 55%)` : "";
    return bar(x, value, fit, "input", hue) + text(x, HEIGHT.input + 40, i, columns.includes(c) ? "here" : "");
  });
  part.inputBars.innerHTML = drawing(across, HEIGHT.input + 46, axis(fit, across) + cells.join(""));
}

function drawKernel() {
  const fit = scale("weights", now.w), wide = now.extent * width;
  const x = middle(now.dilation_rate * Math.floor((now.w.length - 1) / 2));
  const mark = now.isDense ? "" : `<path class="centre" d="M${x - 5} 108h10l-5 6z"/>`;
  part.weightsDrawing.innerHTML = drawing(wide, 116, axis(fit, wide) + now.w.map((value, k) => bar(middle(k * now.dilation_rate), value, fit, "weight")).join("") + mark);
  for (const moving of [part.kernel, part.band]) {
    moving.style.width = `${wide}px`;
    moving.style.transform = `translateX(${s.entry * now.strides * width}px)`;
    moving.hidden = !now.outputs.length;
  }
  part.band.style.setProperty("--tap", `${width}px`);
  part.band.style.setProperty("--step", `${width * now.dilation_rate}px`);
  part.grip.textContent = now.isDense ? "all to one" : wide > 90 ? "⟵ drag ⟶" : "↔";
  part.where.textContent = now.isDense ? ", one for each input" : ", the same everywhere";
}

function drawProducts(across) {
  const columns = under(), products = columns.map((c, k) => now.padded[c] * now.w[k]), fit = scale("products", products);
  const cells = products.map((value, k) => bar(middle(columns[k]), value, fit, "product") + text(middle(columns[k]), HEIGHT.products - 6, brief(value)));
  part.productsBars.innerHTML = drawing(across, HEIGHT.products, axis(fit, across) + cells.join(""));
  if (!columns.length) { part.sumBars.innerHTML = ""; return; }
  const foot = centre(s.entry), x = clamp(foot, 44, across - 44), words = `Σ = ${shown(now.sums[s.entry])}`, wide = 16 + 8 * Math.max(6, words.length);
  const lines = columns.map((c, k) => `<path class="wire${products[k] ? "" : " faint"}" d="M${middle(c)} 1L${x} 36"/>`);
  const step = (s.bias ? `${s.bias < 0 ? "−" : "+"} ${shown(Math.abs(s.bias))}, ` : "") + s.activation;
  const side = x + 12 + 7.2 * step.length < across ? 1 : -1;
  part.sumBars.innerHTML = drawing(across, HEIGHT.sum, `${lines.join("")}<rect class="pill" x="${x - wide / 2}" y="32" width="${wide}" height="25" rx="12.5"/>
    ${text(x, 49, words, "total")}<path class="arrow" d="M${x} 57L${foot} 86m-4 -5l4 5l4 -5"/>
    <text class="step" x="${x + 12 * side}" y="75" style="text-anchor:${side > 0 ? "start" : "end"}">${step}</text>`);
}

function drawMap(across) {
  const fit = scale("map", now.outputs.filter(Number.isFinite));
  const cells = now.outputs.map((value, t) => {
    const x = centre(t), here = t === s.entry ? " here" : "";
    const body = s.whole || seen.has(t) ? bar(x, value, fit, `map${here}`) + text(x, HEIGHT.map - 25, brief(value), `value${here}`)
      : `<circle class="unknown" cx="${x}" cy="${fit.zero}" r="3.5"/>`;
    return body + text(x, HEIGHT.map - 6, t, here);
  });
  part.mapBars.innerHTML = drawing(across, HEIGHT.map, axis(fit, across) + cells.join(""));
}

/* The fields of the input and the kernel; made anew when their places change. */
function fields() {
  const key = [now.left, now.padded.length, now.x.length, now.w.length, now.dilation_rate, width].join();
  const make = (box, values, top, column, set) => box.replaceChildren(...values.map((_, i) => el("input", { type: "text", autocomplete: "off",
    style: `left:${column(i) * width + 2}px;top:${top}px;width:${width - 4}px`, focus: ({ target }) => target.select(),
    change: ({ target }) => { const value = parsed(target.value); change(() => Number.isFinite(value) && set(i, K.bounded(value))); } })));
  if (key !== built) {
    make(part.inputFields, now.x, HEIGHT.input, (i) => now.left + i, setInput);
    make(part.weightsFields, now.w, HEIGHT.weights + 1, (k) => k * now.dilation_rate, setWeight);
  }
  built = key;
  const fill = (box, values, name) => values.forEach((value, i) => {
    box.children[i].value = shown(value);
    box.children[i].setAttribute("aria-label", `${name} ${i}`);
  });
  fill(part.inputFields, now.x, "input at location");
  fill(part.weightsFields, now.w, "weight");
}

function words() {
  const n = now.outputs.length, t = s.entry, z = now.sums[t] + s.bias;
  const orange = (value) => `<b class="orange">${shown(value, 3)}</b>`, bracket = (value) => (value < 0 ? `(${shown(value)})` : shown(value));
  const terms = under().map((c, k) => `${bracket(now.padded[c])} · ${bracket(now.w[k])}`);
  const [place, sum] = now.isDense ? ["The only output", `the sum of ${terms.length} products`]
    : [`Entry ${t}, centred on location ${shown(now.positions[t])}`, terms.join(" + ")];
  part.formula.innerHTML = n ? `${place}: ${sum} = ${orange(now.sums[t])}. With the bias ${shown(s.bias)}: ${shown(z, 3)}. ${s.activation}(${shown(z, 3)}) = ${orange(now.outputs[t])}.`
    : "There is no location at which the kernel fits.";
  part.remarks.textContent = K.remarks(s, now);
  part.code.textContent = K.code(s, now);
  const data = (value) => `<td><data value="${value}">${shown(value, 4)}</data></td>`;
  part.rows.innerHTML = now.outputs.map((value, i) => `<tr><td>${i}</td>${[now.positions[i], now.sums[i], value].map(data).join("")}</tr>`).join("");
  const told = { valuemin: 0, valuemax: Math.max(0, n - 1), valuenow: t,
    valuetext: n ? `${place}: sum ${shown(now.sums[t])}, output ${shown(now.outputs[t])}` : "does not fit" };
  for (const name in told) part.kernel.setAttribute(`aria-${name}`, told[name]);
  const f = K.ACTIVATIONS[s.activation], point = (v) => [44 + 10 * v, clamp(34 - 7 * f(v), -99, 99)];
  const dot = n ? point(clamp(z, -4, 4)) : [-99, 0];
  part.curve.innerHTML = drawing(88, 52, `<path class="axis" d="M0 34H88M44 0V52"/><path class="line" d="M${Array.from({ length: 89 }, (_, i) => point(i / 10 - 4.4).join(" ")).join("L")}"/><circle cx="${dot[0]}" cy="${clamp(dot[1], 4, 48)}" r="4"/>`);
}

function controls() {
  const n = now.outputs.length, known = (values, mine) => Object.keys(values).find((name) => String(values[name]) === String(mine)) ?? "";
  part.layers.forEach((one, i) => one.setAttribute("aria-pressed", (i === 1) === now.isDense));
  part.all.setAttribute("aria-pressed", s.whole);
  part.play.textContent = playing ? "❚❚ Pause" : "▶ Play";
  part.back.disabled = now.isDense || !s.entry;
  part.on.disabled = now.isDense || s.entry >= n - 1;
  part.play.disabled = part.all.disabled = now.isDense || !n;
  part.zeros.hidden = typeof s.padding !== "number";
  const values = { ...s, padding: part.zeros.hidden ? s.padding : "int", zeros: s.padding, kernel_size: s.w.length, x: known(K.SERIES, s.x), w: known(K.KERNELS, s.w) };
  for (const name in values) if (part[name]?.matches("select, [type=number]")) part[name].value = values[name];
  for (const one of part.convOnly) one.hidden = now.isDense;
  part.again.textContent = now.perm ? "Shuffle again" : "Shuffle the series";
  part.order.hidden = !now.perm;
  part.bothLabel.hidden = !now.isDense || !now.perm;
  part.both.checked = s.both;
}

function render() {
  now = K.evaluated(s);
  s.entry = clamp(s.entry, 0, Math.max(0, now.outputs.length - 1));
  seen.add(s.entry);
  width = Math.floor(clamp((part.stage.clientWidth - 1) / now.padded.length, 38, 72));
  const across = width * now.padded.length;
  part.board.style.width = `${across}px`;
  for (const draw of [drawInput, drawKernel, drawProducts, drawMap, fields, words, controls]) draw(across);
  address.write(K.toAddress(s));
}

// ---- What people do.

/* Change the state; a map of another length begins to grow anew, up to where the kernel is. */
function change(action) {
  const before = now;
  action();
  now = K.evaluated(s);
  if (now.outputs.length !== before.outputs.length || now.isDense !== before.isDense) grow();
  render();
}

function grow() {
  pause();
  s.entry = clamp(s.entry, 0, Math.max(0, now.outputs.length - 1));
  seen = new Set(Array(s.entry + 1).keys());
}

function restart(parts) {
  s = K.fromAddress(parts);
  now = K.evaluated(s);
  grow();
  render();
  part.stage.scrollLeft = 0;
  inView();
}

const setInput = (i, value) => { s.x = s.x.with(now.perm ? now.perm[i] : i, value); };
const setWeight = (k, value) => {
  if (now.isDense) s.theta = s.theta.with(now.perm && s.both ? now.perm[k] : k, value);
  else s.w = s.w.with(k, value);
};

/* More or fewer taps; the middle one stays in the middle. */
function resize(taps) {
  const w = [...s.w];
  while (w.length < taps) w.length % 2 ? w.push(0) : w.unshift(0);
  while (w.length > taps) w.length % 2 ? w.shift() : w.pop();
  s.w = w;
}

function move(to) {
  const target = clamp(to, 0, Math.max(0, now.outputs.length - 1));
  for (let t = Math.min(s.entry, target); t <= Math.max(s.entry, target); t++) seen.add(t);
  if (target === s.entry) return;
  s.entry = target;
  render();
  inView();
}

/* On a narrow screen the strips scroll along with the kernel. */
function inView() {
  const left = s.entry * now.strides * width - width, right = left + (now.extent + 2) * width, { clientWidth, scrollLeft } = part.stage;
  if (left < scrollLeft || right - left > clientWidth) part.stage.scrollLeft = left;
  else if (right > scrollLeft + clientWidth) part.stage.scrollLeft = right - clientWidth;
}

function play() {
  if (s.entry >= now.outputs.length - 1) Object.assign(s, { entry: 0, whole: 0 }), seen.clear();
  playing = setInterval(() => (s.entry < now.outputs.length - 1 ? move(s.entry + 1) : pause()), 650);
  render();
  inView();
}

function pause() {
  clearInterval(playing);
  playing = null;
  controls();
}

function pressed(event) {
  const { target, key } = event, steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  if (key in steps) event.stopPropagation(); // the site turns pages with these
  if (target.matches(".board input")) {
    const step = { ArrowUp: 1, ArrowDown: -1 }[key];
    if (step) {
      target.value = shown((parsed(target.value) || 0) + step * (event.shiftKey ? 0.1 : 0.5));
      target.dispatchEvent(new Event("change"));
    }
    if (key === "Escape") render();
    if (key === "Enter" || key === "Escape") part.kernel.focus();
    if (step) event.preventDefault();
  } else if (target.matches("select, input, pre, summary")) return;
  else if (key in steps) {
    event.preventDefault();
    pause();
    move(s.entry + steps[key]);
  } else if (target === part.kernel && (key === "Enter" || key === " ")) {
    event.preventDefault();
    if (key === "Enter") part.weightsFields.firstChild.focus();
    else part.play.click();
  }
}

/* What lies under a finger: { name, i } of a bar, and its value. */
function barUnder(target, column) {
  const k = (column - s.entry * now.strides) / now.dilation_rate, i = column - now.left;
  if (target.closest(".kernel")) return k in now.w && !target.closest(".grip") ? { name: "weights", i: k, old: now.w[k], set: setWeight } : null;
  return target.closest(".strip.input") && i in now.x ? { name: "input", i, old: now.x[i], set: setInput } : null;
}

/* A finger or a mouse: sideways slides the kernel, up and down changes the bar under it. */
function touched(event) {
  const { target } = event, onKernel = target.closest(".kernel");
  if (target.matches("input") || event.button) return;
  const place = (e) => e.clientX - part.board.getBoundingClientRect().left, x = place(event), first = s.entry;
  const column = Math.floor(x / width), touchedBar = barUnder(target, column);
  let mode = null;
  pause();
  if (onKernel) part.kernel.focus({ preventScroll: true });
  if (event.pointerType === "mouse") event.preventDefault();
  const moved = (e) => {
    const dx = place(e) - x, dy = event.clientY - e.clientY;
    if (!mode && Math.hypot(dx, dy) > 4) mode = Math.abs(dy) > Math.abs(dx) && touchedBar ? "edit" : onKernel ? "slide" : "none";
    if (mode === "slide") move(first + Math.round(dx / width / now.strides));
    if (mode !== "edit") return;
    frozen = touchedBar.name;
    touchedBar.set(touchedBar.i, Math.round(clamp(touchedBar.old + dy / scales[frozen].unit, -20, 20) * 10) / 10);
    render();
  };
  const ended = ({ type }) => {
    for (const [name, listener] of listeners) removeEventListener(name, listener);
    frozen = null;
    const far = (t) => Math.abs(now.positions[t] - column + now.left);
    if (!mode && !onKernel && type === "pointerup") move(now.positions.reduce((best, _, t) => (far(t) < far(best) ? t : best), 0));
    render();
  };
  const listeners = [["pointermove", moved], ["pointerup", ended], ["pointercancel", ended]];
  for (const [name, listener] of listeners) addEventListener(name, listener);
}

s = K.fromAddress({});
now = K.evaluated(s);
build();
restart(address.read() ?? {});
new ResizeObserver(render).observe(part.stage);
addEventListener("hashchange", () => {
  const parts = address.read();
  if (!parts) return;
  restart(parts);
  root.scrollIntoView({ block: "nearest" });
});
})();
