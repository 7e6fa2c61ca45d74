// What was counted, as the node answers it.
import { getJson } from './catalog.js';

const IDS_PER_REQUEST = 200;
const fresh = { cache: 'no-store' };

export const summary = () => getJson('/v1/counts/summary', fresh);

export const ofLesson = (id) => getJson(`/v1/counts/resources/${encodeURIComponent(id)}`, fresh);

/** Counts by id. */
export async function ofLessons(ids) {
  const counts = new Map();
  for (let from = 0; from < ids.length; from += IDS_PER_REQUEST) {
    const asked = ids.slice(from, from + IDS_PER_REQUEST).map(encodeURIComponent).join(',');
    const { resources } = await getJson(`/v1/counts/resources?ids=${asked}`, fresh);
    for (const resource of resources) counts.set(resource.id, resource);
  }
  return counts;
}
