// Runs before the page is drawn, so that nobody sees the wrong theme flash by.
(() => {
  const root = document.documentElement;
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const apply = () => {
    const chosen = localStorage.getItem('theme');
    root.dataset.bsTheme = chosen || (dark.matches ? 'dark' : 'light');
  };
  dark.addEventListener('change', apply);
  addEventListener('storage', apply);
  document.addEventListener('click', event => {
    if (!event.target.closest('[data-theme-toggle]')) return;
    const next = root.dataset.bsTheme === 'dark' ? 'light' : 'dark';
    // Choosing what the system has anyway means following the system again.
    if (next === (dark.matches ? 'dark' : 'light')) localStorage.removeItem('theme');
    else localStorage.setItem('theme', next);
    apply();
  });
  apply();

  // What scripts say in English, in the language of the page: webui/language.py.
  let texts;
  window.inLanguage = english => (texts ??= JSON.parse(root.dataset.texts ?? '{}'))[english] ?? english;
})();
