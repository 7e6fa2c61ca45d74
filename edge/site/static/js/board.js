// The board: the ministry's figures as they come, the day minute by minute, the provinces ranked, every lesson.
import { authorization, setToken } from './access.js';
import { firstEntries, version } from './catalog.js';
import { minutesFrom, ofLessons, ofProvinces } from './counts.js';
import { clockOf, dayChart, minuteOf } from './daychart.js';
import { el, find, replace, svg } from './dom.js';
import { short, shortDay, span, timeOfDay, whole } from './format.js';
import { onLanguage, pick, t } from './i18n.js';
import { masthead } from './masthead.js';
import { repeat } from './pace.js';
import { PROVINCES } from './provinces.js';
import { follow } from './stream.js';

const MINUTES_MS = 5_000;
const PROVINCES_MS = 3_000;
const LESSONS_MS = 2_500;
const CATALOG_MS = 5_000;
const ALL_MINUTES_MS = 300_000; // late events land in their own minute: the whole day is read again once in a while
const RECENT_MINUTES = 10;
const LATE_MS = 60_000;
const LESSONS_SHOWN = 200;

const FIGURES = [
  ['views', (s) => short(s.views)],
  ['views_today', (s) => short(s.views_today)],
  ['views_daily_average', (s) => short(s.views_daily_average)],
  ['views_daily_peak', (s) => short(s.views_daily_peak?.views), (s) => shortDay(s.views_daily_peak?.date)],
  ['visits', (s) => short(s.visits)],
  ['plays', (s) => short(s.plays)],
  ['watch', (s) => span(s.watch_seconds)],
  ['uniques', (s) => short(s.uniques)],
  ['resources', (s) => short(s.resources)],
  ['provinces', (s) => short(s.provinces), (s) => t('board.countries', { n: short(s.countries), count: s.countries })],
];

const state = {
  summary: null,
  trouble: null,
  lessons: [],
  sections: new Map(),
  counts: null,
  provinces: null,
  today: new Map(),
  minutes: [],
  day: '',
  allAt: 0,
};

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
  node.dataset.trouble = Boolean(trouble);
  find('#token').hidden = trouble?.status !== 401;
  if (trouble?.status === 401) node.textContent = t('board.closed');
  else if (!values) node.textContent = trouble ? t('board.unreachable') : '';
  else if (trouble) node.textContent = t('board.stale', { t: timeOfDay(values.as_of) });
  else node.textContent = values.complete_through ? t('board.complete', { t: timeOfDay(values.complete_through) }) : '';
}

function drawDay() {
  const now = state.minutes.length;
  const sum = state.minutes.reduce((all, n) => all + (n ?? 0), 0);
  const told = find('#day-told');
  const rest = () => (told.textContent = t('board.day.sum', { n: whole(sum), count: sum }));
  rest();
  replace(
    find('#day'),
    dayChart(state.minutes, now, t('board.day.sum', { n: whole(sum), count: sum }), short, (point) => {
      if (point) told.textContent = t('board.day.point', { from: clockOf(point.from), to: clockOf(point.to), n: whole(point.sum) });
      else rest();
    }),
  );
}

function province(row, place, most) {
  const bar = svg('svg', { class: 'row-bar', 'aria-hidden': 'true', preserveAspectRatio: 'none', viewBox: '0 0 100 8' }, svg('rect', { width: most ? (row.views / most) * 100 : 0, height: 8, rx: 1 }));
  const late = new Date(state.provinces.as_of) - new Date(row.complete_through) > LATE_MS;
  return el(
    'li',
    { dataset: { province: row.id } },
    el('span', { class: 'rank' }, String(place)),
    el(
      'div',
      { class: 'province-name' },
      el('span', {}, pick(PROVINCES[row.id]) || row.id, late ? el('span', { class: 'late' }, t('board.late', { t: timeOfDay(row.complete_through) })) : null),
      bar,
    ),
    el('span', { class: 'number' }, short(row.views)),
    el('span', { class: 'number small' }, `+${short(state.today.get(row.id) ?? 0)}`),
  );
}

function drawProvinces() {
  if (!state.provinces) return;
  const known = state.provinces.by.filter((row) => row.views || row.complete_through);
  const ranked = known.sort((a, b) => b.views - a.views || (a.id < b.id ? -1 : 1));
  const most = Math.max(0, ...ranked.map((row) => row.views));
  replace(find('#provinces'), ranked.map((row, index) => province(row, index + 1, most)));
  const silent = state.provinces.by.length - ranked.length;
  find('#provinces-silent').textContent = silent ? t('board.provinces.silent', { n: silent, count: silent }) : '';
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
  drawDay();
  drawProvinces();
  drawLessons();
}

/** Today so far: all of it at first, then the last minutes. */
async function readMinutes() {
  const now = Date.now();
  const day = new Date(now + 8 * 3_600_000).toISOString().slice(0, 10);
  const all = day !== state.day || now - state.allAt > ALL_MINUTES_MS;
  const recent = new Date(now + 8 * 3_600_000 - RECENT_MINUTES * 60_000).toISOString();
  const from = all || recent.slice(0, 10) !== day ? day : `${recent.slice(0, 16)}:00+08:00`;
  const { series } = await minutesFrom(from);
  const minutes = all ? [] : [...state.minutes];
  for (const point of series) if (point.at.slice(0, 10) === day) minutes[minuteOf(point.at)] = point.views;
  if (all) state.allAt = now;
  state.day = day;
  state.minutes = minutes;
  if (!find('#day:hover')) drawDay();
}

async function readProvinces() {
  const [ever, today] = await Promise.all([ofProvinces(), ofProvinces('today')]);
  state.provinces = ever;
  state.today = new Map(today.by.map((one) => [one.id, one.views]));
  drawProvinces();
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
const stream = follow('/v1/counts/stream', {
  headers: authorization,
  onData(summary) {
    state.summary = summary;
    state.trouble = null;
    drawFigures();
    drawTimes();
  },
  onTrouble(trouble) {
    state.trouble = trouble;
    drawTimes();
  },
});
const readers = [
  repeat(readMinutes, () => MINUTES_MS),
  repeat(readProvinces, () => PROVINCES_MS),
  repeat(async () => {
    await readCatalog();
    if (!state.counts) await readLessons();
  }, () => CATALOG_MS),
  repeat(readLessons, () => LESSONS_MS),
];
find('#token').addEventListener('submit', (event) => {
  event.preventDefault();
  setToken(find('#token input').value.trim());
  find('#token input').value = '';
  stream.now();
  for (const reader of readers) reader.now();
});
