// Every word of the tablet, in German and English, and what each reason of the contract means to somebody at a counter.

import { REASONS_DE } from "./reasons.js";

const WORDS = {
  de: {
    join_title: "Dieses Tablet anmelden", join_how: "Mit „venue-gateway client add NAME“ zeigt das Gateway einen QR-Code. Halten Sie ihn vor die Kamera, lesen Sie ihn mit einem Handscanner ein oder fügen Sie seinen Text hier ein.",
    join_text: "Text des QR-Codes", join: "Anmelden", scan: "Mit der Kamera lesen", stop_scan: "Kamera aus", join_wrong: "Das ist kein Anmeldecode dieses Hauses.", no_camera: "Die Kamera ist nicht erlaubt oder nicht da.",
    join_kept: "Die Zugangsdaten bleiben in diesem Browser.",
    place_title: "Woran steht dieses Tablet?", place_how: "Einmal einstellen; das Personal sieht diese Seite nicht wieder.", reader: "Leser", printer: "Drucker", drawer: "Lade", none: "keiner", none_drawer: "keine", done_placing: "Fertig", forget: "Tablet abmelden", forget_sure: "Wirklich abmelden? Danach muss der Code neu gelesen werden.",
    charge: "Kassieren", top_up: "Aufladen (bar)", balance: "Guthaben zeigen", open_drawer: "Lade öffnen", settings: "Einrichten", amount: "Betrag", clear: "Löschen", back: "Zurück", cancel: "Abbrechen", more: "Mehr", language: "English", dark: "Dunkel", bright: "Hell",
    hold_card: "Karte an den Leser halten", asking: "Einen Moment …", no_answer: "Noch keine Antwort. Es wird von selbst weiter gefragt. Bitte nicht noch einmal kassieren.", seconds: "noch {s} s",
    paid: "Bezahlt", topped_up: "Aufgeladen", on_card: "Auf der Karte", left: "Noch auf der Karte: {amount}", available: "Verfügbar: {amount}", held: "davon vorgemerkt: {amount}", print_receipt: "Beleg drucken", next: "Nächster Gast", close: "Schließen",
    not_charge: "Nicht bezahlt", not_top_up: "Nicht aufgeladen", not_balance: "Nicht gelesen", not_print: "Nicht gedruckt", not_open: "Lade bleibt zu", unsure: "Bitte nachsehen", printed: "Beleg gedruckt", sent: "Beleg gesendet; dieser Drucker kann es nicht bestätigen.", printing: "Beleg wird gedruckt …", held_print: "Der Beleg wartet: {why}", opened: "Lade ist offen", opening: "Lade geht auf …", cancelled: "Abgebrochen. Es wurde nichts abgebucht.",
    why_open: "Warum wird sie geöffnet?", reason_change: "Wechselgeld", reason_sale: "Verkauf bar", reason_count: "Kasse zählen", reason_other: "Anderer Grund", go: "Öffnen",
    line_connecting: "Verbinde …", line_down: "Keine Verbindung. Bitte nicht kassieren, bis sie wieder da ist.", line_refused: "Das Passwort dieses Tablets gilt nicht mehr. Bitte neu anmelden.", line_forbidden: "Diese Seite darf den Broker {host} nicht erreichen. Die Technik trägt den Namen in der Konfiguration unter „console: hosts“ ein und lädt sie neu.", line_unreachable: "Das Haus ist nicht zu erreichen. Ist das WLAN das richtige, und ist das Zertifikat des Hauses auf diesem Tablet installiert?", gateway_offline: "Das Gateway ist gerade nicht da. Bitte nicht kassieren.", degraded: "Es läuft nicht alles: {why}", ready: "Bereit",
    device_offline: "{name} antwortet nicht", answers: "Letzte Antworten", nothing_yet: "Noch nichts", no_reader: "Für dieses Tablet ist kein Leser eingestellt.", receipt_title: "Beleg", receipt_paid: "Bezahlt mit Karte", receipt_left: "Noch auf der Karte", receipt_thanks: "Danke!",
    paper_out: "Papier leer", cover_open: "Deckel offen", offline: "Drucker aus",
  },
  en: {
    join_title: "Join this tablet", join_how: "“venue-gateway client add NAME” shows a QR code at the gateway. Hold it before the camera, read it with a hand scanner, or paste its text here.",
    join_text: "Text of the QR code", join: "Join", scan: "Read it with the camera", stop_scan: "Camera off", join_wrong: "This is no joining code of a venue.", no_camera: "The camera is not allowed, or there is none.",
    join_kept: "The login stays in this browser.",
    place_title: "What stands beside this tablet?", place_how: "Set once; staff do not see this page again.", reader: "Reader", printer: "Printer", drawer: "Drawer", none: "none", none_drawer: "none", done_placing: "Done", forget: "Sign this tablet out", forget_sure: "Really? The code must be read again afterwards.",
    charge: "Charge", top_up: "Top up (cash)", balance: "Show balance", open_drawer: "Open drawer", settings: "Set up", amount: "Amount", clear: "Clear", back: "Back", cancel: "Cancel", more: "More", language: "Deutsch", dark: "Dark", bright: "Light",
    hold_card: "Hold the card to the reader", asking: "One moment …", no_answer: "No answer yet. It is asked again by itself. Please do not charge a second time.", seconds: "{s} s left",
    paid: "Paid", topped_up: "Topped up", on_card: "On the card", left: "Left on the card: {amount}", available: "Available: {amount}", held: "of it held: {amount}", print_receipt: "Print receipt", next: "Next guest", close: "Close",
    not_charge: "Not paid", not_top_up: "Not topped up", not_balance: "Not read", not_print: "Not printed", not_open: "The drawer stays shut", unsure: "Please look", printed: "Receipt printed", sent: "Receipt sent; this printer cannot confirm it.", printing: "Printing the receipt …", held_print: "The receipt waits: {why}", opened: "The drawer is open", opening: "The drawer opens …", cancelled: "Cancelled. Nothing was charged.",
    why_open: "Why is it opened?", reason_change: "Change", reason_sale: "Cash sale", reason_count: "Counting", reason_other: "Another reason", go: "Open",
    line_connecting: "Connecting …", line_down: "No connection. Please charge nobody until it is back.", line_refused: "This tablet's password is no longer right. Please join it again.", line_forbidden: "This page may not reach the broker {host}. The technician adds that name to “console: hosts” in the configuration and reloads it.", line_unreachable: "The venue cannot be reached. Is this the right Wi-Fi, and is the venue's certificate installed on this tablet?", gateway_offline: "The gateway is away. Please charge nobody.", degraded: "Not all is well: {why}", ready: "Ready",
    device_offline: "{name} does not answer", answers: "Latest answers", nothing_yet: "Nothing yet", no_reader: "No reader is set up for this tablet.", receipt_title: "Receipt", receipt_paid: "Paid by card", receipt_left: "Left on the card", receipt_thanks: "Thank you!",
    paper_out: "paper out", cover_open: "cover open", offline: "printer off",
  },
};

