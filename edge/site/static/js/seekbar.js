// The seek bar: a real range input for keyboard and screen reader, drawn with what is played and loaded, and a preview above it.
import { el } from './dom.js';
import { clock } from './format.js';
import { t } from './i18n.js';

export class SeekBar {
  #input;
  #track;
  #preview;
  #picture;
  #label;
  #thumbnails;
  #duration = 0;
  #dragging = false;
  #pointed = 0;

  /** `seek(seconds)` is called when the viewer chooses a position. */
  constructor(thumbnails, seek) {
    this.#thumbnails = thumbnails;
    this.#input = el('input', { type: 'range', class: 'seek-input', min: 0, max: 1000, step: 'any', value: 0, tabindex: 0 });
    this.#track = el('div', { class: 'seek-track', 'aria-hidden': 'true' });
    this.#picture = el('div', { class: 'preview-picture' });
    this.#label = el('span', { class: 'preview-time' });
    this.#preview = el('div', { class: 'preview', 'aria-hidden': 'true', hidden: true }, this.#picture, this.#label);
    this.element = el('div', { class: 'seek' }, this.#track, this.#input, this.#preview);

    this.#input.addEventListener('input', () => {
      this.#dragging = true;
      this.#paint(Number(this.#input.value));
      this.#point(Number(this.#input.value));
    });
    this.#input.addEventListener('change', () => {
      this.#dragging = false;
      this.#preview.hidden = true;
      seek(Number(this.#input.value));
    });
    this.element.addEventListener('pointermove', (event) => this.#hover(event));
    this.element.addEventListener('pointerenter', () => this.#prepare());
    this.#input.addEventListener('pointerdown', () => this.#prepare());
    this.element.addEventListener('pointerleave', () => {
      if (!this.#dragging) this.#preview.hidden = true;
    });
  }

  label(text) {
    this.#input.setAttribute('aria-label', text);
  }

  /** What is played and loaded, all in seconds. */
  show(position, duration, loadedTo) {
    this.#duration = duration;
    this.#input.max = Math.max(duration, 0.1);
    this.#track.style.setProperty('--loaded', duration > 0 ? Math.min(1, loadedTo / duration) : 0);
    if (this.#dragging) return;
    this.#input.value = position;
    this.#paint(position);
  }

  #paint(position) {
    const part = this.#duration > 0 ? Math.min(1, position / this.#duration) : 0;
    this.element.style.setProperty('--played', part);
    this.#input.setAttribute('aria-valuetext', t('player.position', { t: clock(position), d: clock(this.#duration) }));
  }

  async #prepare() {
    await this.#thumbnails.load();
    if (!this.#preview.hidden) this.#point(this.#pointed);
  }

  #hover(event) {
    if (event.pointerType === 'touch' || !(this.#duration > 0)) return;
    const { left, width } = this.#track.getBoundingClientRect();
    this.#point(Math.min(1, Math.max(0, (event.clientX - left) / width)) * this.#duration);
  }

  #point(second) {
    this.#pointed = second;
    this.#label.textContent = clock(second);
    this.#show(this.#thumbnails.at(Math.min(second, this.#duration - 0.01)));
    this.#preview.hidden = false;
    const { width } = this.#track.getBoundingClientRect();
    const half = this.#preview.offsetWidth / 2;
    const at = (second / this.#duration) * width;
    this.#preview.style.setProperty('--at', `${Math.min(Math.max(at, half), Math.max(half, width - half))}px`);
  }

  #show(cue) {
    this.#picture.hidden = !cue;
    if (!cue) return;
    const style = this.#picture.style;
    style.width = `${cue.w}px`;
    style.height = `${cue.h}px`;
    style.backgroundImage = `url("${encodeURI(cue.src)}")`;
    style.backgroundPosition = `-${cue.x}px -${cue.y}px`;
  }
}
