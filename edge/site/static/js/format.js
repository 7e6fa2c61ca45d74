// Numbers, times and sizes as people of the current language read them.
import { locale, t } from './i18n.js';

/** Seconds as 0:05, 12:34, 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (parts[0] === 0) parts.shift();
  return parts.map((part, index) => (index ? String(part).padStart(2, '0') : String(part))).join(':');
}

export const whole = (n) => new Intl.NumberFormat(locale()).format(Math.round(n ?? 0));

/** 12,345 stays; from a hundred thousand on: 12.3万, 123K. */
export function short(n) {
  const value = n ?? 0;
  if (value < 100_000) return whole(value);
  return new Intl.NumberFormat(locale(), { notation: 'compact', maximumFractionDigits: 1 }).format(value);
}

export function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes ?? 0;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(value)} ${units[unit]}`;
}

/** A span of watching: 45 s, 12 min, 3.5 h. */
export function span(seconds) {
  const value = seconds ?? 0;
  const format = (n, digits) => new Intl.NumberFormat(locale(), { maximumFractionDigits: digits }).format(n);
  if (value < 60) return t('unit.seconds', { n: format(value, 0) });
  if (value < 3600) return t('unit.minutes', { n: format(value / 60, value < 600 ? 1 : 0) });
  return t('unit.hours', { n: format(value / 3600, value < 360_000 ? 1 : 0) });
}

// Counting days are days of UTC+8 wherever the reader is, and so are the times shown beside them.
const ZONE = 'Asia/Shanghai';

const moment = (options) => (value) => {
  const date = new Date(value);
  const format = new Intl.DateTimeFormat(locale(), { ...options, timeZone: ZONE });
  return Number.isNaN(date.getTime()) ? '' : format.format(date);
};

export const timeOfDay = moment({ hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });
export const day = moment({ year: 'numeric', month: 'short', day: 'numeric' });
export const shortDay = moment({ month: 'short', day: 'numeric' });
