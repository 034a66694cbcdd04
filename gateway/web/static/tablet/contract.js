// How a tablet speaks with the gateway: MQTT 5 over a WebSocket, as docs/mqtt.md and docs/asyncapi.yaml have it.
//
// This file draws nothing and may be taken as it is into a page of your own. Four rules are all there is to it:
//
//   1. A request is published once, QoS 1, never retained, with an id that was never used before.
//   2. Whatever is not answered is published again *under the same id*: after an interruption, after the gateway was
//      away, and after the page was loaded anew. It has one effect, however often it is sent.
//   3. `accepted` says that more will come; every other status is the last word.
//   4. What moves metal or lets a reader wait carries `expires_at`, so that a drawer never springs open late and no
//      reader takes a card for something that nobody sees any more. Whoever looks away from a request drops it.

import mqtt from "./mqtt.esm.js";

const INVITATION = "vg.invitation", OPEN = "vg.open";
const METAL_MS = 5000;          // how long an order to a drawer may be under way
const CARD_MS = 20_000;         // how long a request may be under way that lets a reader wait, and the reader may wait
const CARD = new Set(["charge", "top_up", "balance"]);
const ENDED = new Set(["payment_ended", "unknown_transfer"]); // there is nothing to cancel
const PROMPT_MS = 1000;         // an answer this quick tells what time it is at the gateway
const FORGOTTEN_MS = 5 * 60000; // a request this old is not asked again after a reload
const REFUSED = 135;            // MQTT 5, "not authorized": the grants of the YAML do not have it

// What `venue-gateway client add` shows as a QR code. Returns null for anything else.
export function readInvitation(text) {
  try {
    const found = JSON.parse(text);
    const whole = ["venue", "wss", "user", "password"].every((name) => typeof found[name] === "string" && found[name]);
    return found.v === 1 && whole ? found : null;
  } catch { return null; }
}

// The invitation, and with it the password, stays in this browser and goes to the venue's broker alone.
export function keptInvitation() { return readInvitation(localStorage.getItem(INVITATION) ?? ""); }
export function keepInvitation(text) { localStorage.setItem(INVITATION, text); }
export function forgetInvitation() { localStorage.removeItem(INVITATION); localStorage.removeItem(OPEN); }

export class Gateway {
  // `onChange()` is called whenever `state`, `info`, `devices` or `line` changed, and `onAgain(was, id)` when a request
  // is asked under another id, because this tablet's clock was wrong.
  constructor(invitation, onChange, onAgain) {
    this.base = `venue/${invitation.venue}`;
    this.mine = `${this.base}/clients/${invitation.user}`;
    this.invitation = invitation;
    this.line = "connecting"; // or "up", "down", "refused" (wrong password), "unreachable" (never worked), "forbidden" (by the page's policy)
    this.state = { state: "offline", why: [] };
    this.info = { currency: "EUR", name: invitation.venue };
    this.devices = [];
    this.deviceStates = {};
    this.open = new Map();    // request id → what was asked, and who waits for the answers
    this.aheadMs = 0;         // how far the gateway's clock is ahead of this tablet's
    this.tries = 0;
    this.onChange = onChange;
    this.onAgain = onAgain;
    // The page may reach the gateway's computer by the names it is known by, and no other.
    this.forbidden = (event) => {
      if (event.effectiveDirective !== "connect-src") return;
      this.line = "forbidden";
      this.end();
      this.onChange();
    };
  }

  connect() {
    this.client = mqtt.connect(`wss://${this.invitation.wss}/mqtt`, {
      protocolVersion: 5, username: this.invitation.user, password: this.invitation.password,
      clean: true, resubscribe: false, keepalive: 15, connectTimeout: 5000, reconnectPeriod: 1000,
      timerVariant: "native", // the other way makes a worker of a blob, which the page's policy forbids
    });
    this.client.on("connect", () => this.begin());
    this.client.on("message", (topic, payload) => this.take(topic, payload.toString()));
    this.client.on("close", () => this.lost());
    document.addEventListener("securitypolicyviolation", this.forbidden);
    this.client.on("error", (error) => {
      if (error.code !== 134 && error.code !== REFUSED) return;
      this.line = "refused";
      this.client.end(true);
      this.onChange();
    });
  }

  // Leaves the venue for good, as when another tablet is to be joined here.
  end() {
    document.removeEventListener("securitypolicyviolation", this.forbidden);
    this.client?.end(true);
  }

  begin() {
    this.tries = 0;
    const topics = [`${this.mine}/responses`, `${this.base}/gateway/+`, `${this.base}/devices/+/state`];
    this.client.subscribe(topics, { qos: 1 }, (error) => {
      if (error) return;
      this.line = "up";
      this.repeat();
      this.onChange();
    });
  }

  lost() {
    this.tries += 1;
    // Nobody knows how the gateway is now; its next word makes whatever is open be asked again.
    this.state = { state: "offline", why: [] };
    if (this.line !== "refused" && this.line !== "forbidden") this.line = this.line === "up" || this.line === "down" ? "down" : this.tries > 2 ? "unreachable" : "connecting";
    this.onChange();
  }

