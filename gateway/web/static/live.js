// The line to the gateway: the stream of what changes, and requests with the token that shows they come from here.

import { said, t } from "./words.js";

export const venue = { gateway: {}, devices: [], gates: [], zones: [], printers: [], drawers: [], sync: {}, charts: { series: {} } };
export const rows = [];
export const me = { user: "", role: "", csrf: "" };
export const line = { up: false };
export const wanted = { holder: "" };
export const asked = new Map();
export const calibrated = new Map(); // drawer → what its calibration came to
const ROWS_KEPT = 300;
let source = null;

export async function call(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", "X-CSRF-Token": me.csrf },
  };
  const response = await fetch(path, options).catch(() => { throw new Error(t("connection_lost")); });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(said(`http_${answer.error}`, answer.message || response.statusText)), { word: answer.error, status: response.status });
  return answer;
}

// Asks the desk of the gateway, as any client does; the id makes sure that it happens once.
export function ask(target, verb, data = {}) {
  const random = crypto.getRandomValues(new Uint8Array(16));
  const id = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  asked.set(id, target);
  if (asked.size > 50) asked.delete(asked.keys().next().value);
  return call("/api/ask", { id, target, verb, data });
}

export function listen(onChange, onAnswer, onEnd) {
  hang();
  source = new EventSource("/api/stream");
  source.addEventListener("open", () => { line.up = true; onChange(["line"]); });
  source.addEventListener("error", async () => {
    line.up = false;
    onChange(["line"]);
    // A login that is over answers 401, which the browser does not try again by itself.
    if (source && source.readyState === EventSource.CLOSED) {
      try { await call("/api/session"); setTimeout(() => listen(onChange, onAnswer, onEnd), 2000); } catch (error) {
        if (error.status === 401) onEnd("signed_out"); else setTimeout(() => listen(onChange, onAnswer, onEnd), 2000);
      }
    }
  });
  source.addEventListener("parts", (event) => {
    const parts = JSON.parse(event.data);
    Object.assign(venue, parts);
    onChange(Object.keys(parts));
  });
  source.addEventListener("rows", (event) => {
    const fresh = JSON.parse(event.data), newest = rows.length ? rows[0].seq : 0;
    for (const row of fresh) if (row.seq > newest) rows.unshift(row);
    rows.length = Math.min(rows.length, ROWS_KEPT);
    onChange(["rows"]);
  });
  source.addEventListener("answer", (event) => onAnswer(JSON.parse(event.data)));
  source.addEventListener("bye", () => { hang(); onEnd("signed_out"); });
  // It would come back by itself and end another screen of the same person, which would come back in turn.
  source.addEventListener("crowded", () => { hang(); onEnd("crowded"); });
}

export function hang() { if (source) source.close(); source = null; line.up = false; }
export function forget() {
  rows.length = 0;
  Object.assign(me, { user: "", role: "", csrf: "" });
  Object.assign(venue, { devices: [], gates: [], zones: [], printers: [], drawers: [], gateway: {}, sync: {}, charts: { series: {} } });
}
