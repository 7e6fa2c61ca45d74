// A button with a menu of choices, for pointer, keyboard and screen reader alike.
import { el, icon, replace } from './dom.js';

export class Menu {
  #button;
  #popup;
  #choices = [];
  #chosen;
  #choose;
  #filling = false;

  /** `choose(value)` is called when somebody chooses. */
  constructor(className, choose) {
    this.#choose = choose;
    this.#button = el('button', { type: 'button', class: 'control control-text', 'aria-haspopup': 'menu', 'aria-expanded': 'false', onclick: () => this.toggle() });
    this.#popup = el('div', { class: 'menu', role: 'menu', hidden: true, onkeydown: (event) => this.#key(event) });
    this.element = el('div', { class: `menu-holder ${className}` }, this.#button, this.#popup);
    this.element.addEventListener('focusout', (event) => {
      // Putting new choices in takes the focus from the old ones; that is nobody leaving.
      if (!this.#filling && !this.element.contains(event.relatedTarget)) this.close(false);
    });
    document.addEventListener('pointerdown', (event) => {
      if (!this.element.contains(event.target)) this.close(false);
    });
  }

  get open() {
    return !this.#popup.hidden;
  }

  /** label: the menu's name; shown: the button's text; choices: [{value, text, note}]; chosen: the value that holds. */
  show({ label, shown, choices, chosen }) {
    this.#choices = choices;
    this.#chosen = chosen;
    replace(this.#button, shown);
    this.#button.setAttribute('aria-label', typeof shown === 'string' ? `${label} ${shown}` : label);
    this.#button.title = label;
    this.#popup.setAttribute('aria-label', label);
    if (this.open) this.#fill();
  }

  toggle() {
    if (this.open) this.close();
    else this.#openUp();
  }

  close(refocus = true) {
    if (!this.open) return;
    this.#popup.hidden = true;
    this.#button.setAttribute('aria-expanded', 'false');
    if (refocus) this.#button.focus();
  }

  #openUp() {
    this.#popup.hidden = false;
    this.#button.setAttribute('aria-expanded', 'true');
    this.#fill();
    (this.#items().find((item) => item.getAttribute('aria-checked') === 'true') ?? this.#items()[0])?.focus();
  }

  #items() {
    return [...this.#popup.querySelectorAll('[role="menuitemradio"]')];
  }

  #fill() {
    const at = this.#items().indexOf(document.activeElement);
    this.#filling = true;
    replace(
      this.#popup,
      this.#choices.map(({ value, text, note }) =>
        el(
          'button',
          {
            type: 'button',
            role: 'menuitemradio',
            tabindex: -1,
            'aria-checked': String(value === this.#chosen),
            onclick: () => {
              this.#choose(value);
              this.close();
            },
          },
          icon('check'),
          el('span', {}, text),
          note ? el('small', {}, note) : null,
        ),
      ),
    );
    if (at >= 0) this.#items()[at]?.focus();
    this.#filling = false;
  }

  #key(event) {
    const items = this.#items();
    const at = items.indexOf(document.activeElement);
    const to = {
      ArrowDown: (at + 1) % items.length,
      ArrowUp: (at - 1 + items.length) % items.length,
      Home: 0,
      End: items.length - 1,
    }[event.key];
    if (to !== undefined) items[to]?.focus();
    else if (event.key === 'Escape') this.close();
    else if (event.key === 'Tab') return this.close(false);
    else if (event.key !== 'Enter' && event.key !== ' ') return;
    event.stopPropagation(); // the player's keys rest while a menu is open
    if (to !== undefined || event.key === 'Escape') event.preventDefault();
  }
}
