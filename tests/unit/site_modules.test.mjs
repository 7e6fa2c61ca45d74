// The pages' modules that decide something, run by node: `node --test tests/unit/site_modules.test.mjs`.
import assert from 'node:assert/strict';
import { beforeEach, mock, test } from 'node:test';

const SCRIPTS = '../../edge/site/static/js';

class Storage {
  #items = new Map();
  get length() { return this.#items.size; }
  key(index) { return [...this.#items.keys()][index] ?? null; }
  getItem(key) { return this.#items.get(key) ?? null; }
  setItem(key, value) { this.#items.set(key, String(value)); }
  removeItem(key) { this.#items.delete(key); }
  clear() { this.#items.clear(); }
}

const listeners = {};
const listen = (name, act) => (listeners[name] ??= []).push(act);
const network = { posts: [], beacons: [], answer: null, healthy: true };

Object.assign(globalThis, { localStorage: new Storage(), sessionStorage: new Storage(), location: { search: '', href: 'http://edge/' } });
globalThis.window = globalThis;
globalThis.addEventListener = listen;
globalThis.document = { hidden: false, addEventListener: listen, removeEventListener() {}, documentElement: { dataset: {} }, querySelectorAll: () => [] };
Object.defineProperty(globalThis, 'navigator', { value: { onLine: true, sendBeacon: (_, body) => network.beacons.push(body) > 0 } });
globalThis.fetch = async (url, options = {}) => {
  if (url === '/healthz') {
    if (!network.healthy) throw new TypeError('refused');
    return new Response('ok');
  }
  const { events } = JSON.parse(options.body);
  network.posts.push(events);
  return network.answer(events);
};

const accepted = (events) => Response.json({ accepted: events.length, rejected: [] }, { status: 202 });
const settle = async () => { for (let turn = 0; turn < 40; turn += 1) await Promise.resolve(); };
const kept = () => Array.from({ length: localStorage.length }, (_, index) => localStorage.key(index)).filter((key) => key.startsWith('smartedu.event.'));

let copies = 0;
/** A page of its own: the module with a fresh state, over the same storage. */
const page = () => import(`${SCRIPTS}/views.js?${(copies += 1)}`);
const pass = async (ms) => { mock.timers.tick(ms); await settle(); };

beforeEach(() => {
  for (const name of Object.keys(listeners)) delete listeners[name];
  localStorage.clear();
  sessionStorage.clear();
  Object.assign(network, { posts: [], beacons: [], answer: accepted, healthy: true });
  document.hidden = false;
  mock.timers.reset();
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_795_000_000_000 });
});

test('an event is what the contract says, and is forgotten once accepted', async () => {
  const { viewed } = await page();
  viewed('lesson-000001');
  await settle();
  const [[event]] = network.posts;
  assert.deepEqual(Object.keys(event).sort(), ['at', 'id', 'kind', 'resource', 'viewer', 'watched_s']);
  assert.equal(event.kind, 'view');
  assert.equal(event.at, 1_795_000_000_000);
  assert.match(event.id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.match(event.viewer, /^[0-9a-f]{32}$/);
  assert.equal(kept().length, 0);
});

test('a session is one visit, without a resource', async () => {
  const { visit } = await page();
  visit();
  await settle();
  (await page()).visit();
  await settle();
  assert.equal(network.posts.flat().length, 1);
  assert.equal('resource' in network.posts[0][0], false);
});

test('event ids never repeat and sort by time', async () => {
  const { eventId } = await page();
  const ids = Array.from({ length: 1000 }, (_, index) => eventId(1_795_000_000_000 + index));
  assert.equal(new Set(ids).size, 1000);
  assert.deepEqual([...ids].sort(), ids);
});

test('an event refused with 503 stays good for hours and is sent again with its id', async () => {
  const { viewed } = await page();
  network.answer = () => new Response('', { status: 503, headers: { 'Retry-After': '2' } });
  viewed('a');
  await settle();
  assert.equal(kept().length, 1);
  mock.timers.reset();
  mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_795_000_000_000 + 2 * 3_600_000 });
  network.answer = accepted;
  (await page()).outbox.flush();
  await settle();
  assert.equal(network.posts.length, 2);
  assert.deepEqual(network.posts[1], network.posts[0]);
  assert.equal(kept().length, 0);
});

test('an event whose arrival is unknown is repeated within nine minutes', async () => {
  const { viewed } = await page();
  network.answer = () => { throw new TypeError('connection reset'); };
  viewed('a');
  await settle();
  network.answer = accepted;
  await pass(10_000);
  assert.equal(network.posts.length, 2);
  assert.equal(network.posts[1][0].id, network.posts[0][0].id);
  assert.equal(kept().length, 0);
});

test('an event whose arrival is unknown is given up before the node forgets its id', async () => {
  const { viewed } = await page();
  network.answer = () => { throw new TypeError('connection reset'); };
  network.healthy = false;
  viewed('a');
  await settle();
  await pass(9 * 60_000 + 1_000);
  network.answer = accepted;
  network.healthy = true;
  (await page()).outbox.flush();
  await settle();
  assert.equal(network.posts.length, 1);
  assert.equal(kept().length, 0);
});

test('during an outage only the first event is risked; later ones wait untried and are all delivered', async () => {
  const { viewed, watched, outbox } = await page();
  network.answer = () => { throw new TypeError('connection refused'); };
  network.healthy = false;
  viewed('a');
  await settle();
  watched('a', 20);
  await settle();
  await pass(3_600_000);
  assert.equal(network.posts.length, 1);
  network.answer = accepted;
  network.healthy = true;
  outbox.flush();
  await settle();
  assert.deepEqual(network.posts.slice(1).flat().map((event) => event.kind), ['watch']);
  assert.equal(kept().length, 0);
});

test('an event handed to a beacon is kept until an answer is had for it', async () => {
  const { outbox } = await page();
  outbox.add('watch', { resource: 'a', watched_s: 7 });
  outbox.leave();
  outbox.leave();
  assert.equal(network.beacons.length, 1);
  const { events: [sent] } = JSON.parse(await network.beacons[0].text());
  assert.equal(network.beacons[0].type, 'application/json');
  (await page()).outbox.flush();
  await settle();
  assert.equal(network.posts[0][0].id, sent.id);
  assert.equal(kept().length, 0);
});

test('an event refused for a wrong clock is stamped by the node and sent once more', async () => {
  const { viewed } = await page();
  const date = new Date(1_795_000_000_000 - 7_200_000).toUTCString();
  network.answer = () => Response.json({ accepted: 0, rejected: [{ index: 0, reason: 'ahead' }] }, { status: 202, headers: { Date: date } });
  viewed('a');
  await settle();
  await pass(500);
  await pass(60_000);
  assert.equal(network.posts.length, 2);
  assert.equal(network.posts[1][0].id, network.posts[0][0].id);
  assert.equal(network.posts[1][0].at, 1_795_000_000_000 - 7_200_000);
  assert.equal(kept().length, 0);
});

for (const status of [408, 425, 429]) {
  test(`an event refused for now with ${status} is sent again`, async () => {
    const { viewed } = await page();
    network.answer = () => new Response('', { status });
    viewed('a');
    await settle();
    assert.equal(kept().length, 1);
    network.answer = accepted;
    await pass(10_000);
    assert.deepEqual(network.posts[1], network.posts[0]);
    assert.equal(kept().length, 0);
  });
}

test('an attempt refused for now does not make an earlier, unanswered one forgotten', async () => {
  const { viewed } = await page();
  network.answer = () => { throw new TypeError('connection reset'); };
  viewed('a');
  await settle();
  network.answer = () => new Response('', { status: 503 });
  await pass(10_000);
  assert.equal(network.posts.length, 2);
  await pass(9 * 60_000);
  const { length } = network.posts;
  network.answer = accepted;
  (await page()).outbox.flush();
  await settle();
  assert.equal(network.posts.length, length);
  assert.equal(kept().length, 0);
});

const unknown = (events) => Response.json({ accepted: 0, rejected: events.map((_, index) => ({ index, reason: 'the catalog holds no such resource' })) }, { status: 202 });

test('an event of a lesson that the node does not know yet is sent again until it does', async () => {
  const { viewed } = await page();
  network.answer = unknown;
  viewed('new');
  await settle();
  await pass(2_100);
  await pass(1_000);
  assert.equal(network.posts.length, 2);
  network.answer = accepted;
  await pass(5_000);
  assert.equal(network.posts.length, 3);
  assert.deepEqual(network.posts[2], network.posts[0]);
  assert.equal(kept().length, 0);
});

test('an event of a lesson that nobody knows is given up after some minutes', async () => {
  const { viewed } = await page();
  network.answer = unknown;
  viewed('never');
  await settle();
  for (let second = 0; second < 300; second += 1) await pass(1_000);
  assert.equal(network.posts.length, 6);
  assert.equal(kept().length, 0);
});

test('an event that is held back holds no other one back', async () => {
  const { viewed, played } = await page();
  network.answer = unknown;
  viewed('new');
  await settle();
  network.answer = accepted;
  played('old');
  await settle();
  assert.deepEqual(network.posts[1].map((event) => event.kind), ['play']);
  await pass(2_100);
  assert.deepEqual(network.posts[2].map((event) => event.kind), ['view']);
  assert.equal(kept().length, 0);
});

test('what the node does not understand is not repeated', async () => {
  const { viewed } = await page();
  network.answer = () => new Response('', { status: 400 });
  viewed('a');
  await settle();
  assert.equal(kept().length, 0);
});

test('the queue is bounded and drops the oldest', async () => {
  const { outbox } = await page();
  for (let index = 0; index < 450; index += 1) outbox.add('watch', { resource: `r${index}`, watched_s: 1 });
  assert.equal(kept().length, 400);
});

test('long watching is cut into events of at most two minutes', async () => {
  const { watched } = await page();
  watched('a', 275);
  await settle();
  assert.deepEqual(network.posts.flat().map((event) => event.watched_s).sort(), [120, 120, 35]);
});

test('watched seconds are the viewer’s time, without seeks, stalls and pauses', async () => {
  const { Meter } = await import(`${SCRIPTS}/meter.js`);
  const meter = new Meter();
  for (let now = 0; now <= 10; now += 0.25) meter.sample(now, now, 1); // ten seconds at normal speed
  meter.sample(10.25, 40, 1); // a jump
  meter.sample(10.5, 40.25, 1);
  for (let now = 11; now <= 15; now += 0.5) meter.sample(now, 40.25, 1); // a stall
  meter.interrupt();
  for (let now = 100; now <= 105; now += 0.25) meter.sample(now, 50 + (now - 100) * 2, 2); // five seconds at double speed
  assert.ok(Math.abs(meter.seconds - 15.25) < 0.01, String(meter.seconds));
  assert.equal(meter.take(), 15);
  assert.equal(meter.take(), 0);
});

test('the preview track is read with and without hours', async () => {
  const { parse } = await import(`${SCRIPTS}/thumbnails.js`);
  const text = 'WEBVTT\r\n\r\n00:00.000 --> 00:06.000\r\nsprite-001.jpg#xywh=0,0,160,90\r\n\r\n1:00:06.500 --> 01:00:12.000\r\n../b.jpg#xywh=160,90,160,90\r\n\r\n00:12.000 --> 00:18.000\r\nno rectangle\r\n';
  assert.deepEqual(parse(text, 'http://edge/media/a/r/thumbnails/t.vtt'), [
    { from: 0, to: 6, src: 'http://edge/media/a/r/thumbnails/sprite-001.jpg', x: 0, y: 0, w: 160, h: 90 },
    { from: 3606.5, to: 3612, src: 'http://edge/media/a/r/b.jpg', x: 160, y: 90, w: 160, h: 90 },
  ]);
});

test('a position is worth resuming unless it is the very start or the end', async () => {
  const { position, remember, share } = await import(`${SCRIPTS}/resume.js`);
  remember('a', 192, 600);
  assert.equal(position('a'), 192);
  assert.equal(share('a'), 0.32);
  for (const [seconds, duration] of [[2, 600], [596, 600], [600, 600]]) {
    remember('a', seconds, duration);
    assert.equal(position('a'), 0);
  }
  for (let index = 0; index < 300; index += 1) remember(`lesson-${index}`, 30, 60);
  assert.equal(position('lesson-0'), 0);
  assert.equal(position('lesson-299'), 30);
});

test('times and sizes are written as people read them', async () => {
  const { clock, size } = await import(`${SCRIPTS}/format.js`);
  assert.deepEqual([0, 5, 65.9, 3723, Number.NaN].map(clock), ['0:00', '0:05', '1:05', '1:02:03', '0:00']);
  assert.deepEqual([0, 999, 140_009, 2_500_000].map(size), ['0 B', '999 B', '140 kB', '2.5 MB']);
});

test('a stream is taken apart however it is cut, comments apart from data', async () => {
  const { parser } = await import(`${SCRIPTS}/stream.js`);
  const text = 'retry: 2000\n\ndata: {"a":1}\n\n: no counts now\n\ndata: one\r\ndata: two\r\n\r\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const data = [];
    const comments = [];
    const take = parser((one) => data.push(one), (one) => comments.push(one));
    take(text.slice(0, cut));
    take(text.slice(cut));
    assert.deepEqual([data, comments], [['{"a":1}', 'one\ntwo'], ['no counts now']]);
  }
});

test('a stream whose answer never begins is given up, told and tried again', async (t) => {
  const { follow } = await import(`${SCRIPTS}/stream.js`);
  const asked = t.mock.method(globalThis, 'fetch', (_, { signal }) => new Promise((_, refuse) => signal.addEventListener('abort', () => refuse(signal.reason))));
  const told = [];
  const following = follow('/v1/counts/stream', { onData() {}, onTrouble: (trouble) => told.push(trouble.name) });
  await pass(10_000);
  assert.deepEqual([asked.mock.callCount(), told], [1, ['AbortError']]);
  await pass(500);
  assert.equal(asked.mock.callCount(), 2);
  following.stop();
});

test('the chart of a day adds minutes up to points and ends where the day is now', async () => {
  const { ceiling, clockOf, minuteOf, stepped } = await import(`${SCRIPTS}/daychart.js`);
  const minutes = [];
  minutes[0] = 1;
  minutes[4] = 2;
  minutes[11] = 5;
  assert.deepEqual(stepped(minutes, 12), [3, 0, 5]);
  assert.deepEqual(stepped([], 0), []);
  assert.deepEqual([0, 4, 5, 11, 99, 100, 1234].map(ceiling), [4, 4, 5, 15, 100, 100, 1500]);
  assert.deepEqual([minuteOf('2026-11-29T08:05:00+08:00'), clockOf(485)], [485, '08:05']);
});
