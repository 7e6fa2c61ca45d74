// The preview track: a WebVTT file whose cues name rectangles of sprite images.

const TIME = /(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{3})/;
const CUE = new RegExp(`${TIME.source}\\s+-->\\s+${TIME.source}`);

const seconds = (match, at) => Number(match[at] ?? 0) * 3600 + Number(match[at + 1]) * 60 + Number(match[at + 2]) + Number(match[at + 3]) / 1000;

/** `[{from, to, src, x, y, w, h}]` in order; cues without a rectangle are left out. */
export function parse(text, base) {
  const cues = [];
  const lines = text.split(/\r?\n/);
  for (let index = 0; index < lines.length; index += 1) {
    const times = CUE.exec(lines[index]);
    if (!times) continue;
    const [file, fragment = ''] = (lines[index + 1] ?? '').trim().split('#xywh=');
    const [x, y, w, h] = fragment.split(',').map(Number);
    if (file && w > 0 && h > 0) cues.push({ from: seconds(times, 1), to: seconds(times, 5), src: new URL(file, base).href, x, y, w, h });
  }
  return cues;
}

export class Thumbnails {
  #url;
  #cues = null;

  constructor(url) {
    this.#url = url;
  }

  /** Reads the track at the first wish for it. A lesson without one has no previews, nothing else. */
  async load() {
    if (this.#cues || !this.#url) return;
    this.#cues = [];
    try {
      const response = await fetch(this.#url);
      if (response.ok) this.#cues = parse(await response.text(), response.url);
    } catch {
      this.#cues = null;
    }
  }

  at(second) {
    return this.#cues?.find((cue) => cue.from <= second && second < cue.to) ?? null;
  }
}
