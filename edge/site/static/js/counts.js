// What was counted, as the node answers it.
import { authorization } from './access.js';
import { getJson } from './catalog.js';

const IDS_PER_REQUEST = 200;
const read = (path) => getJson(`/v1/counts/${path}`, { cache: 'no-store', headers: authorization() });

export const summary = () => read('summary');

export const ofLesson = (id) => read(`resources/${encodeURIComponent(id)}`);

/** Totals of every province: rows by id, and when they are of. */
export const ofProvinces = (day = '') => read(`by/province${day ? `?day=${day}&metric=views` : ''}`);

/** Views by minute from a time on, which is ISO 8601 or a date. */
export const minutesFrom = (time) => read(`series?metric=views&step=minute&from=${encodeURIComponent(time)}`);

/** Counts by id. */
export async function ofLessons(ids) {
  const counts = new Map();
  for (let from = 0; from < ids.length; from += IDS_PER_REQUEST) {
    const asked = ids.slice(from, from + IDS_PER_REQUEST).map(encodeURIComponent).join(',');
    const { resources } = await read(`resources?ids=${asked}`);
    for (const resource of resources) counts.set(resource.id, resource);
  }
  return counts;
}
