// Every word of the page, in German and English. The browser's language is the first choice; the switch is kept.

import { inGerman } from "./details.js";
import { REASONS_DE } from "/tablet/reasons.js";

const WORDS = {
  de: {
    overview: "Überblick", taps: "Ereignisse", gates: "Zugänge", devices: "Geräte", printing: "Drucken", guests: "Gäste", sync: "Abgleich",
    configuration: "Konfiguration", bench: "Werkbank", drawers: "Kassenladen", zones: "Bereiche",
    sign_in: "Anmelden", sign_out: "Abmelden", user: "Name", password: "Passwort", welcome: "Konsole", signed_out: "Abgemeldet. Bitte neu anmelden.", crowded: "Die Konsole ist unter diesem Namen an vier weiteren Stellen offen. Hier neu anmelden, um hier weiterzumachen.",
    online: "bereit", offline: "weg", starting: "startet", stopped: "aus", degraded: "Störung", locked: "zu", released: "frei", forced: "AUFGEBROCHEN",
    held_open: "STEHT OFFEN", fault: "STÖRUNG", emergency: "NOTÖFFNUNG", locked_down: "GESPERRT", lockdown: "GESPERRT", open: "offen", closed: "zu", unknown: "unbekannt",
    left_open: "STEHT OFFEN", all_well: "Alles in Ordnung", trouble: "Bitte ansehen", connection_lost: "Keine Verbindung zum Gateway. Es wird weiter versucht …",
    queued: "wartet", printing_now: "druckt", held: "hält an", done: "fertig", failed: "gescheitert", denied: "abgelehnt", accepted: "angenommen", copy: "KOPIE",
    reprint: "Als Kopie drucken", cancel: "Zurückziehen", open_drawer: "Lade öffnen", reason: "Grund", go: "Los", inside: "drinnen", of: "von", nobody_waits: "Nichts wartet",
    last: "zuletzt", never: "noch nichts", no_devices: "Keine Geräte", no_jobs: "Noch kein Beleg", all: "Alles", only_bad: "Nur Ablehnungen und Alarme", pause: "Anhalten", resume: "Weiter",
    who: "Wer oder welche Karte?", by_holder: "Name des Gasts", by_card: "Kartennummer oder Code", by_ref: "Referenz", kind: "Art", look_up: "Nachsehen", nothing_found: "Nichts bekannt.",
    http_wrong_password: "Name oder Passwort ist falsch.", http_too_many: "Zu viele Versuche. Bitte etwas warten.", http_signed_out: "Bitte anmelden.", http_not_allowed: "Das darf diese Rolle nicht.", http_busy: "Gerade ist zu viel los. Gleich noch einmal versuchen.", http_failed: "Das hat nicht geklappt; Näheres steht im Log.", http_too_slow: "Die Anfrage kam nicht rechtzeitig an.",
    kind_card: "Karte", kind_wristband: "Armband", kind_qr_code: "QR-Code", kind_staff_badge: "Dienstausweis", card_active: "gültig", card_blocked: "gesperrt", card_replaced: "ersetzt", card_expired: "abgelaufen",
    entitlements: "Berechtigungen", wallet: "Guthaben", balance: "Guthaben", available: "verfügbar", reserved: "vorgemerkt", uses: "benutzt", why: "Warum?", would_pass: "käme durch", would_not: "käme nicht durch", whereabouts: "Aufenthalt", outside: "draußen", blocked: "gesperrt", card: "Karte", rules: "Regeln",
    directory_age: "Alter des Verzeichnisses", backlog: "Rückstand", exposure: "Offline ausgegeben", answers_waiting: "Antworten in der Warteschlange", journal: "Journal", limit: "Grenze", no_limit: "ohne Grenze", last_hour: "letzte Stunde",
    granted_per_min: "Eingelassen je Minute", denied_per_min: "Abgelehnt je Minute", inside_now: "Gäste im Haus", devices_away: "Geräte weg", credentials: "Karten und Codes", accounts: "Konten", holds: "Vormerkungen", broker: "Broker", connected: "verbunden", not_connected: "nicht verbunden", none_loaded: "keines geladen",
    config_right: "Die Datei ist richtig und in Kraft.", config_differs: "Die Datei ist richtig, aber noch nicht in Kraft. Neu laden: systemctl reload venue-gateway", config_wrong: "Die Datei hat Fehler; die letzte richtige läuft weiter.", problem: "Fehler", warning: "Hinweis", again: "Neu lesen",
    beep: "Piepen", light: "Licht", show: "Anzeige", pulse: "Impuls", relay: "Relais", test_print: "Testdruck", bench_hint: "Jeder Versuch steht mit Namen und Grund im Journal. Ein Impuls öffnet wirklich.", test_reason: "Test am Gerät", cannot: "Hier gibt es nichts auszuprobieren.", calibrate: "Sie ist zu: jetzt öffnen und lesen", calibrate_how: "Kontakt einmessen: die Lade ganz zuschieben, dann den Knopf drücken. Sie springt auf; bleibt sie zu, mit dem Schlüssel öffnen.", calibrating: "Wird geöffnet und gelesen …",
    viewer: "Zuschauer", staff: "Personal", technician: "Technik", dark: "Dunkel", bright: "Hell", language: "English", restarts: "Neustarts", driver: "Treiber", state: "Zustand", detail: "Näheres",
    reading: "gelesen", byte_count: "Bytes", technology: "Technik", input: "Kontakt", tamper: "Gehäuse", noise: "Störsignal", status: "Meldung", paper_out: "Papier leer", cover_open: "Deckel offen", paper_low: "Papier geht aus", raw: "Rohdaten", reader: "Leser", scanner: "Scanner", board: "Relais", printer: "Drucker", drawer: "Lade", bus: "Bus",
    skipped: "Leitung wieder da", full: "voll", nothing_yet: "Noch nichts geschehen", under_way: "Läuft …", sec: "s", min: "min", h: "h", d: "d", ago: "vor",
    "entry.granted": "eingelassen", "entry.denied": "abgelehnt", "entry.returned": "zurückgegeben", "entry.unknown": "UNKLAR", "gate.forced": "AUFGEBROCHEN", "gate.held_open": "STEHT OFFEN", "gate.fault": "STÖRUNG", "gate.restored": "Zugang geht wieder",
    "zone.locked_down": "GESPERRT", "zone.released": "NOTÖFFNUNG", "zone.restored": "wieder normal", "credential.blocked": "Karte gesperrt", "credential.unblocked": "Karte entsperrt",
    "print.done": "gedruckt", "print.held": "Druck hält an", "print.failed": "nicht gedruckt", "print.unknown": "Druck UNKLAR", "drawer.opening": "Lade geöffnet", "drawer.failed": "Lade blieb zu", "drawer.unknown": "Lade UNKLAR", "drawer.forced": "LADE AUFGEBROCHEN", "drawer.left_open": "LADE STEHT OFFEN", "drawer.closed": "Lade zu",
    "device.online": "Gerät bereit", "device.offline": "Gerät weg", "gateway.started": "Gateway gestartet", "configuration.loaded": "Konfiguration geladen", "configuration.refused": "Konfiguration abgelehnt", "directory.loaded": "Verzeichnis geladen",
    charge: "Zahlung", top_up: "Aufladung", refund: "Rückgabe", tip: "Trinkgeld", deposit: "Pfand", deposit_return: "Pfand zurück", capture: "Einzug", transfer: "Übertrag", close_out: "Auszahlung", "wallet.transferred": "gebucht", "wallet.held": "vorgemerkt", "wallet.denied": "Zahlung abgelehnt", "wallet.failed": "Zahlung abgebrochen", "redemption.made": "eingelöst", "redemption.denied": "nicht eingelöst", "redemption.failed": "Einlösen abgebrochen", "bench.started": "Test begonnen", "bench.ended": "Test beendet", "input.active": "MELDER AKTIV", "input.idle": "Melder ruhig", "device.tested": "Gerät getestet", "clock.vouched": "Uhr bestätigt", "clock.doubted": "Uhr unsicher", "clock.jumped": "Uhr gesprungen", "shift.opened": "Schicht begonnen", "shift.closed": "Schicht beendet",
    door_held: "Tür steht offen", alarm: "Alarm",
  },
  en: {
    overview: "Overview", taps: "Events", gates: "Gates", devices: "Devices", printing: "Printing", guests: "Guests", sync: "Sync",
    configuration: "Configuration", bench: "Bench", drawers: "Drawers", zones: "Zones",
    sign_in: "Sign in", sign_out: "Sign out", user: "Name", password: "Password", welcome: "Console", signed_out: "Signed out. Please sign in again.", crowded: "The console is open at four other places under this name. Sign in again to go on here.",
    online: "ready", offline: "away", starting: "starting", stopped: "off", degraded: "trouble", locked: "shut", released: "open for one", forced: "FORCED",
    held_open: "HELD OPEN", fault: "FAULT", emergency: "EMERGENCY", locked_down: "LOCKED DOWN", lockdown: "LOCKED DOWN", open: "open", closed: "shut", unknown: "unknown",
    left_open: "LEFT OPEN", all_well: "All is well", trouble: "Please look", connection_lost: "No connection to the gateway. Trying again …",
    queued: "waits", printing_now: "prints", held: "held", done: "done", failed: "failed", denied: "refused", accepted: "accepted", copy: "COPY",
    reprint: "Print a copy", cancel: "Take back", open_drawer: "Open drawer", reason: "Reason", go: "Go", inside: "inside", of: "of", nobody_waits: "Nothing waits",
    last: "last", never: "nothing yet", no_devices: "No devices", no_jobs: "No receipt yet", all: "Everything", only_bad: "Refusals and alarms only", pause: "Pause", resume: "Go on",
    who: "Who, or which card?", by_holder: "The guest's name", by_card: "Card number or code", by_ref: "Reference", kind: "Kind", look_up: "Look up", nothing_found: "Nothing is known.",
    http_wrong_password: "Name or password is wrong.", http_too_many: "Too many tries. Wait a little.", http_signed_out: "Please sign in.", http_not_allowed: "This role may not do that.", http_busy: "Too much is asked at once. Try again in a moment.", http_failed: "This did not work; the log has the details.", http_too_slow: "The request did not arrive in time.",
    kind_card: "card", kind_wristband: "wristband", kind_qr_code: "QR code", kind_staff_badge: "staff badge", card_active: "valid", card_blocked: "blocked", card_replaced: "replaced", card_expired: "expired",
    entitlements: "Entitlements", wallet: "Wallet", balance: "Balance", available: "available", reserved: "reserved", uses: "used", why: "Why?", would_pass: "would be let in", would_not: "would be refused", whereabouts: "Whereabouts", outside: "outside", blocked: "blocked", card: "Card", rules: "Rules",
    directory_age: "Age of the directory", backlog: "Backlog", exposure: "Spent offline", answers_waiting: "Answers waiting", journal: "Journal", limit: "limit", no_limit: "no limit", last_hour: "last hour",
    granted_per_min: "Let in per minute", denied_per_min: "Refused per minute", inside_now: "Guests inside", devices_away: "Devices away", credentials: "Cards and codes", accounts: "Accounts", holds: "Holds", broker: "Broker", connected: "connected", not_connected: "not connected", none_loaded: "none loaded",
    config_right: "The file is right and in force.", config_differs: "The file is right and not yet in force. Reload it: systemctl reload venue-gateway", config_wrong: "The file has problems; the last good one runs on.", problem: "Problem", warning: "Note", again: "Read again",
    beep: "Beep", light: "Light", show: "Display", pulse: "Pulse", relay: "Relay", test_print: "Test print", bench_hint: "Every try stands in the journal with your name and reason. A pulse really opens.", test_reason: "test at the device", cannot: "There is nothing to try here.", calibrate: "It is shut: open and read", calibrate_how: "Calibrate the contact: push the drawer shut, then press the button. It springs open; if it stays shut, open it with its key.", calibrating: "Opening and reading …",
    viewer: "Viewer", staff: "Staff", technician: "Technician", dark: "Dark", bright: "Light", language: "Deutsch", restarts: "Restarts", driver: "Driver", state: "State", detail: "Detail",
    reading: "read", byte_count: "bytes", technology: "technology", input: "contact", tamper: "housing", noise: "noise", status: "status", paper_out: "paper out", cover_open: "cover open", paper_low: "paper low", raw: "raw", reader: "reader", scanner: "scanner", board: "relays", printer: "printer", drawer: "drawer", bus: "bus",
    skipped: "Connected again", full: "full", nothing_yet: "Nothing has happened yet", under_way: "Under way …", sec: "s", min: "min", h: "h", d: "d", ago: "",
    "entry.granted": "let in", "entry.denied": "refused", "entry.returned": "handed back", "entry.unknown": "UNKNOWN", "gate.forced": "FORCED", "gate.held_open": "HELD OPEN", "gate.fault": "FAULT", "gate.restored": "gate works again",
    "zone.locked_down": "LOCKED DOWN", "zone.released": "EMERGENCY", "zone.restored": "back to normal", "credential.blocked": "card blocked", "credential.unblocked": "card unblocked",
    "print.done": "printed", "print.held": "print held", "print.failed": "not printed", "print.unknown": "print UNKNOWN", "drawer.opening": "drawer opened", "drawer.failed": "drawer stayed shut", "drawer.unknown": "drawer UNKNOWN", "drawer.forced": "DRAWER FORCED", "drawer.left_open": "DRAWER LEFT OPEN", "drawer.closed": "drawer shut",
    "device.online": "device ready", "device.offline": "device away", "gateway.started": "gateway started", "configuration.loaded": "configuration loaded", "configuration.refused": "configuration refused", "directory.loaded": "directory loaded",
    charge: "payment", top_up: "top-up", refund: "refund", tip: "tip", deposit: "deposit", deposit_return: "deposit back", capture: "capture", transfer: "transfer", close_out: "pay-out", "wallet.transferred": "booked", "wallet.held": "reserved", "wallet.denied": "payment refused", "wallet.failed": "payment given up", "redemption.made": "redeemed", "redemption.denied": "not redeemed", "redemption.failed": "redeeming given up", "bench.started": "test begun", "bench.ended": "test over", "input.active": "INPUT ACTIVE", "input.idle": "input at rest", "device.tested": "device tested", "clock.vouched": "clock confirmed", "clock.doubted": "clock in doubt", "clock.jumped": "clock jumped", "shift.opened": "shift opened", "shift.closed": "shift closed",
    door_held: "door stands open", alarm: "alarm",
  },
};

