// The portal: six sections, filled as lessons are published, without a reload.
import { card, sectionIcon, showViews } from './card.js';
import { firstEntries, SECTIONS, version } from './catalog.js';
import { ofLessons, summary } from './counts.js';
import { el, find, icon, replace } from './dom.js';
import { short } from './format.js';
import { onLanguage, pick, t } from './i18n.js';
import { masthead } from './masthead.js';
import { repeat } from './pace.js';

const AT_FIRST = 12;
const MORE = 24;
const PUBLISHING_MS = 2_500;
const SETTLED_MS = 20_000;
const COUNTS_MS = 5_000;

const state = {
  version: '',
  reached: true,
  sections: SECTIONS.map(({ id, title }) => ({ id, title, resources: 0, shards: [], entries: [], limit: AT_FIRST })),
  views: new Map(),
  totals: null,
};

const published = () => state.sections.filter((section) => section.resources > 0).length;
const publishing = () => published() < state.sections.length;
const shown = () => state.sections.flatMap((section) => section.entries.map((entry) => entry.id));

function placeholder() {
  return el(
    'div',
    { class: 'card card-waiting' },
    el('div', { class: 'card-poster' }, icon('clock', 'icon card-emblem')),
    el('div', { class: 'card-text' }, el('p', { class: 'card-title' }, t('portal.preparing')), el('p', { class: 'card-meta' }, t('portal.preparing.hint'))),
  );
}

function sectionPanel(section) {
  const heading = `section-${section.id}`;
  const more = section.entries.length < section.resources;
  return el(
    'section',
    { class: 'section', id: section.id, 'aria-labelledby': heading, dataset: { section: section.id, wide: section.entries.length > 2 } },
    el(
      'header',
      { class: 'section-head' },
      sectionIcon(section.id, 'icon section-icon'),
      el('h2', { id: heading }, pick(section.title)),
      section.resources ? el('span', { class: 'section-count' }, t('portal.count', { n: section.resources })) : null,
    ),
    el('div', { class: 'cards' }, section.entries.length ? section.entries.map((entry) => card(entry, viewsOf(entry.id))) : placeholder()),
    more && section.entries.length ? el('button', { type: 'button', class: 'quiet', onclick: () => grow(section) }, t('portal.more')) : null,
  );
}

// A lesson nobody viewed yet has zero views; before the first answer there is no number at all.
const viewsOf = (id) => (state.views.size || state.totals ? (state.views.get(id)?.views ?? 0) : undefined);

function drawSections() {
  const holder = find('#sections');
  const focused = document.activeElement?.closest?.('.card')?.dataset.lesson;
  replace(holder, state.sections.map(sectionPanel));
  if (focused) find(`[data-lesson="${CSS.escape(focused)}"] a`, holder)?.focus({ preventScroll: true });
}

function drawChips() {
  replace(
    find('#chips'),
    state.sections.map((section) =>
      el('li', {}, el('a', { href: `#${section.id}`, class: 'chip', dataset: { section: section.id } }, sectionIcon(section.id), pick(section.title))),
    ),
  );
}

function drawFigures() {
  const lessons = state.sections.reduce((sum, section) => sum + section.resources, 0);
  find('#figure-lessons').textContent = state.version ? short(lessons) : '–';
  find('#figure-views').textContent = state.totals ? short(state.totals.views) : '–';
  find('#figure-today').textContent = state.totals ? short(state.totals.views_today) : '–';
}

function drawNotice() {
  const notice = find('#notice');
  const text = !state.reached
    ? t('portal.unreachable')
    : publishing()
      ? t('portal.preparing.all', { done: published(), all: state.sections.length })
      : '';
  notice.hidden = text === '';
  notice.dataset.kind = state.reached ? 'busy' : 'trouble';
  const holder = find('span', notice);
  if (holder.textContent !== text) holder.textContent = text;
}

function draw() {
  document.title = `${t('portal.title')} · ${t('site.name')}`;
  drawChips();
  drawSections();
  drawFigures();
  drawNotice();
}

async function grow(section) {
  section.limit += MORE;
  const before = section.entries.length;
  section.entries = await firstEntries(section, section.limit);
  drawSections();
  find(`#${CSS.escape(section.id)} .card:nth-child(${before + 1}) a`)?.focus();
  counts.now();
}

async function readCatalog() {
  let document;
  try {
    document = await version();
  } catch (error) {
    // No version document is the state of a new node that publishes its first lesson.
    state.reached = error.status === 404;
    drawNotice();
    throw error;
  }
  state.reached = true;
  if (document.version !== state.version) await take(document);
  else drawNotice();
}

async function take(document) {
  const before = new Set(shown());
  const first = state.version === '';
  const held = new Map(state.sections.map((section) => [section.id, section]));
  const sections = await Promise.all(
    document.sections.map(async (section) => {
      const limit = held.get(section.id)?.limit ?? AT_FIRST;
      return { ...section, limit, entries: await firstEntries(section, limit) };
    }),
  );
  state.sections = sections;
  state.version = document.version;
  draw();
  if (!first) announce(sections.flatMap((section) => section.entries).filter((entry) => !before.has(entry.id)));
  counts.now();
}

function announce(fresh) {
  for (const entry of fresh) find(`[data-lesson="${CSS.escape(entry.id)}"]`)?.classList.add('card-fresh');
  if (fresh.length) find('#announcement').textContent = fresh.map((entry) => t('portal.fresh', { title: pick(entry.title) })).join(' ');
}

async function readCounts() {
  const [totals, views] = await Promise.all([summary(), ofLessons(shown())]);
  state.totals = totals;
  state.views = views;
  drawFigures();
  for (const node of document.querySelectorAll('[data-views]')) showViews(node, viewsOf(node.dataset.views));
}

const outbox = masthead();
onLanguage(draw);
const counts = repeat(readCounts, () => COUNTS_MS);
repeat(readCatalog, () => (publishing() ? PUBLISHING_MS : SETTLED_MS), 10_000);
outbox.onSettled = () => counts.now();
