// View events: made here, sent to POST /v1/views, counted exactly once.
//
// Theory of operation. Every event is written to localStorage under its own key before it is sent, and removed when the node has
// answered for it. What was not answered is sent again with the same id, by this page or a later one. The node recognises an id for ten
// minutes, so an event whose first attempt may have arrived (a connection that broke, a beacon, which has no answer) is repeated for nine
// minutes and then given up: rather one lost than one counted twice. An event that surely did not arrive (never tried, or refused for
// now with 408, 425, 429 or 503) stays good for as long as the node accepts its time. To keep most events of an outage in that second, safe kind, nothing is
// tried after a broken attempt until the node's health answer is back.
import { local, session } from './storage.js';

const URL_VIEWS = '/v1/views';
const URL_HEALTH = '/healthz';
const PREFIX = 'smartedu.event.';
const EVENTS_KEPT = 400;
const EVENTS_PER_REQUEST = 100;
const REPEAT_MS = 9 * 60_000;
const LIFE_MS = 23 * 3_600_000;
const TIMEOUT_MS = 15_000;
const RETRY_MS = [3_000, 6_000, 15_000, 30_000, 60_000];
const SKEW_MS = 30_000;
const MOST_SECONDS = 120;
// Refused for now, and surely not counted.
const NOT_NOW = new Set([408, 425, 429, 503]);
// The node's words for a resource it does not know (edge/counters/event.py): one published a moment ago may not have reached it.
const UNKNOWN = 'the catalog holds no such resource';
const UNKNOWN_RETRY_MS = [2_000, 5_000, 15_000, 60_000, 120_000];

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** A UUID of version 7: time first, then 74 random bits. */
export function eventId(now = Date.now()) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  for (let index = 0; index < 6; index += 1) bytes[index] = Math.floor(now / 2 ** (8 * (5 - index))) % 256;
  bytes[6] = 0x70 | (bytes[6] & 0x0f);
  bytes[8] = 0x80 | (bytes[8] & 0x3f);
  return hex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

function viewer() {
  if (!local.lasting) return undefined; // a new one for every page would only inflate the estimate
  const held = local.get('smartedu.viewer');
  if (held && /^[0-9a-f]{32}$/.test(held)) return held;
  const made = hex(crypto.getRandomValues(new Uint8Array(16)));
  local.set('smartedu.viewer', made);
  return made;
}

class Outbox {
  #inFlight = new Set();
  #handed = new Set();
  #timer = 0;
  #failures = 0;
  #broken = false;
  #skew = 0;
  #settled = () => {};

  constructor() {
    document.addEventListener('visibilitychange', () => (document.hidden ? this.leave() : this.flush()));
    addEventListener('pagehide', () => this.leave());
    addEventListener('online', () => this.flush());
  }

  /** `settled()` is called whenever the node has answered for events. */
  set onSettled(settled) {
    this.#settled = settled;
  }

