// The page of keyboard shortcuts, made from the table that the keys themselves obey.
import { el, icon, replace } from './dom.js';
import { t } from './i18n.js';
import { KEYS } from './keys.js';

export class Help {
  constructor() {
    this.element = el('dialog', { class: 'help', 'aria-labelledby': 'help-title' });
    this.element.addEventListener('click', (event) => event.target === this.element && this.element.close());
  }

  toggle() {
    if (this.element.open) this.element.close();
    else this.element.showModal();
  }

  /** Fills the page in the language of the moment. */
  draw() {
    const caps = (shown) => shown.map((cap) => (cap === '–' ? ' – ' : el('kbd', {}, cap.startsWith('key.') ? t(cap) : cap)));
    const close = el('button', { type: 'button', class: 'control help-close', 'aria-label': t('player.close'), onclick: () => this.element.close() }, icon('close'));
    const rows = KEYS.map(({ shown, text }) => el('div', {}, el('dt', {}, caps(shown)), el('dd', {}, t(text))));
    replace(this.element, el('div', { class: 'help-page' }, el('h2', { id: 'help-title' }, t('player.help')), close, el('dl', {}, rows)));
  }
}
