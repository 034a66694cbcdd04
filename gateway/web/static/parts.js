// What is only looked at: overview, events, gates, devices, drawers, printing, sync.
import { chart, gauge } from "./charts.js";
import { el, fill, follow } from "./dom.js";
import { ask, me, rows, venue, wanted } from "./live.js";
import * as words from "./words.js";
import { ago, clock, day, detail, money, reason, t } from "./words.js";

// A state is always a colour and a word.
const TONES = {
  online: "good", released: "good", done: "good", locked: "calm", closed: "calm", starting: "near", queued: "calm", printing: "good", held: "near",
  offline: "bad", stopped: "calm", failed: "bad", unknown: "calm", open: "near", degraded: "bad", locked_down: "bad", lockdown: "bad",
  forced: "alarm", held_open: "alarm", left_open: "alarm", fault: "alarm", emergency: "alarm",
};
export function badge(word, tone) { return el(`span.badge.${tone || TONES[word] || "calm"}`, {}, word === "printing" ? t("printing_now") : t(word)); }
export const maySee = () => me.role === "staff" || me.role === "technician";

function said(last) {
  if (!last) return el("span.quiet", {}, t("never"));
  const told = Object.entries(last.data).filter(([, value]) => value !== null && value !== false && value !== "")
    .map(([name, value]) => (value === true ? t(name) : (name === "why" ? detail(String(value)) : `${t(name)} ${t(value)}`))).join(", ");
  const at = Date.parse(last.at);
  return el("span", {}, `${t(last.kind)} `, told && el("em", {}, told), el("span.quiet", {}, ` · ${clock(at)}`));
}

export function deviceCard(one) {
  return el(`article.card.${TONES[one.state] || "calm"}`, { "data-name": one.name },
    el("header", {}, el("h3", {}, one.name), badge(one.state)),
    el("p.quiet", {}, `${t(one.kind)} · ${one.driver}`),
    one.detail && el("p.detail", {}, detail(one.detail)),
    troubles(one.status),
    el("p.last", {}, said(one.last)));
}

function troubles(status) {
  const found = ["paper_out", "cover_open", "paper_low"].filter((name) => status[name] === true);
  if (status.error) found.push(status.error);
  return found.length ? el("p.warn", {}, found.map(t).join(" · ")) : null;
}

export function gateCard(one) {
  const counted = one.inside !== null && one.inside !== undefined;
  return el(`article.card.gate.${TONES[one.state] || "calm"}`, { "data-name": one.name },
    el("header", {}, el("h3", {}, one.name), badge(one.state)),
    el("p.quiet", {}, `${one.from || t("outside")} → ${one.to || t("outside")}`),
    counted && el("p.count", {}, el("strong", {}, one.inside), el("span.quiet", {}, one.capacity ? ` / ${one.capacity} ${t("inside")}` : ` ${t("inside")}`)),
    counted && one.capacity ? gauge(one.inside, one.capacity) : null,
    !one.admits && el("p.warn", {}, reason(one.reason)),
    one.why && el("p.detail", {}, one.why));
}

// What a driver or the bench says is a sentence of ours; in other rows somebody may have typed it.
const note = (row) => (row.kind.startsWith("device.") || row.kind === "bench.ended" ? detail(row.note) : words.said(row.note));

export function rowLine(row) {
  const where = row.place || (row.kind.startsWith("zone.") ? venue.gateway.name : row.source || "");
  const money_ = row.amount_minor ? money(row.amount_minor, venue.gateway.currency) : "";
  return el(`li.row.${row.tone}`, {},
    el("time", {}, clock(row.at_ms)),
    el("span.what", {}, t(row.kind)),
    el("span.where", {}, where),
    el("span.detail", {}, [reason(row.reason), money_, row.note && note(row), row.credential && `⌗${row.credential}`, row.source !== where && row.source].filter(Boolean).join(" · "), row.holder && [" · ", el("a", { href: "#guests", onclick: () => { wanted.holder = row.holder; } }, row.holder)]));
}

const watching = { onlyBad: false, paused: null };

export function events(page) {
  const shown = () => (watching.paused || rows).filter((row) => !watching.onlyBad || row.tone === "bad" || row.tone === "alarm").slice(0, 150);
  const list = el("ol.rows", { id: "events" });
  const bad = el("button.quiet", { type: "button", onclick: () => { watching.onlyBad = !watching.onlyBad; draw(); } });
  const pause = el("button.quiet", { type: "button", onclick: () => { watching.paused = watching.paused ? null : [...rows]; draw(); } });
  function draw() {
    bad.textContent = watching.onlyBad ? t("all") : t("only_bad");
    pause.textContent = watching.paused ? t("resume") : t("pause");
    follow(list, shown(), (row) => row.seq, rowLine);
    list.classList.toggle("empty", !list.children.length);
  }
  page.append(el("div.bar", {}, el("h2", {}, t("taps")), bad, pause), list);
  draw();
  return (changed) => { if (changed.includes("rows")) draw(); };
}

