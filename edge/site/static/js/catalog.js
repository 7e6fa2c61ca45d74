// The published catalog, as the node serves it: one short-lived version document that names immutable ones.

const TIMEOUT_MS = 15_000;
const SHARDS_KEPT = 64;
const shards = new Map();

/** The sections in the platform's order. The version document carries their titles too; these serve before it is there. */
export const SECTIONS = [
  { id: 'special', title: { zh: '专题教育', en: 'Special topics' } },
  { id: 'curriculum', title: { zh: '课程教学', en: 'Curriculum teaching' } },
  { id: 'after-school', title: { zh: '课后服务', en: 'After-school service' } },
  { id: 'teacher-training', title: { zh: '教师研修', en: 'Teacher training' } },
  { id: 'family', title: { zh: '家庭教育', en: 'Family education' } },
  { id: 'reform', title: { zh: '教改实践经验', en: 'Teaching reform in practice' } },
];

export class Unavailable extends Error {
  constructor(url, status) {
    super(`${url}: ${status || 'no answer'}`);
    this.status = status;
  }
}

export async function getJson(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), ...options });
  } catch {
    throw new Unavailable(url, 0);
  }
  if (!response.ok) throw new Unavailable(url, response.status);
  try {
    return await response.json();
  } catch {
    throw new Unavailable(url, response.status);
  }
}

export const version = () => getJson('/catalog/version.json');

export const lessonDocument = (path) => getJson(path);

/** A shard's entries; immutable, so read once. */
export async function entries(path) {
  const held = shards.get(path);
  if (held) return held;
  const { entries: read } = await getJson(path);
  if (shards.size >= SHARDS_KEPT) shards.delete(shards.keys().next().value);
  shards.set(path, read);
  return read;
}

/** The first `limit` entries of a section of the version document. */
export async function firstEntries(section, limit) {
  const found = [];
  for (const shard of section.shards) {
    if (found.length >= limit) break;
    found.push(...(await entries(shard.path)));
  }
  return found.slice(0, limit);
}

/** The path of a lesson's document, or null: for pages that were opened before the node knew the catalog. */
export async function findLesson(id) {
  const { sections } = await version();
  const named = sections.flatMap((section) => section.shards).filter((shard) => shard.first <= id && id <= shard.last);
  for (const shard of named) {
    const entry = (await entries(shard.path)).find((candidate) => candidate.id === id);
    if (entry) return entry.lesson;
  }
  return null;
}

/** Grade, subject and the like, as one line. */
export const tagLine = (tags, pick, dimensions = ['grade', 'subject']) =>
  dimensions.map((dimension) => pick(tags?.[dimension])).filter(Boolean).join(' · ');