  add(kind, members) {
    const event = { id: eventId(), kind, ...members, viewer: viewer(), at: Date.now() + this.#skew };
    this.#keep({ event, tried: 0 });
    this.#trim();
  }

  async flush() {
    clearTimeout(this.#timer);
    this.#handed.clear();
    const batch = this.#due();
    if (batch.length === 0 || navigator.onLine === false) return this.#wakeForHeld();
    if (this.#broken && !(await this.#healthy())) return this.#later();
    await this.#send(batch);
  }

  /** The page may be gone the next moment: hand everything to the browser. The answer stays unknown, so the events are kept. */
  leave() {
    // Leaving is told twice (hidden, then gone); what was handed over the first time is left out.
    const batch = this.#due().filter((kept) => !this.#handed.has(kept.event.id));
    if (batch.length === 0 || this.#broken) return;
    this.#mark(batch);
    batch.forEach((kept) => this.#handed.add(kept.event.id));
    const body = new Blob([this.#body(batch)], { type: 'application/json' });
    if (!navigator.sendBeacon?.(URL_VIEWS, body)) {
      fetch(URL_VIEWS, { method: 'POST', body, keepalive: true }).catch(() => {});
    }
  }

  async #send(batch) {
    const ids = batch.map((kept) => kept.event.id);
    const risked = new Set(batch.filter((kept) => kept.tried)); // by an attempt before this one
    ids.forEach((id) => this.#inFlight.add(id));
    this.#mark(batch);
    try {
      const response = await fetch(URL_VIEWS, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: this.#body(batch),
        keepalive: true,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await this.#answered(batch, response, (kept) => (risked.has(kept) ? kept.tried : 0));
    } catch {
      this.#broken = true;
      this.#later();
    } finally {
      ids.forEach((id) => this.#inFlight.delete(id));
    }
    if (this.#broken || this.#failures > 0) return;
    if (this.#due().length > 0) this.#timer = setTimeout(() => this.flush(), 100);
    else this.#wakeForHeld();
  }

  /** `risk(kept)`: when this event was first tried with an unknown outcome; 0 when this answer settles that it has not been counted. */
  async #answered(batch, response, risk) {
    this.#broken = false;
    if (response.status === 202) {
      const { rejected = [] } = await response.json();
      this.#failures = 0;
      this.#learnTime(response);
      batch.forEach((kept) => this.#forget(kept));
      for (const { index, reason } of rejected) if (batch[index]) this.#refused(batch[index], reason, risk(batch[index]));
      this.#settled();
    } else if (NOT_NOW.has(response.status)) {
      batch.forEach((kept) => this.#keep({ ...kept, tried: risk(kept) }));
      this.#later(1000 * Number(response.headers.get('Retry-After')) || 0);
    } else if (response.status >= 500) {
      this.#later();
    } else {
      batch.forEach((kept) => this.#forget(kept)); // not understood; saying it again would not help
    }
  }

  /**
   * Two refusals are worth another attempt. A resource the node does not know may only be too new: asked again some minutes long. A device
   * whose clock is wrong has its events refused for their time: stamped by the node's clock they are good, once.
   */
  #refused(kept, reason, tried) {
    const { unknown = 0, corrected = false } = kept;
    if (reason === UNKNOWN) {
      if (unknown < UNKNOWN_RETRY_MS.length) this.#keep({ ...kept, tried, unknown: unknown + 1, notBefore: Date.now() + UNKNOWN_RETRY_MS[unknown] });
    } else if (!corrected && Math.abs(this.#skew) >= SKEW_MS) {
      this.#keep({ ...kept, event: { ...kept.event, at: kept.event.at + this.#skew }, tried, corrected: true });
    }
  }

  #learnTime(response) {
    const served = Date.parse(response.headers.get('Date') ?? '');
    const skew = served - Date.now();
    this.#skew = Number.isNaN(served) || Math.abs(skew) < SKEW_MS ? 0 : skew;
  }

  async #healthy() {
    try {
      const answer = await fetch(URL_HEALTH, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
      if (answer.ok) this.#broken = false;
    } catch {
      // still away
    }
    return !this.#broken;
  }

  #later(atLeast = 0) {
    const wait = RETRY_MS[Math.min(this.#failures, RETRY_MS.length - 1)];
    this.#failures += 1;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), Math.max(wait * (0.75 + Math.random() / 2), Math.min(atLeast, 300_000)));
  }

  /** Come back for the events that are held back, when the first of them may be tried again. */
  #wakeForHeld() {
    const now = Date.now();
    const waits = local.keys(PREFIX).map((key) => (this.#read(key)?.notBefore ?? 0) - now).filter((wait) => wait > 0);
    if (waits.length === 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.flush(), Math.min(...waits));
  }

  #body(batch) {
    return JSON.stringify({ events: batch.map((kept) => kept.event) });
  }

  #mark(batch) {
    const now = Date.now();
    for (const kept of batch) this.#keep(Object.assign(kept, { tried: kept.tried || now }));
  }

  #keep(kept) {
    local.set(PREFIX + kept.event.id, JSON.stringify(kept));
  }

  #forget(kept) {
    local.remove(PREFIX + kept.event.id);
  }

  #due() {
    const now = Date.now();
    const due = [];
    for (const key of local.keys(PREFIX).sort()) {
      const kept = this.#read(key);
      const age = now - (kept?.event.at ?? 0) + this.#skew;
      if (!kept || age > LIFE_MS || (kept.tried && now - kept.tried > REPEAT_MS)) local.remove(key);
      else if (kept.notBefore > now) continue;
      else if (!this.#inFlight.has(kept.event.id) && due.length < EVENTS_PER_REQUEST) due.push(kept);
    }
    return due;
  }

  #read(key) {
    try {
      const kept = JSON.parse(local.get(key));
      return typeof kept?.event?.id === 'string' ? kept : null;
    } catch {
      return null;
    }
  }

  /** Ids begin with the time, so the first keys are the oldest. */
  #trim() {
    const keys = local.keys(PREFIX).sort();
    for (const key of keys.slice(0, Math.max(0, keys.length - EVENTS_KEPT))) local.remove(key);
  }
}

export const outbox = new Outbox();

/** `visit`: once per browser session. Also sends what an earlier page left behind. */
export function visit() {
  if (!session.get('smartedu.visit')) {
    session.set('smartedu.visit', '1');
    outbox.add('visit', {});
  }
  outbox.flush();
}

export function viewed(resource) {
  outbox.add('view', { resource, watched_s: 0 });
  outbox.flush();
}

export function played(resource) {
  outbox.add('play', { resource, watched_s: 0 });
  outbox.flush();
}

/** `seconds` more of the lesson were watched: whole seconds, cut into events of at most two minutes. */
export function watched(resource, seconds, leaving = false) {
  for (let left = seconds; left > 0; left -= MOST_SECONDS) outbox.add('watch', { resource, watched_s: Math.min(left, MOST_SECONDS) });
  if (leaving) outbox.leave();
  else outbox.flush();
}
