// What staff see: an amount, a big button, an answer in plain words. The page is drawn anew from `now` whenever
// something has changed; nothing else holds state, and whatever is drawn reads it there.

import { el, fill } from "/static/dom.js";
import { forgetInvitation, Gateway, keepInvitation, keptInvitation, readInvitation } from "./contract.js";
import { scan } from "./scan.js";
import { clock, language, money, switchLanguage, t, why } from "./words.js";

const AMOUNT_MAX_MINOR = 100_000_000; // what the contract takes at most
const ANSWERS_KEPT = 20, SLOW_MS = 3000, STUCK_MS = 20_000, OPEN_SHOWN_MS = 2500;
const NOTHING_HAPPENED = new Set(["payment_cancelled", "payment_timed_out"]);
const page = document.getElementById("page"), over = document.getElementById("over");

const now = {
  view: "work",      // or "join", "place"
  minor: 0,          // the amount on the display
  over: null,        // what covers the page: a waiting reader, a result, the drawer's reasons
  answers: [],       // the latest, newest first
  place: JSON.parse(localStorage.getItem("vg.place") ?? "null"),
  wrong: "",         // what was wrong with the joining code
};
let gateway = null, camera = null;

// Joining.

function start() {
  const invitation = keptInvitation();
  if (!invitation) { now.view = "join"; draw(); return; }
  now.view = now.place ? "work" : "place";
  gateway = new Gateway(invitation, draw, (was, id) => { if (now.over?.id === was) now.over.id = id; });
  gateway.resume((id, about, dropped) => {
    // The page was loaded anew while a reader waited: go on where it was.
    if (about.what === "charge" || about.what === "top_up" || about.what === "balance") {
      if (!dropped) now.over = { kind: "waiting", id, sinceMs: Date.now(), ...about };
      return (answer) => cardAnswered(about, answer);
    }
    return (answer) => remember(about.what, answer);
  });
  gateway.connect();
  draw();
}

function join(text) {
  if (!readInvitation(text)) { now.wrong = t("join_wrong"); draw(); return; }
  camera?.stop();
  camera = null;
  now.wrong = "";
  keepInvitation(text);
  start();
}

function leave() {
  if (!confirm(t("forget_sure"))) return;
  gateway.end();
  gateway = null;
  forgetInvitation();
  localStorage.removeItem("vg.place");
  Object.assign(now, { view: "join", place: null, over: null, answers: [], minor: 0 });
  draw();
}

// What a card does.

function withCard(what) {
  if (now.over) return;
  const reader = now.place.reader, minor = what === "balance" ? 0 : now.minor;
  const data = { charge: { amount_minor: minor, reader }, top_up: { amount_minor: minor, by: "cash", reader }, balance: { reader } }[what];
  const about = { what, minor };
  now.over = { kind: "waiting", sinceMs: Date.now(), ...about };
  now.over.id = gateway.ask("wallet", what, data, about, (answer) => cardAnswered(about, answer));
  draw();
}

function cardAnswered(about, answer) {
  const shown = now.over?.id === answer.id;
  if (answer.status === "accepted") {
    // A reader that waits for what nobody sees would take the next guest's card.
    if (!shown) { gateway.drop(answer.id); return; }
    // Counted from now on: this tablet's clock may differ from the gateway's.
    now.over.untilMs = Date.now() + answer.data.until_ms - Date.parse(answer.at);
  } else {
    if (shown) showResult(about, answer);
    remember(about.what, answer, about.minor);
  }
  draw();
}

function showResult(about, answer) {
  const done = answer.status === "done";
  if (done) now.minor = 0;
  const facts = { paid: done && about.what === "charge" ? { ...answer.data, at: answer.at } : null };
  now.over = { kind: "result", tone: toneOf(answer), title: titleOf(about.what, answer), ...linesOf(about, answer), ...facts };
}

function cancelCard() {
  gateway.ask("wallet", "cancel", { request: now.over.id }, { what: "cancel" }, () => {});
}

// Paper and drawer.

