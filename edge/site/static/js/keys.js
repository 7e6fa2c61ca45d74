// The player's keys: one table, from which both the listening and the help page are made.

/** `match(event.key)`; `run(player, key)`; `shown`: the key caps of the help page; `text`: what it does. */
export const KEYS = [
  { shown: ['key.space', 'K'], text: 'key.play', match: (key) => key === ' ' || key === 'k', run: (player) => player.toggle() },
  { shown: ['←', '→'], text: 'key.seek5', match: (key) => key === 'ArrowLeft' || key === 'ArrowRight', run: (player, key) => player.step(key === 'ArrowLeft' ? -5 : 5) },
  { shown: ['J', 'L'], text: 'key.seek10', match: (key) => key === 'j' || key === 'l', run: (player, key) => player.step(key === 'j' ? -10 : 10) },
  { shown: ['↑', '↓'], text: 'key.volume', match: (key) => key === 'ArrowUp' || key === 'ArrowDown', run: (player, key) => player.louder(key === 'ArrowUp' ? 0.1 : -0.1) },
  { shown: ['M'], text: 'key.mute', match: (key) => key === 'm', run: (player) => player.mute() },
  { shown: ['F'], text: 'key.fullscreen', match: (key) => key === 'f', run: (player) => player.fullscreen() },
  { shown: ['C'], text: 'key.captions', match: (key) => key === 'c', run: (player) => player.nextCaptions() },
  { shown: ['<', '>'], text: 'key.speed', match: (key) => key === '<' || key === '>', run: (player, key) => player.faster(key === '>' ? 1 : -1) },
  { shown: ['0', '–', '9'], text: 'key.jump', match: (key) => /^[0-9]$/.test(key), run: (player, key) => player.jump(Number(key) / 10) },
  { shown: ['?'], text: 'key.help', match: (key) => key === '?', run: (player) => player.help() },
];

const TYPED = 'input:not([type="range"]), textarea, select, [contenteditable]';
const PRESSED = 'button, a[href], summary, [role="menuitemradio"]';

/** Whether a key belongs to what has the focus rather than to the player. */
function taken(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return true;
  const { target } = event;
  if (!(target instanceof Element)) return false;
  if (target.closest('dialog[open]') || target.matches(TYPED)) return true;
  if (target.closest(PRESSED) && event.key === ' ') return true;
  // Away from the player, the arrows scroll the page.
  return (event.key === 'ArrowUp' || event.key === 'ArrowDown') && !target.closest('.player');
}

export function listen(player) {
  document.addEventListener('keydown', (event) => {
    if (taken(event)) return;
    const pressed = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const key = KEYS.find(({ match }) => match(pressed));
    if (!key) return;
    event.preventDefault();
    key.run(player, pressed);
  });
}