// The English of a reason is the `message` that comes with every answer, but where that speaks to whoever wrote the page.
export const REASONS_EN = {
  payment_interrupted: "The gateway was restarted. Nothing was charged; please charge again.", redemption_interrupted: "The gateway was restarted. Nothing was redeemed; please try again.", outcome_unknown: "Nobody can say whether it happened. Please look, then try again.",
  request_expired: "It arrived too late. Look at this tablet's clock.", expiry_too_far: "This tablet's clock is wrong.", not_granted: "This tablet may not do that. The technician can allow it.", unknown_reader: "There is no such reader. Choose another one under “Set up”.", unknown_target: "There is no such device. Choose another one under “Set up”.",
  malformed: "The request was wrong. Please show this to the technician.", retained: "The request was wrong. Please show this to the technician.", expiry_required: "The request was wrong. Please show this to the technician.", idempotency_conflict: "The request was wrong. Please show this to the technician.",
};

export let language = localStorage.getItem("vg.language") ?? (navigator.language.startsWith("de") ? "de" : "en");
document.documentElement.lang = language;

export function switchLanguage() {
  language = language === "de" ? "en" : "de";
  localStorage.setItem("vg.language", language);
  document.documentElement.lang = language;
}

// A text of ours, with what stands in braces filled in.
export function t(word, values = {}) {
  return (WORDS[language][word] ?? word).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// Why the gateway refused or could not, in plain words.
export function why(answer) {
  const ours = language === "de" ? REASONS_DE : REASONS_EN;
  if (Object.hasOwn(ours, answer.reason)) return ours[answer.reason];
  return answer.message || answer.reason || answer.status;
}

// How many digits a currency has after its point: 2 for EUR, 0 for JPY.
export function digits(currency) {
  return new Intl.NumberFormat(language, { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
}

// An amount of whole minor units as people write it. Shown only: all reckoning is done in minor units.
export function money(minor, currency) {
  return new Intl.NumberFormat(language === "de" ? "de-DE" : "en-GB", { style: "currency", currency }).format(minor / 10 ** digits(currency));
}

export function clock(at) {
  return new Date(at).toLocaleTimeString(language === "de" ? "de-DE" : "en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}
