// The browser's storages, which may be refused (private windows, policies). A refused storage lives in memory for this page.

const kept = (area) => {
  const memory = new Map();
  let real = null;
  try {
    real = window[area];
    real.setItem('smartedu.probe', '1');
    real.removeItem('smartedu.probe');
  } catch {
    real = null;
  }
  return {
    lasting: real !== null,
    get(key) {
      return real ? real.getItem(key) : (memory.get(key) ?? null);
    },
    set(key, value) {
      try {
        real ? real.setItem(key, value) : memory.set(key, value);
        return true;
      } catch {
        return false; // quota
      }
    },
    remove(key) {
      real ? real.removeItem(key) : memory.delete(key);
    },
    keys(prefix) {
      const all = real ? Array.from({ length: real.length }, (_, index) => real.key(index)) : [...memory.keys()];
      return all.filter((key) => key !== null && key.startsWith(prefix));
    },
  };
};

export const local = kept('localStorage');
export const session = kept('sessionStorage');

export function readJson(area, key, otherwise) {
  try {
    return JSON.parse(area.get(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}