function printReceipt() {
  const { amount_minor, balance_minor, currency, transfer, at } = now.over.paid;
  const pair = (text, minor, bold) => ({ type: "columns", bold, cells: [{ text }, { text: money(minor, currency), align: "right" }] });
  const lines = [
    { type: "text", text: gateway.info.name || gateway.info.venue, align: "center", bold: true, double_height: true, double_width: true },
    { type: "text", text: t("receipt_title"), align: "center" },
    { type: "rule" },
    pair(t("receipt_paid"), amount_minor, true),
    ...(balance_minor === undefined || balance_minor === null ? [] : [pair(t("receipt_left"), balance_minor, false)]),
    { type: "rule" },
    { type: "text", text: new Date(at).toLocaleString(language === "de" ? "de-DE" : "en-GB"), align: "center" },
    { type: "text", text: transfer, align: "center" },
    { type: "text", text: t("receipt_thanks"), align: "center" },
    { type: "cut" },
  ];
  now.over.note = t("printing");
  now.over.printed = true;
  gateway.ask(now.place.printer, "print", { document: { lines }, title: t("receipt_title") }, { what: "print" }, (answer) => {
    const held = answer.status === "accepted" && answer.data.held;
    if (now.over?.kind === "result") {
      now.over.note = answer.status === "done" ? t(answer.data.confirmed ? "printed" : "sent") : held ? t("held_print", { why: t(answer.data.held) }) : answer.status === "accepted" ? t("printing") : `${titleOf("print", answer)}: ${why(answer)}`;
      now.over.noteTone = held ? "near" : answer.status === "accepted" ? "" : toneOf(answer);
    }
    if (answer.status !== "accepted") remember("print", answer);
    draw();
  });
  draw();
}

function openDrawer(reason) {
  const opening = { kind: "result", tone: "calm", title: t("opening"), lines: [] };
  now.over = opening;
  gateway.ask(now.place.drawer, "open", { reason }, { what: "open" }, (answer) => {
    if (answer.status === "accepted") return;
    const shown = { kind: "result", tone: toneOf(answer), title: titleOf("open", answer), lines: answer.status === "done" ? [] : [why(answer)] };
    // Where staff went on meanwhile, a reader may wait by now, and must not do so unseen.
    if (now.over === opening) now.over = shown;
    remember("open", answer);
    // An open drawer needs no further touch; a shut one needs to be read.
    if (answer.status === "done") setTimeout(() => { if (now.over === shown) close(); }, OPEN_SHOWN_MS);
    draw();
  });
  draw();
}

// Answers in words.

function toneOf(answer) {
  if (answer.status === "done") return "good";
  if (NOTHING_HAPPENED.has(answer.reason)) return "calm";
  return answer.status === "unknown" ? "near" : "bad";
}

function titleOf(what, answer) {
  if (answer.status === "unknown") return t("unsure");
  if (answer.status !== "done") return t(`not_${what}`);
  return t({ charge: "paid", top_up: "topped_up", balance: "on_card", print: "printed", open: "opened" }[what]);
}

function linesOf({ what, minor }, answer) {
  const { currency = gateway.info.currency, balance_minor, available_minor, held_minor } = answer.data ?? {};
  if (answer.status !== "done") {
    return { lines: [why(answer), ...(available_minor === undefined ? [] : [t("available", { amount: money(available_minor, currency) })])] };
  }
  if (what === "balance") {
    return { amount: money(available_minor, currency), lines: held_minor ? [t("held", { amount: money(held_minor, currency) })] : [] };
  }
  const left = balance_minor === undefined || balance_minor === null ? [] : [t("left", { amount: money(balance_minor, currency) })];
  return { amount: money(minor, currency), lines: left };
}

function remember(what, answer, minor = 0) {
  const text = answer.status === "done" ? (minor ? money(minor, gateway.info.currency) : "") : why(answer);
  now.answers.unshift({ at: answer.at ?? new Date().toISOString(), title: titleOf(what, answer), text, tone: toneOf(answer) });
  now.answers.length = Math.min(now.answers.length, ANSWERS_KEPT);
}

function close() { now.over = null; draw(); }

function closeWaiting() { gateway.drop(now.over.id); close(); }

// Drawing.

function draw() {
  const views = { join: joinView, place: placeView, work: workView };
  fill(page, views[now.view]());
  page.dataset.view = now.view;
  page.dataset.ready = gateway?.ready ? "yes" : "no";
  const held = over.contains(document.activeElement) ? document.activeElement.id : "", was = !over.hidden;
  over.hidden = !now.over;
  over.className = now.over?.tone ?? "";
  fill(over, now.over ? { waiting: waitingView, result: resultView, drawer: drawerView }[now.over.kind]() : []);
  // What is covered can be neither touched nor typed at, and no button is chosen that an Enter would press: a wedge
  // scanner sends one after each code.
  page.inert = Boolean(now.over);
  if (now.over && !over.contains(document.activeElement)) ((held && document.getElementById(held)) || over).focus();
  else if (was && !now.over) page.focus({ preventScroll: true });
}

