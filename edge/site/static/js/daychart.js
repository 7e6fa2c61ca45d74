// The minutes of a day as an area, with what each minute holds told on pointing at it.
import { el, svg } from './dom.js';

const MINUTES = 1440;
const HEIGHT = 220;
const STEP = 5; // minutes in one point of the area: single ones would be thinner than a pixel

/** The minute of the day, of a time such as 2026-11-29T08:05:00+08:00. */
export const minuteOf = (time) => Number(time.slice(11, 13)) * 60 + Number(time.slice(14, 16));

/** Minutes as HH:MM. */
export const clockOf = (minute) => `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

/** A round number not below `n`, for the top of the chart. */
export function ceiling(n) {
  if (n <= 4) return 4;
  const unit = 10 ** Math.floor(Math.log10(n));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * unit).find((top) => top >= n);
}

/** Sums of `STEP` minutes up to `until`, which is not included. */
export function stepped(minutes, until) {
  const sums = [];
  for (let first = 0; first < until; first += STEP) {
    let sum = 0;
    for (let minute = first; minute < Math.min(first + STEP, MINUTES); minute += 1) sum += minutes[minute] ?? 0;
    sums.push(sum);
  }
  return sums;
}

function area(sums, top) {
  const x = (index) => Math.min(MINUTES, (index + 0.5) * STEP);
  const y = (sum) => HEIGHT - (sum / top) * HEIGHT;
  const points = sums.map((sum, index) => `${x(index)},${y(sum).toFixed(1)}`);
  if (points.length === 0) return [];
  const line = `M${points.join('L')}`;
  return [
    svg('path', { class: 'day-area', d: `${line}L${x(sums.length - 1)},${HEIGHT}L${x(0)},${HEIGHT}Z` }),
    svg('path', { class: 'day-line', d: line, 'vector-effect': 'non-scaling-stroke' }),
  ];
}

/** minutes: by minute of the day; until: the minute that it is now. onPoint: called with first minute and sum, or null. */
export function dayChart(minutes, until, label, number, onPoint) {
  const sums = stepped(minutes, until);
  const top = ceiling(Math.max(0, ...sums));
  const grid = [0.25, 0.5, 0.75].map((part) => svg('line', { class: 'day-grid', x1: 0, x2: MINUTES, y1: HEIGHT * part, y2: HEIGHT * part, 'vector-effect': 'non-scaling-stroke' }));
  const cursor = svg('line', { class: 'day-cursor', y1: 0, y2: HEIGHT, x1: -9, x2: -9, 'vector-effect': 'non-scaling-stroke' });
  const chart = svg('svg', { viewBox: `0 0 ${MINUTES} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label }, grid, area(sums, top), cursor);
  const point = (event) => {
    const box = chart.getBoundingClientRect();
    const index = Math.floor((((event.clientX - box.left) / box.width) * MINUTES) / STEP);
    if (index < 0 || index >= sums.length) return;
    const x = (index + 0.5) * STEP;
    cursor.setAttribute('x1', x);
    cursor.setAttribute('x2', x);
    onPoint({ from: index * STEP, to: Math.min(MINUTES, (index + 1) * STEP), sum: sums[index] });
  };
  chart.addEventListener('pointermove', point);
  chart.addEventListener('pointerdown', point);
  chart.addEventListener('pointerleave', () => {
    cursor.setAttribute('x1', -9);
    cursor.setAttribute('x2', -9);
    onPoint(null);
  });
  const hours = [0, 3, 6, 9, 12, 15, 18, 21, 24].map((hour) => el('span', {}, `${hour}:00`));
  return [
    el('div', { class: 'day-plot' }, el('span', { class: 'day-top', 'aria-hidden': 'true' }, number(top)), chart),
    el('div', { class: 'day-hours', 'aria-hidden': 'true' }, hours),
  ];
}
