// Runs before the first paint, so that a chosen language or theme does not flash. Everything else is a module.
(() => {
  const root = document.documentElement;
  const stored = (key) => {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  };
  const asked = new URLSearchParams(location.search).get('lang') ?? stored('smartedu.lang');
  if (asked === 'en') {
    root.lang = 'en';
    root.dataset.pending = '';
    // Should the modules not load, the page shows its Chinese texts rather than none.
    setTimeout(() => delete root.dataset.pending, 4000);
  }
  const theme = stored('smartedu.theme');
  if (theme === 'light' || theme === 'dark') root.dataset.theme = theme;
})();