  // True while something may be asked of the gateway.
  get ready() { return this.line === "up" && this.state.state !== "offline"; }

  // Asks `target` to do `verb` and returns the request's id. `onAnswer(answer)` hears every answer to it, in order.
  // `about` is kept with the request, so that a page that is loaded anew knows what it waits for.
  ask(target, verb, data, about, onAnswer) {
    const id = crypto.randomUUID();
    const lifeMs = verb === "open" ? METAL_MS : CARD.has(verb) && data.reader ? CARD_MS : 0;
    const request = { id, data, ...(lifeMs ? { expires_at: Date.now() + this.aheadMs + lifeMs } : {}) };
    const one = { id, target, verb, data, about, topic: `${this.mine}/requests/${target}/${verb}`, payload: JSON.stringify(request), atMs: Date.now() };
    this.open.set(id, { ...one, onAnswer });
    this.keep();
    this.publish(id);
    return id;
  }

  publish(id) {
    const one = this.open.get(id);
    if (!one || this.line !== "up") return;
    this.client.publish(one.topic, one.payload, { qos: 1, retain: false }, (error) => {
      // The broker alone says this, and only here: a request that was not granted never reaches the gateway.
      if (error?.code === REFUSED) this.answered({ id, status: "denied", reason: "not_granted", message: "This tablet may not do that here.", data: {} });
    });
  }

  repeat() { for (const one of this.open.values()) if (!one.dropped) this.publish(one.id); }

  // Nobody looks at this request any more: the reader must not take a card for it. It is not asked again before the
  // gateway has cancelled it, and then only to hear what became of it.
  drop(id) {
    const one = this.open.get(id);
    if (!one) return;
    one.dropped = true;
    this.ask("wallet", "cancel", { request: id }, { what: "cancel" }, () => {});
  }

  take(topic, text) {
    const place = topic.slice(this.base.length + 1);
    if (text === "") { this.forgetDevice(place); return; }
    const message = JSON.parse(text);
    if (topic === `${this.mine}/responses`) this.answered(message);
    else if (place === "gateway/state") {
      const was = this.state.state;
      this.state = { why: [], ...message };
      // What was asked while it was away is never done late, so it is asked again.
      if (was === "offline" && message.state !== "offline") this.repeat();
    } else if (place === "gateway/info") this.info = message;
    else if (place === "gateway/devices") this.devices = message.devices;
    else if (place.startsWith("devices/")) this.deviceStates[place.split("/")[1]] = message;
    this.onChange();
  }

  forgetDevice(place) {
    delete this.deviceStates[place.split("/")[1]];
    this.onChange();
  }

  answered(answer) {
    const one = this.open.get(answer.id);
    if (!one) return;
    const agoMs = Date.now() - one.atMs;
    if (answer.at && agoMs >= 0 && agoMs < PROMPT_MS) this.aheadMs = Date.parse(answer.at) - Date.now();
    if (answer.status !== "accepted") {
      this.open.delete(answer.id);
      this.keep();
      if (this.clockIsWrong(answer, one)) { this.setClock(answer, one); return; }
      if (one.verb === "cancel") this.cancelled(answer, one.data.request);
    } else if (one.dropped) {
      this.drop(one.id);
      return;
    }
    one.onAnswer(answer);
  }

  cancelled(answer, id) {
    if (this.open.get(id)?.dropped && (answer.status === "done" || ENDED.has(answer.reason))) this.publish(id);
  }

  // True when a request was too late although it was asked just now. One that was under way for long, or that was asked
  // before the page was loaded anew, is late whatever the clock says: it is for staff to decide whether to ask again.
  clockIsWrong(answer, one) {
    const agoMs = Date.now() - one.atMs;
    return answer.reason === "request_expired" && !one.about.again && !one.resumed && !one.dropped && agoMs >= 0 && agoMs < METAL_MS;
  }

  // Nothing was done, and the answer tells the time: so it is asked once more.
  setClock(answer, one) {
    this.aheadMs = Date.parse(answer.at) - Date.now();
    const id = this.ask(one.target, one.verb, one.data, { ...one.about, again: true }, one.onAnswer);
    this.onAgain(one.id, id);
  }

  keep() {
    const plain = [...this.open.values()].map(({ onAnswer, ...rest }) => rest);
    localStorage.setItem(OPEN, JSON.stringify(plain));
  }

  // After the page was loaded anew: `onOpen(id, about, dropped)` returns who hears the answers to what was asked before.
  resume(onOpen) {
    let kept = [];
    try { kept = JSON.parse(localStorage.getItem(OPEN) ?? "[]"); } catch { /* not ours */ }
    for (const one of kept) {
      if (Date.now() - one.atMs < FORGOTTEN_MS) this.open.set(one.id, { ...one, resumed: true, onAnswer: onOpen(one.id, one.about, Boolean(one.dropped)) });
    }
    this.keep();
  }
}