let reasons = {};
export let language = kept("language") || (navigator.language.startsWith("de") ? "de" : "en");
document.documentElement.lang = language;

export function kept(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}
export function keep(name, value) {
  try { localStorage.setItem(name, value); } catch { /* a private window forgets, and that is all */ }
}
export function t(word) { return said(word, String(word ?? "").replaceAll("_", " ")); }
// A word of ours in the reader's language, and anything else as it came.
export function said(word, other = String(word ?? "")) { return Object.hasOwn(WORDS[language], word) ? WORDS[language][word] : other; }
export function reason(word) {
  const sentences = language === "de" ? REASONS_DE : reasons;
  return word ? (Object.hasOwn(sentences, word) && sentences[word]) || t(word) : "";
}
// What a driver says of its device.
export function detail(text) { return language === "de" && text ? inGerman(text) : text; }
export function switchLanguage() {
  language = language === "de" ? "en" : "de";
  keep("language", language);
  document.documentElement.lang = language;
}
export async function loadReasons() { reasons = await (await fetch("/static/reasons.json")).json(); }

const place = () => (language === "de" ? "de-DE" : "en-GB");
export function clock(ms) { return new Date(ms).toLocaleTimeString(place(), { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false }); }
export function day(ms) { return new Date(ms).toLocaleString(place(), { dateStyle: "short", timeStyle: "short" }); }
export function money(minor, currency) {
  if (minor === undefined || minor === null) return "–";
  try {
    const format = new Intl.NumberFormat(language, { style: "currency", currency: currency || "EUR" });
    return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch { return `${minor} ${currency}`; }
}
export function ago(ms) {
  const s = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (s < 120) return `${s} ${t("sec")}`;
  if (s < 7200) return `${Math.round(s / 60)} ${t("min")}`;
  return s < 172800 ? `${Math.round(s / 3600)} ${t("h")}` : `${Math.round(s / 86400)} ${t("d")}`;
}