function joinView() {
  const field = el("textarea", { id: "invitation", rows: 4, autofocus: true, spellcheck: "false", autocomplete: "off", "aria-label": t("join_text"), placeholder: t("join_text"), oninput: (event) => { if (readInvitation(event.target.value)) join(event.target.value); } });
  return el("main.plain", {},
    el("header", {}, el("h1", {}, t("join_title")), tools()),
    el("p", {}, t("join_how")), field,
    el("p.warn", { role: "alert" }, now.wrong),
    el("div.row", {},
      el("button.primary", { type: "button", id: "join", onclick: () => join(document.getElementById("invitation").value) }, t("join")),
      scan.possible && el("button", { type: "button", onclick: useCamera }, t(camera ? "stop_scan" : "scan"))),
    camera?.video,
    el("p.quiet", {}, t("join_kept")));
}

async function useCamera() {
  if (camera) { camera.stop(); camera = null; draw(); return; }
  try {
    const started = await scan.start((text) => { if (readInvitation(text)) join(text); });
    // Meanwhile the code may have been pasted, or the button pressed twice.
    if (now.view !== "join" || camera) started.stop(); else camera = started;
  } catch { now.wrong = t("no_camera"); }
  draw();
}

function placeView() {
  const kinds = [["reader", ["reader", "scanner"], "none"], ["printer", ["printer"], "none"], ["drawer", ["drawer"], "none_drawer"]];
  const place = now.place ?? {};
  const choose = (what, name) => { now.place = { ...now.place, [what]: name }; localStorage.setItem("vg.place", JSON.stringify(now.place)); draw(); };
  return el("main.plain", {},
    el("header", {}, el("h1", {}, t("place_title")), tools()),
    el("p.quiet", {}, t("place_how")), banner(),
    kinds.map(([what, wanted, none]) => el("section", {}, el("h2", {}, t(what)),
      el("div.choices", {}, ["", ...gateway.devices.filter((one) => wanted.includes(one.kind)).map((one) => one.name)].map((name) =>
        el("button", { type: "button", "data-choose": `${what}/${name}`, "aria-pressed": String((place[what] ?? "") === name), onclick: () => choose(what, name) }, name || t(none)))))),
    el("div.row", {},
      el("button.primary", { type: "button", id: "placed", onclick: () => { now.place ??= {}; localStorage.setItem("vg.place", JSON.stringify(now.place)); now.view = "work"; draw(); } }, t("done_placing")),
      el("button.danger", { type: "button", id: "forget", onclick: leave }, t("forget"))));
}

function workView() {
  const currency = gateway.info.currency, { reader, printer, drawer } = now.place;
  const able = gateway.ready && reader, amount = now.minor > 0;
  const big = (id, tone, word, enabled, what) => el(`button.big.${tone}`, { type: "button", id, disabled: !enabled, onclick: what }, t(word));
  return el("main.work", {},
    el("header", {}, el("h1", {}, gateway.info.name || gateway.info.venue || gateway.invitation.venue, el("small", {}, gateway.invitation.user)), tools(true)),
    banner(),
    el("section.pad", { "aria-label": t("amount") },
      el("output", { id: "amount" }, money(now.minor, currency)),
      el("div.keys", {}, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "00", "0", "⌫"].map((key) => el("button", { type: "button", "data-key": key, "aria-label": key === "⌫" ? t("back") : key, onclick: () => press(key) }, key)))),
    el("section.acts", {},
      big("charge", "primary", "charge", able && amount, () => withCard("charge")),
      big("top_up", "plain", "top_up", able && amount, () => withCard("top_up")),
      big("balance", "plain", "balance", able, () => withCard("balance")),
      drawer && big("drawer", "plain", "open_drawer", gateway.ready, () => { now.over = { kind: "drawer" }; draw(); }),
      !reader && el("p.warn", {}, t("no_reader")),
      [reader, printer, drawer].map(deviceNote)),
    el("section.log", {}, el("h2", {}, t("answers")),
      now.answers.length ? el("ol", { id: "answers" }, now.answers.map((one) => el(`li.${one.tone}`, {}, el("time", {}, clock(one.at)), el("strong", {}, one.title), el("span", {}, one.text)))) : el("p.quiet", {}, t("nothing_yet"))));
}

// A device of this tablet that is away, or a printer that says what it lacks.
function deviceNote(name) {
  const told = name && gateway.deviceStates[name];
  if (!told) return null;
  if (told.state === "offline") return el("p.warn", {}, t("device_offline", { name }));
  const lacks = told.status?.paper_out ? "paper_out" : told.status?.cover_open ? "cover_open" : "";
  return lacks && el("p.warn", {}, `${name}: ${t(lacks)}`);
}

