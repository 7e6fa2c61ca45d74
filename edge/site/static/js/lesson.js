// The lesson page: reads the lesson's document, hands it to the player, tells the node what was seen, shows the rest beside it.
import { card, sectionIcon, showViews } from './card.js';
import { findLesson, firstEntries, lessonDocument, SECTIONS, version } from './catalog.js';
import { ofLesson, ofLessons } from './counts.js';
import { el, find, icon, replace } from './dom.js';
import { clock, day, size } from './format.js';
import { onLanguage, pick, t } from './i18n.js';
import { masthead, whenShown } from './masthead.js';
import { Meter } from './meter.js';
import { repeat } from './pace.js';
import { Player } from './player.js';
import { position, remember } from './resume.js';
import { played, viewed, watched } from './views.js';

const RELATED = 6;
const COUNTS_MS = 6_000;
const PREPARING_MS = 2_500;
const TELL_EVERY_S = 20;
const REMEMBER_EVERY_MS = 4_000;

const head = (name) => find(`meta[name="${name}"]`).content;
const id = head('lesson-id');
const state = { lesson: null, count: null, related: [], relatedViews: new Map(), alone: false };

function engineAsked() {
  const asked = new URLSearchParams(location.search).get('engine');
  return asked === 'native' || asked === 'hls.js' ? asked : null;
}

// Reading the lesson.

async function open() {
  const path = head('lesson-path') || (await findLesson(id));
  if (!path) throw new Error('not published yet');
  return lessonDocument(path);
}

function openWhenThere() {
  show('loading', 'lesson.loading');
  const waiting = repeat(
    async () => {
      let lesson;
      try {
        lesson = await open();
      } catch (error) {
        if (head('lesson-path')) return give(waiting);
        show('loading', 'lesson.preparing');
        throw error;
      }
      waiting.stop();
      begin(lesson);
    },
    () => PREPARING_MS,
    PREPARING_MS,
  );
}

function give(waiting) {
  waiting.stop();
  show('trouble', 'lesson.unavailable');
}

function show(kind, key) {
  const notice = find('#waiting');
  notice.dataset.kind = kind;
  notice.dataset.key = key;
  replace(
    notice,
    kind === 'trouble' ? icon('warning') : el('span', { class: 'ring', 'aria-hidden': 'true' }),
    el('p', {}, t(key)),
    kind === 'trouble' ? el('p', { class: 'small' }, t('lesson.unavailable.hint')) : null,
    kind === 'trouble' ? el('button', { type: 'button', class: 'primary', onclick: openWhenThere }, t('lesson.retry')) : null,
  );
  notice.hidden = false;
}

// Playing and telling.

function begin(lesson) {
  state.lesson = lesson;
  find('#waiting').hidden = true;
  const player = new Player(find('#player'), lesson, { start: position(id), engine: engineAsked() });
  draw();
  whenShown(() => viewed(id));
  tellFirstFrame(player.video);
  tellWatched(player.video);
  keepPosition(player);
  const counting = repeat(readCounts, () => COUNTS_MS);
  outbox.onSettled = () => counting.now();
  readRelated();
}

function tellFirstFrame(video) {
  let told = false;
  const tell = () => {
    if (told || video.videoWidth === 0 || video.paused) return;
    told = true;
    played(id);
  };
  // Where frames are announced, the first one presented while playing; elsewhere the first movement.
  const frame = () => (tell(), told || video.requestVideoFrameCallback(frame));
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(frame);
  video.addEventListener('timeupdate', () => video.currentTime > 0 && tell());
}

function tellWatched(video) {
  const meter = new Meter();
  const sample = () => !video.paused && meter.sample(performance.now() / 1000, video.currentTime, video.playbackRate);
  const tell = (leaving) => {
    sample();
    const seconds = meter.take();
    if (seconds > 0) watched(id, seconds, leaving);
  };
  video.addEventListener('timeupdate', () => {
    sample();
    if (meter.seconds >= TELL_EVERY_S) tell(false);
  });
  // A pause is sampled once more before it interrupts, or its last quarter of a second would be lost each time.
  video.addEventListener('pause', () => (meter.sample(performance.now() / 1000, video.currentTime, video.playbackRate), meter.interrupt()));
  for (const event of ['seeking', 'emptied', 'ratechange', 'playing']) video.addEventListener(event, () => meter.interrupt());
  video.addEventListener('ended', () => tell(false));
  document.addEventListener('visibilitychange', () => document.hidden && tell(true));
  addEventListener('pagehide', () => tell(true));
}

function keepPosition(player) {
  const { video } = player;
  let last = 0;
  const keep = () => {
    if (video.readyState === 0 || video.currentTime === 0) return;
    last = performance.now();
    remember(id, video.currentTime, player.duration);
  };
  video.addEventListener('timeupdate', () => performance.now() - last > REMEMBER_EVERY_MS && keep());
  for (const event of ['pause', 'seeked', 'ended']) video.addEventListener(event, keep);
  document.addEventListener('visibilitychange', () => document.hidden && keep());
  addEventListener('pagehide', keep);
}

