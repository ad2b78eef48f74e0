/* The sliding kernel: a layer of tinynn to touch. First its arithmetic, then the page. */
"use strict";

(() => {
const { shown, parsed, clamp } = Touch;

// ---- The arithmetic, as in tinynn: padding, sums, activations.

const sigmoid = (z) => 1 / (1 + Math.exp(-z));
const ACTIVATIONS = {
  linear: (z) => z,
  relu: (z) => Math.max(0, z),
  leaky_relu: (z) => (z > 0 ? z : 0.2 * z),
  elu: (z) => (z > 0 ? z : Math.expm1(z)),
  gelu: (z) => z * Touch.normal(z),
  silu: (z) => z * sigmoid(z),
  sigmoid,
  softplus: (z) => Math.max(0, z) + Math.log1p(Math.exp(-Math.abs(z))),
  tanh: Math.tanh,
  exponential: Math.exp,
};

/* The zeros left and right; extent is d (K - 1) + 1. */
function zeros(padding, length, extent, stride) {
  if (padding === "valid") return [0, 0];
  if (padding === "causal") return [extent - 1, 0];
  if (typeof padding === "number") return [padding, padding];
  const total = Math.max(0, (Math.ceil(length / stride) - 1) * stride + extent - length);
  const short = Math.floor(total / 2);
  return padding === "same" ? [short, total - short] : [total - short, short];
}

/* A Conv1d of one channel and one filter. Entry t starts at step t s of the padded series and is
   centred on location positions[t] of the series itself. */
function conv1d(x, w, { bias = 0, padding = "valid", strides = 1, dilation_rate = 1, activation = "linear" }) {
  const extent = dilation_rate * (w.length - 1) + 1;
  const [left, right] = zeros(padding, x.length, extent, strides);
  const padded = [...Array(left).fill(0), ...x, ...Array(right).fill(0)];
  const entries = Math.max(0, Math.floor((padded.length - extent) / strides) + 1);
  const positions = [], sums = [];
  for (let t = 0; t < entries; t++) {
    positions.push(t * strides - left + dilation_rate * Math.floor((w.length - 1) / 2));
    sums.push(w.reduce((sum, weight, k) => sum + weight * padded[t * strides + k * dilation_rate], 0));
  }
  const outputs = sums.map((sum) => ACTIVATIONS[activation](sum + bias));
  return { left, right, padded, extent, positions, sums, outputs };
}

/* A Dense unit on the whole series: one sum of all, in one place. */
function dense(x, w, { bias = 0, activation = "linear" }) {
  const sum = x.reduce((total, value, i) => total + value * w[i], 0);
  const positions = [Math.floor((x.length - 1) / 2)], outputs = [ACTIVATIONS[activation](sum + bias)];
  return { left: 0, right: 0, padded: x, extent: x.length, positions, sums: [sum], outputs };
}

/* A random order of 0, ..., n - 1 that belongs to a seed. */
function order(n, seed) {
  const random = Touch.uniform(seed), perm = [...Array(n).keys()];
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [perm[i], perm[j]] = [perm[j], perm[i]];
  }
  return perm;
}

// ---- The state, and its place in the address.

const SERIES = {
  "two spikes": [0, 0.5, 0, 1, 3, -1, 0, -0.5, 0, 0.5, 1, 3, -1, 0, 0.5, 0],
  "one spike": [0, 0, 0, 0, 0, 0, 0, 1, 3, -1, 0, 0, 0, 0, 0, 0],
  "a single 1": [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
  "a step": [0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2],
  "a wave": [...Array(16).keys()].map((i) => Math.round(20 * Math.sin(Math.PI * i / 4)) / 10),
};
const KERNELS = {
  "the spike's shape": [0.5, 1, -0.5],
  "mean of three": [0.3, 0.4, 0.3],
  difference: [-1, 1],
  "second difference": [-1, 2, -1],
  "copy the input": [0, 1, 0],
  "five taps": [-0.25, 0.5, 1, -0.5, 0],
};
const onePlace = (n) => Array.from({ length: n }, (_, i) => [0.5, 1, -0.5][i - 3] ?? 0);
const START = {
  layer: "conv1d", x: SERIES["two spikes"], w: KERNELS["the spike's shape"], theta: onePlace(16), bias: 0, padding: "same",
  strides: 1, dilation_rate: 1, activation: "linear", shuffle: 0, both: 0, entry: 4, whole: 0,
};
const WORDS = { layer: ["conv1d", "dense"], padding: ["valid", "same", "same_lower", "causal"], activation: Object.keys(ACTIVATIONS) };
const RANGE = { strides: [1, 6], dilation_rate: [1, 6], padding: [0, 12], shuffle: [0, 1e6], both: [0, 1], entry: [0, 999], whole: [0, 1] };
const MOST = { x: 40, w: 9, theta: 40, bias: 1 }; // numbers in a list
const bounded = (value) => clamp(value, -99, 99);

/* The state that an address asks for; what it does not say, or says wrongly, is as at the start. */
function fromAddress(parts) {
  const s = { ...START };
  for (const name of Object.keys(START)) {
    const text = parts[name] ?? "", values = text.split(",").map(parsed);
    if (WORDS[name]?.includes(text)) s[name] = text;
    else if (RANGE[name] && /^\d+$/.test(text)) s[name] = clamp(Number(text), ...RANGE[name]);
    else if (values.length <= MOST[name] && values.every(Number.isFinite)) s[name] = name === "bias" ? bounded(values[0]) : values.map(bounded);
  }
  return s;
}

function toAddress(s) {
  const usual = { ...START, theta: onePlace(s.x.length), entry: s.layer === "dense" ? 0 : START.entry };
  return Object.fromEntries(Object.entries(s).filter(([name, value]) => String(value) !== String(usual[name])));
}

// ---- What the state means: the layer as it is now, in words and in code.

function evaluated(s) {
  if (s.theta.length !== s.x.length) s.theta = onePlace(s.x.length);
  const perm = s.shuffle ? order(s.x.length, s.shuffle) : null;
  const x = perm ? perm.map((i) => s.x[i]) : s.x;
  const isDense = s.layer === "dense";
  const moved = isDense && perm && s.both;
  const w = isDense ? (moved ? perm.map((i) => s.theta[i]) : s.theta) : s.w;
  const run = (series, weights) => (isDense ? dense(series, weights, s) : conv1d(series, weights, s));
  const [strides, dilation_rate] = isDense ? [1, 1] : [s.strides, s.dilation_rate];
  const inOrder = perm ? run(s.x, isDense ? s.theta : s.w) : null;
  return { perm, x, w, isDense, strides, dilation_rate, inOrder, ...run(x, w) };
}

function code(s, now) {
  const list = (values) => `[${values.join(", ")}]`;
  const lines = ["import numpy as np", "import tinynn as tnn", "", `x = np.array(${list(s.x)}, float)`];
  if (now.perm) lines.push(`perm = ${list(now.perm)}`);
  const series = now.perm ? "x[perm]" : "x", last = `activation="${s.activation}", dtype="float64", rng=0)`;
  if (now.isDense) {
    lines.push(`theta = np.array(${list(s.theta)}, float)`, "", `layer = tnn.Dense(${s.x.length}, 1, ${last}`,
      `layer.kernel.data[:, 0] = theta${now.perm && s.both ? "[perm]" : ""}`, `layer.bias.data[:] = ${s.bias}`,
      `print(layer(${series}))`);
  } else {
    const options = [`padding=${JSON.stringify(s.padding)}`];
    if (s.strides > 1) options.push(`strides=${s.strides}`);
    if (s.dilation_rate > 1) options.push(`dilation_rate=${s.dilation_rate}`);
    lines.push("", `layer = tnn.Conv1d(1, 1, kernel_size=${s.w.length}, ${options.join(", ")},`,
      `                   ${last}`, `layer.kernel.data[:, 0, 0] = ${list(s.w)}`, `layer.bias.data[:] = ${s.bias}`,
      `print(layer(${series}[:, None])[:, 0])`);
  }
  return lines.join("\n") + "\n";
}

/* One or two sentences on the length of the map, and on what shuffling has done. */
function remarks(s, now) {
  const said = [], n = now.outputs.length, length = s.x.length, Ke = now.extent;
  if (now.isDense) said.push(`Dense has one weight for each of the ${length} inputs, and one output: all to one.`);
  else if (n === 0) {
    const shortest = Math.max(1, Ke - now.left - now.right);
    said.push(`The kernel does not fit: it spans ${Ke} locations. With padding=${JSON.stringify(s.padding)} the shortest input has ${shortest}.`);
  } else {
    const added = now.left + now.right;
    const ends = added ? `Zeros added: ${now.left} left, ${now.right} right.` : "No zeros are added.";
    const rule = `(${length}${added ? ` + ${added}` : ""} − ${Ke})`;
    const count = s.strides > 1 ? `⌊${rule} / ${s.strides}⌋ + 1` : `${rule} + 1`;
    said.push(`${ends} The map has ${count} = ${n} ${n === 1 ? "entry" : "entries"}, the input ${length} locations.`);
    if (s.padding === "causal") said.push("Causal: the last weight lies on the newest input, and none on a later one.");
  }
  if (now.perm && now.isDense) {
    const pair = `In order the sum is ${shown(now.inOrder.sums[0])}, shuffled ${shown(now.sums[0])}.`;
    said.push(s.both ? `${pair} The weights moved with their inputs, so the sum is the same.`
      : `${pair} The weights stayed where they were. Let them move too.`);
  } else if (now.perm && n) {
    const top = (map) => shown(Math.max(...map.outputs));
    said.push(`The largest entry in order is ${top(now.inOrder)}, shuffled ${top(now)}. A kernel needs neighbours to stay together.`);
  }
  return said.join(" ");
}

Touch.kernel = { SERIES, KERNELS, START, WORDS, RANGE, MOST, ACTIVATIONS, bounded, fromAddress, toAddress, evaluated, code, remarks };
})();