function banner() {
  if (gateway.line !== "up") return el("p.banner.bad", { id: "line", role: "status" }, t(`line_${gateway.line}`, { host: gateway.invitation.wss }));
  if (gateway.state.state === "offline") return el("p.banner.bad", { id: "line", role: "status" }, t("gateway_offline"));
  if (gateway.state.state === "degraded") return el("p.banner.near", { id: "line", role: "status" }, t("degraded", { why: gateway.state.why.join(", ") }));
  return el("p.banner.good", { id: "line", role: "status" }, t("ready"));
}

function waitingView() {
  const { what, minor, untilMs, sinceMs } = now.over, waitedMs = Date.now() - sinceMs;
  const left = untilMs ? Math.max(0, Math.round((untilMs - Date.now()) / 1000)) : 0;
  const stuck = untilMs && gateway.ready ? Date.now() > untilMs + SLOW_MS : waitedMs > STUCK_MS;
  return [
    el("p.kind", {}, t(what)), what !== "balance" && el("p.amount", {}, money(minor, gateway.info.currency)),
    // Nobody is asked for a card while nobody can say what would become of it.
    gateway.ready ? [el("p.lead", {}, t(untilMs ? "hold_card" : "asking")), el("p.reader", {}, now.place.reader)] : banner(),
    untilMs && gateway.ready ? el("p.quiet", {}, t("seconds", { s: left })) : waitedMs > SLOW_MS && el("p.warn", {}, t("no_answer")),
    el("div.row", {},
      el("button.big.plain", { type: "button", id: "cancel", disabled: !gateway.ready, onclick: cancelCard }, t("cancel")),
      // The gateway is told to cancel it as soon as it can be reached, and what became of it comes into the list.
      stuck && el("button.big.plain", { type: "button", id: "close", onclick: closeWaiting }, t("close"))),
  ];
}

function resultView() {
  const { title, tone, lines, amount, paid, note, noteTone, printed } = now.over;
  return [
    el("p.sign", { "aria-hidden": "true" }, { good: "✓", bad: "✕", near: "?", calm: "–" }[tone]),
    el("p.title", { id: "result" }, title), amount && el("p.amount", {}, amount), lines.map((line) => el("p.lead", {}, line)),
    note && el(`p.note.${noteTone || "calm"}`, { id: "note" }, note),
    el("div.row", {},
      paid && now.place.printer && !printed && el("button.big.plain", { type: "button", id: "print", onclick: printReceipt }, t("print_receipt")),
      el("button.big.primary", { type: "button", id: "next", onclick: close }, t(paid ? "next" : "close"))),
  ];
}

function drawerView() {
  const other = () => document.getElementById("reason").value.trim();
  return [
    el("p.title", {}, t("why_open")),
    el("div.choices", {}, ["change", "sale", "count"].map((word) => el("button.big.plain", { type: "button", "data-reason": word, onclick: () => openDrawer(t(`reason_${word}`)) }, t(`reason_${word}`)))),
    el("form.row", { onsubmit: (event) => { event.preventDefault(); if (other()) openDrawer(other()); } },
      el("input", { id: "reason", maxlength: 200, placeholder: t("reason_other"), "aria-label": t("reason_other"), autocomplete: "off" }),
      el("button.big.plain", {}, t("go"))),
    el("div.row", {}, el("button.big.plain", { type: "button", id: "back", onclick: close }, t("cancel"))),
  ];
}

function tools(settings = false) {
  return el("div.tools", {},
    el("button", { type: "button", id: "theme", onclick: () => { localStorage.setItem("vg.theme", theme() === "dark" ? "light" : "dark"); theme(); draw(); } }, t(document.documentElement.dataset.theme === "dark" ? "bright" : "dark")),
    el("button", { type: "button", id: "language", onclick: () => { switchLanguage(); draw(); } }, t("language")),
    settings && el("button", { type: "button", id: "settings", onclick: () => { now.view = "place"; draw(); } }, t("settings")));
}

function press(key) {
  const next = key === "⌫" ? Math.floor(now.minor / 10) : Number(`${now.minor}${key}`);
  if (next <= AMOUNT_MAX_MINOR) now.minor = next;
  draw();
}

function theme() {
  const wanted = localStorage.getItem("vg.theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
  return wanted;
}

// A real keyboard or a number pad types amounts, too.
addEventListener("keydown", (event) => {
  if (now.view !== "work" || now.over || event.ctrlKey || event.metaKey || event.altKey) return;
  if (/^[0-9]$/.test(event.key)) press(event.key);
  else if (event.key === "Backspace") press("⌫");
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { theme(); draw(); });
setInterval(() => { if (now.over?.kind === "waiting") draw(); }, 500);
theme();
start();
