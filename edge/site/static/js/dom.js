// Elements by function call. Text goes in as text nodes only; there is no way to pass markup.

const SVG = 'http://www.w3.org/2000/svg';
const SPRITE = new URL('../img/icons.svg', import.meta.url).href;

function fill(node, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? '' : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const el = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);

export const svg = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

export function icon(name, className = 'icon') {
  return svg('svg', { class: className, 'aria-hidden': 'true', viewBox: '0 0 24 24' }, svg('use', { href: `${SPRITE}#${name}` }));
}

export function setIcon(holder, name) {
  const use = holder.querySelector('use');
  const href = `${SPRITE}#${name}`;
  if (use.getAttribute('href') !== href) use.setAttribute('href', href);
}

export const find = (selector, root = document) => root.querySelector(selector);

export const replace = (node, ...children) => node.replaceChildren(...children.flat().filter((child) => child != null && child !== false));
