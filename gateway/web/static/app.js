// The frame of the page: who is signed in, which view is open, and what it hears.
import { el, fill, toast } from "./dom.js";
import { asked, calibrated, call, forget, hang, line, listen, me, venue } from "./live.js";
import { badge, devices, events, gates, overview, printing, sync, tellBy } from "./parts.js";
import { bench, configuration, guests } from "./work.js";
import { keep, kept, loadReasons, reason, switchLanguage, t } from "./words.js";

const VIEWS = {
  overview: [overview], taps: [events], gates: [gates], devices: [devices], printing: [printing], guests: [guests, "staff"], sync: [sync],
  bench: [bench, "technician"], configuration: [configuration, "technician"],
};
const RANKS = ["viewer", "staff", "technician"];
const page = document.getElementById("page");
let update = () => {}, head = null, nav = null;

function theme() {
  const wanted = kept("theme") || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = wanted;
  return wanted;
}

function controls() {
  return [
    el("button.quiet", { type: "button", id: "theme", onclick: () => { keep("theme", theme() === "dark" ? "light" : "dark"); theme(); frame(); } }, t(theme() === "dark" ? "bright" : "dark")),
    el("button.quiet", { type: "button", id: "language", onclick: () => { switchLanguage(); fill(document.getElementById("toasts")); frame(); } }, t("language")),
  ];
}

function frame() { if (me.user) open(); else signIn(); }

function signIn(told = "") {
  hang();
  forget();
  document.title = `${t("welcome")} · Venue Gateway`;
  const wrong = el("p.warn", { role: "alert" }, told);
  const form = el("form.login", { id: "login" },
    el("img", { src: "/static/icon.svg", alt: "", width: 64, height: 64 }), el("h1", {}, "Venue Gateway"),
    el("label", {}, t("user"), el("input", { name: "user", required: true, autocomplete: "username", autocapitalize: "off", spellcheck: "false", maxlength: 63 })),
    el("label", {}, t("password"), el("input", { name: "password", type: "password", required: true, autocomplete: "current-password", maxlength: 200 })),
    wrong, el("button.primary", {}, t("sign_in")), el("p.controls", {}, controls()));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    form.elements.password.value = "";
    try { Object.assign(me, await call("/api/login", given)); open(); } catch (error) { wrong.textContent = error.message; form.elements.password.focus(); }
  });
  page.className = "outside";
  page.replaceChildren(form);
  form.elements.user.focus();
}

async function signOut() {
  await call("/api/logout", {}).catch(() => {});
  signIn();
}

function open() {
  const may = Object.entries(VIEWS).filter(([, [, role]]) => RANKS.indexOf(me.role) >= RANKS.indexOf(role || "viewer"));
  head = el("div.state");
  nav = el("nav", {}, may.map(([view]) => el("a", { href: `#${view}`, "data-view": view }, t(view))));
  const main = el("main", { id: "main" });
  page.className = "inside";
  page.replaceChildren(el("header.top", {}, head, el("div.controls", {}, el("span.quiet.who", {}, `${me.user} · ${t(me.role)}`), controls(),
    el("button.quiet", { type: "button", id: "sign-out", onclick: signOut }, t("sign_out")))), nav, main);
  show(main, may.map(([view]) => view));
  if (!line.up) listen(heard, heardAnswer, (why) => signIn(t(why)));
  else heard(["gateway"]);
}

function show(main, may) {
  const wanted = location.hash.slice(1), view = may.includes(wanted) ? wanted : "overview";
  for (const link of nav.children) link.toggleAttribute("aria-current", link.dataset.view === view);
  // On a phone the views are a strip that is longer than the screen.
  nav.querySelector("[aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
  main.replaceChildren();
  main.dataset.view = view;
  update = VIEWS[view][0](main);
}

function heard(changed) {
  if (!me.user) return;
  const g = venue.gateway;
  document.title = `${g.name || "Venue Gateway"} · ${t("welcome")}`;
  fill(head, el("strong", {}, g.name || "…"), line.up ? badge(g.state || "starting") : badge("offline"), line.up ? null : el("span.warn", {}, t("connection_lost")));
  page.classList.toggle("cut-off", !line.up);
  update(changed);
  document.documentElement.dataset.ready = changed.includes("rows") ? "yes" : document.documentElement.dataset.ready || "";
}

function answered(answer) {
  const tone = { done: "good", accepted: "info" }[answer.status] || "bad";
  // Of what is done nobody needs more words; of what is not, the reason, or what the gateway says of it.
  const why = answer.reason ? reason(answer.reason) : answer.status === "done" ? "" : answer.message;
  toast([answer.target || asked.get(answer.id), t(answer.status), why].filter(Boolean).join(" · "), tone);
}
function heardAnswer(answer) {
  const target = asked.get(answer.id);
  if (calibrated.has(target) && answer.status !== "accepted" && !["Open.", ""].includes(answer.message)) {
    // What it says is to be read and written down: it stays on the drawer's card.
    calibrated.set(target, answer);
    update(["drawers"]);
    return;
  }
  if (answer.status !== "accepted" || !["Queued.", "Under way.", "Opening."].includes(answer.message)) answered(answer);
}
// What the journal answers comes over the stream too; only what is answered on the spot is told here.
tellBy((answer) => { if (answer.status !== "accepted" && answer.status !== "done") answered(answer); });

addEventListener("hashchange", () => { if (me.user) open(); });
let alive = 0;
for (const sign of ["pointerdown", "keydown"]) {
  addEventListener(sign, () => {
    if (!me.user || Date.now() - alive < 60000) return;
    alive = Date.now();
    call("/api/alive", {}).catch(() => {});
  }, { passive: true });
}

theme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  const now = theme(), button = document.getElementById("theme");
  if (button) button.textContent = t(now === "dark" ? "bright" : "dark");
});
loadReasons().catch(() => {});
try { Object.assign(me, await call("/api/session")); open(); } catch { signIn(); }
