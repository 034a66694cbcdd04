// What is worked with: the look-up of a guest, the technician's bench, the configuration.
import { el, fill, follow } from "./dom.js";
import { calibrated, call, venue, wanted } from "./live.js";
import { badge, name, order } from "./parts.js";
import { day, money, reason, t } from "./words.js";

const TECHNOLOGIES = ["em4100", "barcode", "nfc", "wiegand", "keypad"];

// A number that is typed or scanned goes out with the question, and its field is emptied at once.
export function guests(page) {
  const found = el("section", { id: "found", "aria-live": "polite" });
  const how = el("select", { name: "how", "aria-label": t("kind") }, el("option", { value: "holder" }, t("by_holder")),
    TECHNOLOGIES.map((one) => el("option", { value: one }, `${t("by_card")} (${one})`)), el("option", { value: "ref" }, t("by_ref")));
  const what = el("input", { name: "what", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "off", maxlength: 700, "aria-label": t("who"), placeholder: t("who") });
  const form = el("form.inline.wide", { id: "lookup", autocomplete: "off" }, how, what, el("button", {}, t("look_up")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const value = what.value.trim(), by = how.value;
    if (by !== "holder") what.value = "";
    const asked = by === "holder" ? { holder: value } : by === "ref" ? { ref: value.toLowerCase() } : { credential: { technology: by, value } };
    try { fill(found, guest(await call("/api/lookup", asked))); } catch (error) { fill(found, el("p.warn", {}, error.message)); }
  });
  page.append(el("h2", {}, t("guests")), form, found);
  if (wanted.holder) {
    what.value = wanted.holder;
    wanted.holder = "";
    form.requestSubmit();
  }
  return () => {};
}

function guest(one) {
  if (!one.holder) return el("p.warn", {}, one.fault ? reason(one.fault) : t("nothing_found"));
  const currency = one.wallet?.currency || venue.gateway.currency;
  const known = one.entitlements.length || one.wallet || one.inside || one.credential?.state;
  return [
    el("article.card.guest", {},
      el("header", {}, el("h3", {}, one.holder), one.blocked ? badge("blocked", "alarm") : null, one.fault ? badge(one.fault, "bad") : null),
      one.ref && el("p.quiet", {}, [`${t("card")} ⌗${one.ref.slice(0, 8)}`, one.credential?.kind && t(`kind_${one.credential.kind}`), one.credential?.state && t(`card_${one.credential.state}`)].filter(Boolean).join(" · ")),
      el("p", {}, `${t("whereabouts")}: ${one.inside ? `${one.inside.zone} (${day(one.inside.since_ms)})` : t("outside")}`),
      one.wallet && el("p.count", {}, el("strong", {}, money(one.wallet.available_minor ?? one.wallet.balance_minor, currency)), el("span.quiet", {}, ` ${t("available")}`),
        one.wallet.held_minor ? el("span.quiet", {}, ` · ${money(one.wallet.held_minor, currency)} ${t("reserved")}`) : null),
      !known && el("p.warn", {}, t("nothing_found"))),
    el("h2", {}, t("entitlements")),
    el("ul.plain", {}, one.entitlements.map((each) => el("li", {}, el("strong", {}, each.item || each.zones.join(", ")), ` ${each.id} · ${t("uses")} ${each.uses}${each.uses_total ? ` ${t("of")} ${each.uses_total}` : ""}`,
      each.valid_until_ms ? el("span.quiet", {}, ` · → ${day(each.valid_until_ms)}`) : null))),
    el("h2", {}, t("why")),
    el("div.grid", {}, one.gates.map(verdict)),
  ];
}

function verdict(one) {
  const granted = one.decision === "granted";
  return el(`article.card.${granted ? "good" : "bad"}`, {},
    el("header", {}, el("h3", {}, one.gate), badge(granted ? "would_pass" : "would_not", granted ? "good" : "bad")),
    !granted && el("p.warn", {}, reason(one.reason) || one.message),
    el("details", {}, el("summary", {}, t("rules")), ruleList(one.rules), ruleList(one.credential_rules),
      (one.entitlements || []).map((each) => [el("p", {}, el("strong", {}, each.entitlement)), ruleList(each.rules)])));
}

function ruleList(rules) {
  return rules ? el("ul.rules", {}, Object.entries(rules).map(([rule, said]) => el(`li.${said === "ok" ? "good" : "bad"}`, {}, `${said === "ok" ? "✓" : "✗"} ${t(rule)}`, said === "ok" ? null : `: ${reason(said)}`))) : null;
}

// The bench.