// The rest of the page.

async function readCounts() {
  state.count = await ofLesson(id);
  drawCount();
}

async function readRelated() {
  try {
    const { sections } = await version();
    const section = sections.find((candidate) => candidate.id === state.lesson.section);
    state.related = await others([section], RELATED);
    state.alone = state.related.length === 0;
    if (state.alone) state.related = await others(sections, 1);
    drawRelated();
    if (state.related.length) state.relatedViews = await ofLessons(state.related.map((entry) => entry.id));
  } catch {
    return; // the lesson itself plays; what is beside it may be missing
  }
  drawRelated();
}

/** Up to `each` lessons of every section given, this one left out. */
async function others(sections, each) {
  const found = await Promise.all(sections.map((section) => firstEntries(section, each + 1)));
  return found.flatMap((entries) => entries.filter((entry) => entry.id !== id).slice(0, each)).slice(0, RELATED);
}

function drawCount() {
  const views = state.count?.views;
  const node = find('#views');
  showViews(node, views);
  if (views !== undefined) node.dataset.count = views;
}

function drawRelated() {
  const holder = find('#related');
  holder.hidden = state.related.length === 0;
  find('h2', holder).textContent = t(state.alone ? 'lesson.others' : 'lesson.related');
  replace(
    find('.cards', holder),
    state.related.map((entry) => card(entry, state.relatedViews.size ? (state.relatedViews.get(entry.id)?.views ?? 0) : undefined)),
  );
}

function drawPath() {
  const section = SECTIONS.find((candidate) => candidate.id === state.lesson.section);
  const tags = ['stage', 'grade', 'subject', 'edition', 'volume'].map((dimension) => pick(state.lesson.tags?.[dimension])).filter(Boolean);
  replace(
    find('#path'),
    el('li', {}, el('a', { href: '/' }, t('nav.home'))),
    section ? el('li', {}, el('a', { href: `/#${section.id}` }, pick(section.title))) : null,
    tags.length ? el('li', {}, tags.join(' · ')) : null,
  );
}

function drawFacts() {
  const { lesson } = state;
  const facts = [
    ['lesson.teacher', pick(lesson.teacher) || (typeof lesson.teacher === 'string' ? lesson.teacher : '')],
    ['lesson.school', pick(lesson.school) || (typeof lesson.school === 'string' ? lesson.school : '')],
    ['lesson.duration', clock(lesson.duration_s)],
    ['lesson.updated', day(lesson.updated_at)],
  ];
  replace(
    find('#facts'),
    facts.filter(([, value]) => value).map(([key, value]) => el('div', {}, el('dt', {}, t(key)), el('dd', {}, value))),
  );
}

function documentRow(item) {
  const role = ['courseware', 'lesson-plan', 'task-sheet', 'exercises'].includes(item.role) ? item.role : 'other';
  const kind = t(`role.${role}`);
  const title = pick(item.title) || kind;
  const note = [title === kind ? null : kind, size(item.size)].filter(Boolean).join(' · ');
  return el(
    'li',
    { class: 'document', dataset: { role } },
    el('span', { class: 'document-kind', 'aria-hidden': 'true' }, String(item.format ?? '').toUpperCase().slice(0, 4)),
    el('div', { class: 'document-text' }, el('span', { class: 'document-title' }, title), el('span', { class: 'small' }, note)),
    el(
      'a',
      { class: 'icon-button', href: item.url, download: `${title}.${item.format}`, 'aria-label': `${t('lesson.download')} ${title}`, title: t('lesson.download') },
      icon('download'),
    ),
  );
}

function drawDocuments() {
  const documents = state.lesson.documents ?? [];
  replace(find('#documents-list'), documents.map(documentRow));
  find('#documents-none').hidden = documents.length > 0;
  find('#documents').hidden = false;
}

function draw() {
  const waiting = find('#waiting');
  if (!waiting.hidden && waiting.dataset.key) show(waiting.dataset.kind, waiting.dataset.key);
  if (!state.lesson) return;
  const title = pick(state.lesson.title);
  document.title = `${title} · ${t('site.name')}`;
  find('#title').textContent = title;
  replace(find('#emblem'), sectionIcon(state.lesson.section));
  find('#lesson').dataset.section = state.lesson.section;
  const about = pick(state.lesson.description);
  find('#about').hidden = !about;
  find('#about p').textContent = about;
  drawPath();
  drawFacts();
  drawDocuments();
  drawCount();
  drawRelated();
  find('#details').hidden = false;
}

const outbox = masthead();
onLanguage(draw);
openWhenThere();
