// Where the viewer stopped, per lesson, on this device. The oldest are forgotten.
import { local, readJson } from './storage.js';

const KEY = 'smartedu.positions';
const LESSONS_KEPT = 200;
const WORTH_S = 5;
// The last seconds are not worth coming back for: eight, or a tenth of a short lesson.
const done = (duration) => Math.min(8, duration / 10);

const read = () => readJson(local, KEY, {});

/** Seconds into the lesson, or 0 to start from the beginning. */
export function position(id) {
  const held = read()[id];
  return Number.isFinite(held?.t) && held.t >= WORTH_S && held.t < held.d - done(held.d) ? held.t : 0;
}

/** The share of the lesson that lies behind the viewer, 0 to 1. */
export function share(id) {
  const held = read()[id];
  return held && held.d > 0 ? Math.min(1, Math.max(0, held.t / held.d)) : 0;
}

export function remember(id, seconds, duration) {
  if (!(duration > 0)) return;
  const all = read();
  delete all[id]; // put back last: objects keep the order of insertion
  all[id] = { t: Math.round(seconds * 10) / 10, d: Math.round(duration * 10) / 10 };
  const ids = Object.keys(all);
  for (const old of ids.slice(0, Math.max(0, ids.length - LESSONS_KEPT))) delete all[old];
  local.set(KEY, JSON.stringify(all));
}