const testPage = (printer) => ({ title: t("test_print"), document: { lines: [
  { type: "text", text: venue.gateway.name || "Venue Gateway", align: "center", bold: true, double_height: true },
  { type: "rule" }, { type: "columns", cells: [{ text: printer }, { text: new Date().toLocaleTimeString(), align: "right" }] },
  { type: "text", text: "äöü ÄÖÜ ß € ½ ñ ø" }, { type: "qr", data: "https://example.org/test" }, { type: "cut" }] } });

export function bench(page) {
  const box = el("div.grid", { id: "bench" });
  const why = el("input", { value: t("test_reason"), maxlength: 200, id: "bench-reason", "aria-label": t("reason") });
  page.append(el("h2", {}, t("bench")), el("p.hint", {}, t("bench_hint")), el("label.inline", {}, `${t("reason")} `, why), box);
  const stated = () => why.value.trim() || t("test_reason");
  function card(one) {
    const tries = one.can.filter((verb) => verb !== "pulse").map((verb) => el("button", { type: "button", "data-verb": verb, onclick: () => order(one.name, verb, { reason: stated() }) }, t(verb)));
    for (let channel = 1; one.can.includes("pulse") && channel <= Math.min(one.channels, 16); channel += 1) {
      tries.push(el("button.danger", { type: "button", "data-verb": "pulse", onclick: () => order(one.name, "pulse", { reason: stated(), channel, pulse_ms: 500 }) }, `${t("relay")} ${channel}`));
    }
    if (one.kind === "printer" && one.state === "online") tries.push(el("button", { type: "button", "data-verb": "print", onclick: () => order(one.name, "print", testPage(one.name)) }, t("test_print")));
    return el(`article.card.${one.state === "online" ? "calm" : "bad"}`, { "data-name": one.name }, el("header", {}, el("h3", {}, one.name), badge(one.state)),
      el("p.quiet", {}, `${t(one.kind)} · ${one.driver}`), tries.length ? el("div.buttons", {}, tries) : el("p.quiet", {}, t("cannot")));
  }
  // Shut, one button, open: what the contact read either way, and the line for the YAML.
  function drawer(one) {
    const begin = () => { calibrated.set(one.name, { message: t("calibrating") }); draw(); order(one.name, "calibrate", { reason: stated() }); };
    const came = one.came && el(`p.note.${one.came.status === "done" ? "good" : one.came.status ? "bad" : "near"}`, {}, one.came.message);
    return el(`article.card.${one.online ? "calm" : "bad"}`, { "data-name": one.name }, el("header", {}, el("h3", {}, one.name), badge(one.online ? "online" : "offline")),
      el("p.quiet", {}, t("drawer")), el("p", {}, t("calibrate_how")), el("div.buttons", {}, el("button.danger", { type: "button", "data-verb": "calibrate", disabled: !one.online, onclick: begin }, t("calibrate"))), came);
  }
  const things = () => [...venue.devices.map(({ last, detail, status, restarts, ...rest }) => rest), ...venue.drawers.map((one) => ({ name: one.name, online: one.online, kind: "drawer", came: calibrated.get(one.name) }))];
  const draw = () => follow(box, things(), name, (one) => (one.kind === "drawer" ? drawer(one) : card(one)));
  draw();
  return (changed) => { if (changed.includes("devices") || changed.includes("drawers")) draw(); };
}

// The configuration, with what `check` finds in its place.

export function configuration(page) {
  const verdictLine = el("p.verdict"), code = el("ol.code", { id: "configuration" });
  page.append(el("div.bar", {}, el("h2", {}, t("configuration")), el("button.quiet", { type: "button", onclick: () => read() }, t("again"))), verdictLine, code);
  async function read() {
    try {
      const found = await call("/api/configuration");
      const problems = found.findings.filter((one) => one.level === "problem");
      const words = problems.length ? "config_wrong" : found.digest === found.in_force ? "config_right" : "config_differs";
      verdictLine.className = `verdict ${problems.length ? "bad" : words === "config_right" ? "good" : "near"}`;
      verdictLine.textContent = `${found.file}: ${t(words)}`;
      const by = Map.groupBy ? Map.groupBy(found.findings, (one) => one.line) : grouped(found.findings);
      const lines = found.lines.length ? found.lines : [""];
      code.replaceChildren(...lines.map((text, place) => el("li", {}, el("code", {}, text || " "), (by.get(place + 1) || []).map(note))));
    } catch (error) { verdictLine.textContent = error.message; }
  }
  read();
  return () => {};
}

const note = (one) => el(`p.note.${one.level === "problem" ? "bad" : "near"}`, {}, el("strong", {}, `${t(one.level)}: `), one.path && `${one.path}: `, one.message);
function grouped(findings) {
  const by = new Map();
  for (const one of findings) by.set(one.line, [...(by.get(one.line) || []), one]);
  return by;
}
