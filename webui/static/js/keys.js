// Keys that lead somewhere: g and a letter to a page of the navigation, ? to what there is. Nothing depends on them.
const WITHIN = 1500; // milliseconds between g and its letter
// Each key once: what is in the head, too, stands first there.
const pages = () => [...new Map([...document.querySelectorAll('a[data-key]')].map(page => [page.dataset.key, page])).values()];
let since = 0; // when g was pressed

let help;

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Made when it is asked for: no page has to carry it.
function show() {
  if (!help) {
    const title = element('h2', { id: 'keys-title' }, inLanguage('Keys'));
    const done = element('button', { className: 'btn', autofocus: true }, inLanguage('Done'));
    help = element('dialog', { className: 'keys' }, element('form', { method: 'dialog' }, title, element('dl', { tabIndex: 0 }),
      element('div', { className: 'dialog-buttons' }, done)));
    help.setAttribute('aria-labelledby', title.id);
    document.body.append(help);
  }
  const row = (keys, text) => {
    return [element('dt', {}, ...keys.flatMap(key => [element('kbd', {}, key), ' '])), element('dd', {}, text)];
  };
  help.querySelector('dl').replaceChildren(
    ...(document.getElementById('search') ? row(['/'], inLanguage('Search')) : []),
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
