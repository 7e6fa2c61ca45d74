// A lesson as a card: poster, length, title, what it is about, how often it was viewed. Used by the portal and beside the player.
import { SECTIONS, tagLine } from './catalog.js';
import { el, icon } from './dom.js';
import { clock, short } from './format.js';
import { pick, t } from './i18n.js';
import { share } from './resume.js';

/** Sections have icons of their own name. */
export const sectionIcon = (id, className) => icon(SECTIONS.some((section) => section.id === id) ? id : 'curriculum', className);

function poster(entry) {
  const picture = el('img', { src: entry.poster, alt: '', width: 640, height: 360, loading: 'lazy', decoding: 'async' });
  picture.addEventListener('error', () => picture.remove(), { once: true });
  return picture;
}

function seen(id) {
  const part = share(id);
  if (part < 0.02) return null;
  const bar = el('span', { class: 'card-seen', role: 'img', 'aria-label': t('card.seen', { p: Math.round(part * 100) }) });
  bar.style.setProperty('--part', part.toFixed(3));
  return bar;
}

/** `views` may be undefined while the counts are not there yet. */
export function card(entry, views, level = 'h3') {
  const tags = tagLine(entry.tags, pick);
  const count = el('span', { class: 'card-views', dataset: { views: entry.id } });
  showViews(count, views);
  return el(
    'article',
    { class: 'card', dataset: { section: entry.section, lesson: entry.id } },
    el(
      'div',
      { class: 'card-poster' },
      sectionIcon(entry.section, 'icon card-emblem'),
      poster(entry),
      el('span', { class: 'card-length', 'aria-label': t('card.length', { t: clock(entry.duration_s) }) }, clock(entry.duration_s)),
      el('span', { class: 'card-play', 'aria-hidden': 'true' }, icon('play')),
      seen(entry.id),
    ),
    el(
      'div',
      { class: 'card-text' },
      el(level, { class: 'card-title' }, el('a', { href: `/lesson/${encodeURIComponent(entry.id)}` }, pick(entry.title))),
      el('p', { class: 'card-meta' }, tags ? el('span', { class: 'card-tags' }, tags) : null, count),
    ),
  );
}

export function showViews(node, views) {
  node.replaceChildren(...(views === undefined ? [] : [icon('eye'), t('card.views', { n: short(views), count: views })]));
}
