// Small charts as inline SVG: a line over its own area, with the last value in words beside it.
import { el, svg } from "./dom.js";

const WIDTH = 240, HEIGHT = 56;

export function chart(title, values, text, tone = "") {
  const shown = values && values.length > 1 ? values : [0, 0];
  const most = Math.max(1, ...shown), step = WIDTH / (shown.length - 1);
  const points = shown.map((value, place) => `${(place * step).toFixed(1)},${(HEIGHT - 3 - (value / most) * (HEIGHT - 8)).toFixed(1)}`);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title, class: `line ${tone}` },
    svg("polygon", { points: `0,${HEIGHT} ${points.join(" ")} ${WIDTH},${HEIGHT}`, class: "area" }),
    svg("polyline", { points: points.join(" "), class: "stroke", "vector-effect": "non-scaling-stroke" }));
  return el("figure.chart", {}, el("figcaption", {}, el("span.quiet", {}, title), el("strong", {}, text)), drawing);
}

// How full something is; at nine tenths it warns, at the top it alarms.
export function gauge(value, most) {
  const part = most ? Math.min(1, value / most) : 0;
  const tone = part >= 1 ? "full" : part >= 0.9 ? "near" : "";
  return svg("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", class: `gauge ${tone}`, "aria-hidden": "true" },
    svg("rect", { x: 0, y: 0, width: 100, height: 6, rx: 3, class: "track" }),
    svg("rect", { x: 0, y: 0, width: (part * 100).toFixed(1), height: 6, rx: 3, class: "level" }));
}