function grid(page, title, part, key, card, none) {
  const box = el("div.grid", { id: part });
  page.append(el("h2", {}, t(title)), box);
  const draw = () => (venue[part].length ? follow(box, venue[part], key, card) : fill(box, el("p.quiet", {}, t(none || "nothing_yet"))));
  draw();
  return (changed) => { if (changed.includes(part)) draw(); };
}

export const name = (one) => one.name;
export const gates = (page) => both(grid(page, "gates", "gates", name, gateCard), grid(page, "zones", "zones", name, zoneCard));
export const devices = (page) => both(grid(page, "devices", "devices", name, deviceCard, "no_devices"), grid(page, "drawers", "drawers", name, drawerCard, "no_devices"));
export const both = (...updates) => (changed) => updates.forEach((update) => update(changed));

function zoneCard(one) {
  return el(`article.card.${one.closure ? "bad" : "calm"}`, {},
    el("header", {}, el("h3", {}, one.name), one.closure ? badge(one.closure) : null),
    el("p.count", {}, el("strong", {}, one.inside), el("span.quiet", {}, one.capacity ? ` / ${one.capacity} ${t("inside")}` : ` ${t("inside")}`)),
    one.capacity ? gauge(one.inside, one.capacity) : null);
}

export function drawerCard(one) {
  const state = one.alarm || (one.online ? one.contact : "offline");
  const form = maySee() && el("form.inline", { onsubmit: (event) => openDrawer(event, one.name) },
    el("input", { name: "reason", required: true, maxlength: 200, placeholder: t("reason"), "aria-label": t("reason") }),
    el("button", { disabled: !one.online }, t("open_drawer")));
  return el(`article.card.${TONES[state] || "calm"}`, { "data-name": one.name }, el("header", {}, el("h3", {}, one.name), badge(state)), form);
}

let tell = () => {};
export function tellBy(told) { tell = told; }
export async function order(target, verb, data) {
  try { tell({ ...await ask(target, verb, data), target }); } catch (error) { tell({ status: "failed", message: error.message, target }); }
}
function openDrawer(event, drawer) {
  event.preventDefault();
  order(drawer, "open", { reason: new FormData(event.target).get("reason") });
  event.target.reset();
}

// Printing: each queue with a picture of every receipt.

export function printing(page) {
  const box = el("div.printers", { id: "printers" });
  page.append(el("h2", {}, t("printing")), box);
  const lists = new Map();
  function draw() {
    if (box.children.length !== venue.printers.length) { box.replaceChildren(); lists.clear(); }
    if (!venue.printers.length) fill(box, el("p.quiet", {}, t("no_devices")));
    for (const one of venue.printers) {
      if (!lists.has(one.name)) {
        const parts = { head: el("header"), jobs: el("ul.jobs") };
        lists.set(one.name, parts);
        box.append(el("section.printer", { "data-name": one.name }, parts.head, parts.jobs));
      }
      const { head, jobs } = lists.get(one.name);
      fill(head, el("h3", {}, one.name), badge(one.online ? "online" : "offline"),
        el("span.quiet", {}, one.waiting ? `${one.waiting} × ${t("queued")}` : t("nobody_waits")), troubles(one.status));
      if (one.jobs.length) follow(jobs, one.jobs, (job) => job.job, (job) => jobCard(one.name, job));
      else fill(jobs, el("li.quiet", {}, t("no_jobs")));
    }
  }
  draw();
  return (changed) => { if (changed.includes("printers")) draw(); };
}

function jobCard(printer, job) {
  const open = ["queued", "held"].includes(job.status), source = `/api/receipts/${encodeURIComponent(job.job)}.png`;
  return el(`li.job.${TONES[job.status] || "calm"}`, { "data-job": job.job },
    maySee() && el("button.receipt", { type: "button", onclick: () => enlarge(source), "aria-label": t("printing") }, el("img", { src: source, loading: "lazy", alt: "" })),
    el("div", {}, el("p", {}, badge(job.status), job.copy && el("span.badge.near", {}, t("copy"))),
      el("p.quiet", {}, `${clock(job.at_ms)} · ${job.client}${job.content === "raw" ? ` · ${t("raw")}` : ""}`),
      job.why && el("p.warn", {}, t(job.why)),
      maySee() && el("button.small", { type: "button", onclick: () => order(printer, open ? "cancel" : "reprint", { job: job.job }), disabled: job.status === "printing" }, t(open ? "cancel" : "reprint"))));
}

function enlarge(source) {
  const large = el("dialog.paper", { onclick: () => large.close(), onclose: () => large.remove() }, el("img", { src: source, alt: t("printing") }));
  document.body.append(large);
  large.showModal();
}

// Sync and the overview.

const per = (values) => (values || []).map((value) => value * 6);
const latest = (values) => (values && values.length ? values[values.length - 1] : 0);

