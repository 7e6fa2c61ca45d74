// The board: the totals, the pulse of the last two minutes, and every lesson with its views.
import { firstEntries, version } from './catalog.js';
import { ofLessons, summary } from './counts.js';
import { el, find, replace, svg } from './dom.js';
import { short, shortDay, span, timeOfDay, whole } from './format.js';
import { onLanguage, pick, t } from './i18n.js';
import { masthead } from './masthead.js';
import { repeat } from './pace.js';

const SUMMARY_MS = 1_000;
const LESSONS_MS = 2_500;
const CATALOG_MS = 5_000;
const LESSONS_SHOWN = 200;
const BEATS = 60;
const BEAT_MS = 2_000;

const FIGURES = [
  ['views', (s) => short(s.views)],
  ['views_today', (s) => short(s.views_today)],
  ['plays', (s) => short(s.plays)],
  ['watch', (s) => span(s.watch_seconds)],
  ['visits', (s) => short(s.visits)],
  ['uniques', (s) => short(s.uniques)],
  ['views_daily_average', (s) => short(s.views_daily_average)],
  ['views_daily_peak', (s) => short(s.views_daily_peak?.views), (s) => shortDay(s.views_daily_peak?.date)],
  ['resources', (s) => short(s.resources)],
  ['provinces', (s) => short(s.provinces)],
];

const state = { summary: null, trouble: false, lessons: [], sections: new Map(), counts: null, beats: [], last: null, beatAt: 0 };

function drawFigures() {
  const values = state.summary;
  replace(
    find('#figures'),
    FIGURES.map(([key, value, note], index) =>
      el(
        'div',
        { class: index < 2 ? 'figure figure-first' : 'figure', dataset: { figure: key } },
        el('dt', {}, t(`board.${key}`)),
        el('dd', {}, values ? value(values) : '–', values && note?.(values) ? el('span', { class: 'small' }, note(values)) : null),
      ),
    ),
  );
}

function drawTimes() {
  const node = find('#times');
  const { summary: values, trouble } = state;
  node.dataset.trouble = trouble;
  if (!values) node.textContent = trouble ? t('board.unreachable') : '';
  else if (trouble) node.textContent = t('board.stale', { t: timeOfDay(values.as_of) });
  else node.textContent = t('board.complete', { t: timeOfDay(oldest(values.complete_through)) });
}

/** `complete_through` is one time, or one for every province: then the figures are complete up to the earliest. */
const oldest = (through) => (through && typeof through === 'object' ? Object.values(through).sort()[0] : through);

function beat() {
  const now = performance.now();
  if (state.last === null || now - state.beatAt < BEAT_MS) {
    if (state.last === null) state.last = state.summary.views;
    if (!state.beatAt) state.beatAt = now;
    return;
  }
  state.beats.push(Math.max(0, state.summary.views - state.last));
  state.beats = state.beats.slice(-BEATS);
  state.last = state.summary.views;
  state.beatAt = now;
  drawPulse();
}

function drawPulse() {
  const most = Math.max(4, ...state.beats);
  const height = 100;
  const width = 10;
  const bars = state.beats.map((n, index) => {
    const tall = n === 0 ? 2 : Math.max(6, (n / most) * height);
    return svg('rect', { x: (BEATS - state.beats.length + index) * width + 1.5, y: height - tall, width: width - 3, height: tall, rx: 2, class: n ? 'bar' : 'bar bar-zero' });
  });
  const sum = state.beats.reduce((all, n) => all + n, 0);
  const chart = svg('svg', { viewBox: `0 0 ${BEATS * width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': t('board.pulse.text', { n: whole(sum), count: sum }) }, bars);
  replace(find('#pulse'), chart);
  find('#pulse-sum').textContent = t('board.pulse.text', { n: whole(sum), count: sum });
}

function row(entry, most) {
  const counts = state.counts?.get(entry.id);
  const part = most > 0 ? ((counts?.views ?? 0) / most) * 100 : 0;
  const bar = svg('svg', { class: 'row-bar', 'aria-hidden': 'true', preserveAspectRatio: 'none', viewBox: '0 0 100 8' }, svg('rect', { width: part, height: 8, rx: 1 }));
  const number = (value, more = '') => el('td', { class: `number ${more}` }, counts ? value : '–');
  return el(
    'tr',
    { dataset: { section: entry.section, lesson: entry.id } },
    el('th', { scope: 'row' }, el('a', { href: `/lesson/${encodeURIComponent(entry.id)}` }, pick(entry.title)), bar),
    el('td', { class: 'wide-only' }, el('span', { class: 'tag' }, pick(state.sections.get(entry.section)))),
    number(whole(counts?.views)),
    number(whole(counts?.plays), 'wide-only'),
    number(span(counts?.watch_seconds)),
  );
}

function drawLessons() {
  const views = (entry) => state.counts?.get(entry.id)?.views ?? 0;
  const sorted = [...state.lessons].sort((a, b) => views(b) - views(a) || (a.id < b.id ? -1 : 1));
  const most = Math.max(0, ...sorted.map(views));
  const focused = document.activeElement?.closest?.('tr')?.dataset.lesson;
  replace(find('#lessons tbody'), sorted.map((entry) => row(entry, most)));
  find('#lessons').hidden = sorted.length === 0;
  find('#lessons-none').hidden = sorted.length > 0;
  if (focused) find(`tr[data-lesson="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
}

function draw() {
  document.title = `${t('board.title')} · ${t('site.name')}`;
  find('#lessons-note').textContent = t('board.lessons.note', { n: LESSONS_SHOWN });
  drawFigures();
  drawTimes();
  drawPulse();
  drawLessons();
}

async function readSummary() {
  try {
    state.summary = await summary();
    state.trouble = false;
    beat();
  } catch (error) {
    state.trouble = true;
    throw error;
  } finally {
    drawFigures();
    drawTimes();
  }
}

async function readCatalog() {
  const document = await version();
  state.sections = new Map(document.sections.map((section) => [section.id, section.title]));
  const share = Math.max(1, Math.floor(LESSONS_SHOWN / document.sections.length));
  state.lessons = (await Promise.all(document.sections.map((section) => firstEntries(section, share)))).flat();
  drawLessons();
}

async function readLessons() {
  if (state.lessons.length === 0) return;
  state.counts = await ofLessons(state.lessons.map((entry) => entry.id));
  drawLessons();
}

masthead();
onLanguage(draw);
repeat(readSummary, () => SUMMARY_MS, 8_000);
repeat(async () => {
  await readCatalog();
  if (!state.counts) await readLessons();
}, () => CATALOG_MS);
repeat(readLessons, () => LESSONS_MS);
