// What all pages share: language, appearance, and the visit itself.
import { find, setIcon } from './dom.js';
import { language, onLanguage, setLanguage, t, translate } from './i18n.js';
import { local } from './storage.js';
import { outbox, visit } from './views.js';

const THEMES = ['auto', 'light', 'dark'];
const THEME_KEY = 'smartedu.theme';

const theme = () => (THEMES.includes(local.get(THEME_KEY)) ? local.get(THEME_KEY) : 'auto');

function showTheme() {
  const chosen = theme();
  if (chosen === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  const button = find('#theme');
  setIcon(button, `theme-${chosen}`);
  button.setAttribute('aria-label', t(`theme.${chosen}`));
  button.title = t(`theme.${chosen}`);
}

function showLanguage() {
  const button = find('#language');
  button.querySelector('span').textContent = t('language.short');
  button.setAttribute('aria-label', t('language.switch'));
  button.lang = language() === 'zh' ? 'en' : 'zh-CN';
}

/** A page prerendered but not shown yet is no visit. */
export function whenShown(act) {
  if (document.prerendering) document.addEventListener('prerenderingchange', act, { once: true });
  else act();
}

export function masthead() {
  find('#language').addEventListener('click', () => setLanguage(language() === 'zh' ? 'en' : 'zh'));
  find('#theme').addEventListener('click', () => {
    local.set(THEME_KEY, THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
    showTheme();
  });
  for (const link of document.querySelectorAll('.masthead nav a')) {
    if (link.pathname === location.pathname) link.setAttribute('aria-current', 'page');
  }
  translate();
  onLanguage(() => {
    showTheme();
    showLanguage();
  });
  whenShown(visit);
  return outbox;
}