const insideNow = () => venue.zones.filter((one) => !one.within).reduce((sum, one) => sum + one.inside, 0);
const away = () => venue.devices.filter((one) => one.state !== "online");

function charts() {
  const series = venue.charts.series || {}, currency = venue.gateway.currency;
  return [
    chart(t("granted_per_min"), per(series.granted), latest(per(series.granted)), "good"),
    chart(t("denied_per_min"), per(series.denied), latest(per(series.denied)), "bad"),
    chart(t("inside_now"), series.inside, insideNow()),
    chart(t("backlog"), series.backlog, venue.sync.backlog ?? 0),
    venue.sync.upstream_wallets && chart(t("exposure"), series.exposure, money(venue.sync.exposure_minor, currency)),
    chart(t("devices_away"), series.offline, away().length, away().length ? "bad" : ""),
  ].filter(Boolean);
}

export function sync(page) {
  const drawn = el("div.charts"), figures = el("dl.figures");
  page.append(el("h2", {}, t("sync")), drawn, figures);
  const pair = (title, value, tone) => [el("dt", {}, t(title)), el(`dd.${tone || "plain"}`, {}, value)];
  function draw() {
    const s = venue.sync, currency = venue.gateway.currency;
    fill(drawn, charts());
    fill(figures,
      pair("directory_age", s.directory_loaded ? `${ago(s.directory_as_of_ms)} (${day(s.directory_as_of_ms)})` : t("none_loaded"), s.directory_loaded ? "" : "warn"),
      pair("credentials", s.credentials), pair("entitlements", s.entitlements),
      pair("broker", t(venue.gateway.broker ? "connected" : "not_connected"), venue.gateway.broker ? "" : "warn"),
      pair("backlog", s.backlog), pair("answers_waiting", s.answers_waiting), pair("journal", `#${s.journal_seq}`),
      pair("accounts", s.accounts), pair("holds", s.holds),
      s.upstream_wallets ? pair("exposure", `${money(s.exposure_minor, currency)} / ${s.exposure_max_minor ? money(s.exposure_max_minor, currency) : t("no_limit")}`) : []);
  }
  draw();
  return (changed) => { if (changed.includes("sync") || changed.includes("charts") || changed.includes("gateway")) draw(); };
}

export function overview(page) {
  const hero = el("section.hero"), tiles = el("div.tiles"), why = el("ul.why"), drawn = el("div.charts");
  const gateBox = el("div.grid"), list = el("ol.rows.short"), devicesBox = el("div.grid.small");
  page.append(hero, why, tiles, el("div.columns", {},
    el("section", {}, el("h2", {}, t("gates")), gateBox, el("h2", {}, t("devices")), devicesBox),
    el("section", {}, el("h2", {}, t("taps")), list)), drawn);
  function draw(changed) {
    const g = venue.gateway, lost = away();
    const alarms = venue.gates.filter((one) => TONES[one.state] === "alarm" || one.state === "locked_down").length + venue.drawers.filter((one) => one.alarm).length;
    const well = g.state === "online" && !lost.length && !alarms && !g.venue_closure;
    if (changed !== "rows") {
      fill(hero, el(`p.big.${well ? "good" : alarms ? "alarm" : "bad"}`, {}, well ? t("all_well") : g.venue_closure ? t(g.venue_closure) : t("trouble")));
      fill(why, (g.why || []).map((one) => el("li", {}, one)));
      const waiting = venue.printers.reduce((sum, one) => sum + one.waiting, 0);
      fill(tiles,
        tile("devices", lost.length ? `${venue.devices.length - lost.length} / ${venue.devices.length}` : venue.devices.length, lost.length ? "bad" : "good", lost.length ? `${lost.length} ${t("offline")}` : t("online"), "devices"),
        tile("gates", alarms || venue.gates.length, alarms ? "alarm" : "good", alarms ? t("trouble") : t("all_well"), "gates"),
        tile("inside_now", insideNow(), "calm", venue.zones.filter((one) => !one.within).map((one) => one.name).join(", "), "gates"),
        tile("printing", waiting, waiting ? "near" : "good", waiting ? t("queued") : t("nobody_waits"), "printing"));
      follow(gateBox, venue.gates.slice(0, 24), name, gateCard);
      const bad = lost.length ? lost : venue.devices.slice(0, 64);
      follow(devicesBox, bad, name, lost.length ? deviceCard : chip);
      fill(drawn, charts());
    }
    follow(list, rows.slice(0, 14), (row) => row.seq, rowLine);
  }
  draw("");
  return (changed) => draw(changed.length === 1 && changed[0] === "rows" ? "rows" : "");
}

const chip = (one) => el(`a.chip.${TONES[one.state] || "calm"}`, { href: "#devices" }, el("strong", {}, one.name), el("span", {}, t(one.state)));
const tile = (title, figure, tone, words, where) => el(`a.tile.${tone}`, { href: `#${where}` }, el("span.quiet", {}, t(title)), el("strong", {}, figure), el("span", {}, words));
