/* What the pages to touch share: elements, numbers, the state in the address, normal numbers. */
"use strict";

window.Touch = (() => {
/* An element of HTML; attributes that are functions are listeners. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/* A drawing, from its size and the text of its elements. Its numbers are told elsewhere. */
const drawing = (width, height, text) =>
  `<svg width="${width}" height="${height}" aria-hidden="true">${text}</svg>`;

/* At most so many decimals, no zeros at the end, a true minus sign. */
function shown(value, decimals = 2) {
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "undefined" : value > 0 ? "∞" : "−∞";
  if (Math.abs(value) >= 1e5) return value.toExponential(1).replace("-", "−");
  const text = String(Number(value.toFixed(decimals)));
  return (text === "-0" ? "0" : text).replace("-", "−");
}

/* Read a number as people write it; NaN if it is none. */
const parsed = (text) => {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  return plain === "" ? NaN : Number(plain);
};

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const address = {
  /* The parts of the address behind #, or null if they speak of something else. */
  read() {
    const text = decodeURIComponent(location.hash.slice(1));
    if (text && !text.includes("=")) return null;
    return Object.fromEntries(new URLSearchParams(text));
  },
  /* Put the state there, a little later: browsers refuse to do this a hundred times a second. */
  write(parts) {
    clearTimeout(address.timer);
    address.timer = setTimeout(() => {
      const text = Object.entries(parts).map((part) => part.join("=")).join("&");
      const here = location.href.split("#")[0];
      try {
        history.replaceState(null, "", text ? `${here}#${text}` : here);
      } catch { /* a browser that forbids it keeps its address */ }
    }, 200);
  },
};

const labelled = (text, control) => el("label", {}, el("span", {}, text), control);
const button = (text, click, more = {}) => el("button", { type: "button", click, ...more }, text);

/* A choice among { value: text }. */
const choice = (options, change) => {
  const select = el("select", { change: () => change(select.value) });
  for (const value of Object.keys(options)) select.append(el("option", { value }, options[value]));
  return select;
};

/* The code for the present setting, folded. */
function codeBox() {
  const code = el("code");
  const copy = button("Copy", () => {
    getSelection().selectAllChildren(code); // where a page may not copy, it is at least selected
    navigator.clipboard?.writeText(code.textContent).then(() => { copy.textContent = "Copied"; }, () => {});
  }, { class: "copy" });
  const box = el("details", { class: "code" }, el("summary", {}, "Show the code"),
    el("div", {}, copy, el("pre", { tabindex: 0, "aria-label": "tinynn code" }, code)));
  return { box, code };
}

/* erfc(x): a series of positive terms near 0, a continued fraction (Lentz) beyond. */
function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  const scale = Math.exp(-x * x) / Math.sqrt(Math.PI);
  if (x < 2.5) {
    let term = 2 * x, sum = term;
    for (let n = 1; term > 1e-17 * sum; n++) sum += term *= (2 * x * x) / (2 * n + 1);
    return 1 - scale * sum;
  }
  let fraction = x;
  for (let n = 60; n > 0; n--) fraction = x + n / 2 / fraction;
  return scale / fraction;
}

/* The standard normal distribution function. */
const normal = (z) => erfc(-z / Math.SQRT2) / 2;

/* Uniform numbers in [0, 1) from a seed: mulberry32. */
function uniform(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

return { el, drawing, shown, parsed, clamp, address, labelled, button, choice, codeBox, erfc, normal, uniform };
})();
