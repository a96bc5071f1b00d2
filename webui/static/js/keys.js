// Keys that lead somewhere: g and a letter to a page of the navigation, ? to what there is. Nothing depends on them.
const WITHIN = 1500; // milliseconds between g and its letter
const help = document.getElementById('keys');
const pages = () => [...document.querySelectorAll('a[data-key]')];
let since = 0; // when g was pressed

function show() {
  const row = (keys, text) => {
    const term = document.createElement('dt'), words = document.createElement('dd');
    for (const key of keys) {
      const cap = document.createElement('kbd');
      cap.textContent = key;
      term.append(cap, ' ');
    }
    words.textContent = text;
    return [term, words];
  };
  help.querySelector('dl').replaceChildren(
    ...(document.getElementById('search') ? row(['/'], 'Search') : []),
    ...pages().flatMap(page => row(['g', page.dataset.key], page.textContent.trim())));
  help.showModal();
}

document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (event.target.closest('input, textarea, select, [contenteditable], dialog, canvas')) return;
  const page = Date.now() - since < WITHIN && pages().find(one => one.dataset.key === event.key);
  since = !page && event.key === 'g' ? Date.now() : 0;
  if (page) {
    event.preventDefault();
    page.click();
  } else if (event.key === '?') {
    event.preventDefault();
    show();
  }
});
