// Captions. The browser reads the tracks and says which cues hold; they are drawn here, so that they look the same everywhere and keep
// clear of the controls. Only where the browser shows nothing but the video itself (full screen on iPhones) it draws them too.
import { el, replace } from './dom.js';
import { local } from './storage.js';

const KEY = 'smartedu.captions';

export class Captions {
  #tracks;
  #chosen = null;

  /** tracks: `[{lang, label, url}]`. `changed()` is called when another language, or none, was chosen. */
  constructor(video, tracks, changed) {
    this.element = el('div', { class: 'captions', 'aria-hidden': 'true' });
    this.changed = changed;
    this.#tracks = (tracks ?? []).map(({ lang, label, url }) => {
      const node = el('track', { kind: 'subtitles', src: url, srclang: lang, label });
      video.append(node);
      node.track.mode = 'disabled';
      node.track.addEventListener('cuechange', () => this.#draw());
      return { lang, label, track: node.track };
    });
    video.addEventListener('webkitbeginfullscreen', () => this.#apply('showing'));
    video.addEventListener('webkitendfullscreen', () => this.#apply('hidden'));
    const kept = local.get(KEY);
    if (this.#tracks.some(({ lang }) => lang === kept)) this.#chosen = kept;
    this.#apply('hidden');
  }

  /** `[{lang, label}]` */
  get languages() {
    return this.#tracks;
  }

  /** The language shown, or null. */
  get chosen() {
    return this.#chosen;
  }

  choose(lang) {
    this.#chosen = lang;
    local.set(KEY, lang ?? '');
    this.#apply('hidden');
    this.changed();
  }

  /** The next language, after the last none; answers its label, or null. */
  next() {
    const at = this.#tracks.findIndex(({ lang }) => lang === this.#chosen);
    const following = this.#tracks[at + 1] ?? null;
    this.choose(following?.lang ?? null);
    return following?.label ?? null;
  }

  // "hidden" means: read and kept in time, but not drawn by the browser.
  #apply(mode) {
    for (const { lang, track } of this.#tracks) track.mode = lang === this.#chosen ? mode : 'disabled';
    this.#draw();
  }

  #draw() {
    const active = this.#tracks.find(({ lang }) => lang === this.#chosen)?.track.activeCues ?? [];
    const lines = Array.from(active).flatMap((cue) => cue.getCueAsHTML().textContent.split('\n'));
    this.element.lang = this.#chosen ?? '';
    replace(this.element, lines.filter(Boolean).map((line) => el('p', {}, el('span', {}, line))));
  }
}
