// The small things that a page does without the server. Everything here only eases what works without it.

// -- Cookies know no ports, so a machine's page may put a session of somebody else's in the place of this browser's. What is kept here,
// under this port, it does not reach: the session that was signed in here has the same.
document.addEventListener('submit', event => {
  const field = event.target.querySelector('[data-browser-key]');
  if (!field) return;
  if (!localStorage.getItem('browser')) localStorage.setItem('browser', crypto.randomUUID());
  field.value = localStorage.getItem('browser');
}, true);
const { browser } = document.body.dataset;
if (browser !== undefined && browser !== (localStorage.getItem('browser') ?? '')) {
  document.querySelectorAll('header.top, #side, #search').forEach(part => part.remove());
  document.getElementById('page').replaceChildren(document.getElementById('swapped').content);
}

// -- Ask before what cannot be undone. The dialog is outside the live part, which may change under it: what was asked about is done, and
// nothing that has taken its place.
const dialog = document.getElementById('confirm');
let confirmed;

function meaning(form) {
  const values = new FormData(form);
  values.delete('csrf_token');
  return `${form.getAttribute('action')} ${new URLSearchParams(values)}`;
}
document.addEventListener('submit', event => event.target.closest('[popover]')?.hidePopover(), true);
document.addEventListener('submit', event => {
  const form = event.target;
  if (!form.dataset.confirm || form === confirmed) { confirmed = undefined; return; }
  event.preventDefault();
  event.stopImmediatePropagation();
  const asked = meaning(form);
  document.getElementById('confirm-title').textContent = form.dataset.confirmTitle;
  document.getElementById('confirm-text').textContent = form.dataset.confirm;
  document.getElementById('confirm-yes').textContent = form.dataset.confirmButton;
  dialog.returnValue = '';
  dialog.onclose = () => {
    if (dialog.returnValue !== 'yes') return;
    confirmed = [form, ...document.querySelectorAll('form[data-confirm]')].find(one => one.isConnected && meaning(one) === asked);
    if (confirmed) confirmed.requestSubmit();
    else complain(inLanguage('That is not there any more, or has changed meanwhile. Nothing was done.'));
  };
  dialog.showModal();
}, true);

// -- Time left, counted down between two answers of the server, by the server's clock.
const skew = Date.parse(document.body.dataset.now) - Date.now();

function words(seconds) {
  if (seconds <= 0) return '0 s';
  const [d, h, m] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (d) return h ? `${d} d ${h} h` : `${d} d`;
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  if (m >= 10) return `${m} min`;
  return m ? `${m} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

function tick() {
  const now = Date.now() + skew;
  for (const element of document.querySelectorAll('[data-ends]')) {
    const left = (Date.parse(element.dataset.ends) - now) / 1000;
    element.textContent = words(left);
    element.closest('[data-lease]')?.classList.toggle('ends-soon', left < 1800);
  }
  for (const element of document.querySelectorAll('[data-since]')) element.textContent = words((now - Date.parse(element.dataset.since)) / 1000);
}
// Nothing moves under what is being pressed.
const isPressed = () => document.querySelector(':active') !== null;
setInterval(() => isPressed() || tick(), 1000);
document.addEventListener('htmx:after:swap', tick);

// -- What is about to end is told in the tab's title and, if that was asked for, by the browser: the page is often behind others.
const title = document.title, told = new Set();
const worker = navigator.serviceWorker?.register('/service-worker.js').catch(() => undefined); // refused where the certificate is not trusted

async function notify(text) {
  try {
    new Notification(text, { tag: text }).onclick = () => window.focus();
  } catch { // phones have no other way than this; the title has it in any case
    await (await worker)?.showNotification(text, { tag: text }).catch(() => undefined);
  }
}

function announce() {
  const soon = [...document.querySelectorAll('[data-soon]')].map(element => element.dataset.soon);
  document.title = soon.length ? `(${soon.length}) ${soon[0]}` : title;
  const ask = document.querySelector('[data-notify]');
  if (!('Notification' in window)) return;
  if (ask) ask.hidden = Notification.permission !== 'default';
  if (Notification.permission !== 'granted') return;
  for (const text of soon) {
    if (told.has(text)) continue;
    told.add(text);
    notify(text);
  }
}
document.addEventListener('click', event => { if (event.target.closest('[data-notify]')) Notification.requestPermission().then(announce); });
document.addEventListener('htmx:after:swap', announce);
announce();

const mayMove = !isPressed(); // else somebody was faster than this script
if (mayMove) for (const here of document.querySelectorAll(':is(.nav-strip, .side, .sections) > [aria-current], .side [aria-current]')) here.scrollIntoView({ inline: 'center', block: 'nearest' });
const target = document.getElementById(location.hash.slice(1)); // an anchor of before leads on to the section that has it now
if (target?.matches('.sections a')) location.replace(target.href);

// -- After a form the same page is where it was, unless it says what is wrong, which has the focus, or leads to a part of it.
document.addEventListener('submit', event => {
  if (!event.defaultPrevented && event.target.method === 'post') sessionStorage.setItem('place', JSON.stringify([location.pathname, scrollY]));
});
const [place, down] = JSON.parse(sessionStorage.getItem('place') ?? '[]');
sessionStorage.removeItem('place');
const { responseStatus = 200 } = performance.getEntriesByType('navigation')[0] ?? {};
if (mayMove && place === location.pathname && !location.hash && responseStatus < 400) scrollTo({ top: down, behavior: 'instant' });

// -- The navigation as a panel, where there is no room for it at the side: a dialog with the rest of the page behind it.
const side = document.getElementById('side');
function panel(open) {
  for (const rest of document.body.children) if (rest !== side) rest.inert = open;
  for (const [name, value] of [['role', 'dialog'], ['aria-modal', 'true'], ['aria-label', inLanguage('Menu')]]) open ? side.setAttribute(name, value) : side.removeAttribute(name);
}
side?.addEventListener('toggle', event => {
  if (event.newState !== 'open') return;
  panel(true);
  (side.querySelector('[aria-current]') ?? side.querySelector('a')).focus();
});
side?.addEventListener('beforetoggle', event => { if (event.newState === 'closed') panel(false); }); // before the focus goes back
matchMedia('(min-width: 992px)').addEventListener('change', () => side?.matches(':popover-open') && side.hidePopover());

// -- A log that is read at its end stays there while it grows.
let atEnd = true;
const log = () => document.querySelector('pre.log');
document.addEventListener('htmx:before:swap', () => {
  const box = log();
  atEnd = !box || box.scrollTop + box.clientHeight >= box.scrollHeight - 40;
});
const toEnd = () => { const box = log(); if (box && atEnd) box.scrollTop = box.scrollHeight; };
document.addEventListener('htmx:after:swap', toEnd);
toEnd();

// -- What is being read or written in the live part stays as it is when that is renewed.
let opened = [], written = [];
document.addEventListener('htmx:before:swap', () => {
  opened = [...document.querySelectorAll('#live details[id][open]')].map(box => box.id);
  written = [...document.querySelectorAll('#live :is(textarea, input[type=number])[id]')].filter(box => box.value !== box.defaultValue).map(box => [box.id, box.value]);
});
document.addEventListener('htmx:after:swap', () => {
  for (const id of opened) document.getElementById(id)?.setAttribute('open', '');
  for (const [id, text] of written) {
    const box = document.getElementById(id);
    if (box && box.value === box.defaultValue) box.value = text;
  }
});

// -- Messages go away by themselves or when told to; bad news stays, and so does what leads somewhere.
document.addEventListener('click', event => event.target.closest('[data-dismiss]')?.parentElement.remove());
const leave = line => (isPressed() ? setTimeout(leave, 200, line) : line.remove());
const fade = line => line.querySelector('a') ?? setTimeout(leave, 7000, line);
const messages = document.getElementById('messages');
messages.querySelectorAll('.toast-success').forEach(fade);
new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(node => {
  if (node.classList?.contains('toast-success')) fade(node);
}))).observe(messages, { childList: true });
function complain(text) {
  if (document.querySelector('.toast-offline')) return;
  const line = document.createElement('div');
  line.className = 'toast-line toast-success toast-offline';
  line.textContent = text;
  messages.append(line);
}
document.addEventListener('htmx:error', ({ detail: { ctx } }) => {
  if (ctx && ctx.request?.method !== 'GET') complain(inLanguage('The appliance does not answer. Look whether it was done, then try again.'));
});

// -- A password that nobody can guess, from letters nobody confuses.
document.addEventListener('click', event => {
  const button = event.target.closest('[data-generate]');
  if (button) {
    const letters = 'abcdefghjkmnpqrstuvwxyz23456789';
    const field = document.getElementById(button.dataset.generate);
    const random = crypto.getRandomValues(new Uint32Array(16));
    field.type = 'text';
    field.value = Array.from(random, (number, at) => (at && at % 4 === 0 ? '-' : '') + letters[number % letters.length]).join('');
    field.select();
  }
  const eye = event.target.closest('[data-reveal]');
  if (eye) {
    const field = document.getElementById(eye.dataset.reveal);
    field.type = field.type === 'password' ? 'text' : 'password';
    eye.setAttribute('aria-pressed', field.type === 'text');
  }
});

// -- What is shown only once can be copied or printed.
document.addEventListener('click', async event => {
  const button = event.target.closest('[data-copy]');
  if (button) {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.lastChild.textContent = inLanguage('Copied');
  }
  if (event.target.closest('[data-print]')) print();
});

// -- What a link for setting a password ends with goes into the form, and out of the address and the history.
const linkField = document.querySelector('[data-link-field]');
const ending = location.hash.slice(1).replace(/%3A/i, ':');
if (linkField && ending.includes(':')) {
  const name = document.querySelector('[data-link-name]');
  linkField.querySelector('input').value = ending;
  linkField.hidden = true;
  name.hidden = false;
  [name.querySelector('input').value] = ending.split(':');
  history.replaceState(null, '', location.pathname);
}

// -- What was typed and not sent is not lost by going elsewhere: the browser asks first. What was refused, or only
// looked at, counts as typed; what is put back does not.
let typed = document.querySelector('form[data-unsaved]') ?? undefined;
const differs = field => {
  if (field.options) return field.selectedIndex !== Math.max(0, [...field.options].findIndex(option => option.defaultSelected));
  return ['checkbox', 'radio'].includes(field.type) ? field.checked !== field.defaultChecked : 'defaultValue' in field && field.value !== field.defaultValue;
};
document.addEventListener('input', event => {
  const { form } = event.target;
  if (document.body.dataset.live && form?.method === 'post' && !form.closest('dialog, #list-bulk')) typed = form;
});
let sent = -Infinity;
addEventListener('submit', event => { if (!event.defaultPrevented || event.target.matches('[data-upload], [data-pieces]')) [typed, sent] = [undefined, performance.now()]; });
// Nor what is on its way: a live part that learns just then that one is signed out leads nowhere, the answer to the form does.
document.addEventListener('htmx:before:response', event => {
  if (performance.now() - sent < 60000 && event.detail.ctx.response.raw.headers.has('HX-Redirect')) event.preventDefault();
});
addEventListener('beforeunload', event => {
  if (typed?.isConnected && (typed.dataset.unsaved !== undefined || typed.querySelector('.is-invalid') || [...typed.elements].some(differs))) event.preventDefault();
});

// -- A list has its address while it is narrowed: it can be bookmarked, reloaded and come back to. What the page asked for before that, and comes
// after it, is what it showed then.
const query = address => String(new URL(address, location.href).searchParams);
const shown = () => document.getElementById('list-filter') && document.getElementById('live').getAttribute('hx-get');
document.addEventListener('htmx:before:swap', event => {
  const { sourceElement, request } = event.detail.ctx;
  if (sourceElement.id !== 'live' || !shown() || query(request.action) === query(shown())) return;
  event.preventDefault();
  document.body.dispatchEvent(new CustomEvent('changed'));
});
document.addEventListener('htmx:after:swap', () => {
  if (shown() && query(shown()) !== query(location.href)) history.replaceState(history.state, '', shown());
});

// -- Pictures of screens: the server takes few at a time, and whoever was turned away asks again, later each time, until it shows one.
const asked = new WeakMap();
function again(image) {
  const times = (asked.get(image) ?? 0) + 1;
  asked.set(image, times);
  if (times < 6) setTimeout(() => { if (image.isConnected) image.src = image.src; }, 1000 * times * (1 + Math.random()));
}
document.addEventListener('error', event => { if (event.target.matches?.('.screen-picture img')) again(event.target); }, true);
for (const image of document.querySelectorAll('.screen-picture img')) if (image.complete && image.currentSrc && !image.naturalWidth) again(image);

// -- Something is done to many rows in pieces, with a bar. The form itself sends the last one, with what became of the others; and all
// that are left, where a piece is not answered.
const PIECE = 25;
document.addEventListener('submit', async event => {
  const form = event.target;
  if (event.defaultPrevented || !form.matches('[data-pieces]')) return;
  const rows = [...form.querySelectorAll('[name=id]')], bar = form.querySelector('progress'), before = { done: 0, refused: [] };
  if (rows.length <= PIECE) return;
  event.preventDefault();
  bar.max = rows.length;
  bar.value = 0;
  bar.hidden = !(form.querySelector('.row-line').hidden = true);
  while (rows.length > PIECE) {
    const piece = rows.splice(0, PIECE), body = new FormData(form);
    body.delete('id');
    for (const row of piece) body.append('id', row.value);
    const answer = await fetch(form.action, { method: 'POST', body, headers: { Accept: 'application/json' } }).catch(() => undefined);
    const said = answer?.ok && await answer.json().catch(() => undefined);
    if (!said) break;
    for (const row of piece) row.remove();
    before.done += said.done;
    before.refused.push(...said.refused);
    bar.value += piece.length;
  }
  form.elements.before.value = JSON.stringify(before);
  form.submit();
});

// -- A list's rows: all of the page selected at once, and how many are.
const picks = () => [...document.querySelectorAll('input[form="list-bulk"][name="id"]')];
function count() {
  const all = document.querySelector('[data-select-all]');
  if (!all) return;
  const boxes = picks(), chosen = boxes.filter(box => box.checked).length;
  all.checked = chosen > 0 && chosen === boxes.length;
  all.indeterminate = chosen > 0 && chosen < boxes.length;
  const every = document.querySelector('[data-select-every]')?.checked;
  for (const box of [all, ...boxes]) box.disabled = Boolean(every);
  document.querySelector('[data-selected]').textContent = chosen && !every ? inLanguage('%(number)s selected').replace('%(number)s', chosen) : '';
}
document.addEventListener('change', event => {
  if (event.target.matches('[data-select-all]')) for (const box of picks()) box.checked = event.target.checked;
  count();
});
let ticked = [], every, to;
document.addEventListener('htmx:before:swap', () => {
  ticked = picks().filter(box => box.checked).map(box => box.id);
  every = document.querySelector('[data-select-every]')?.checked;
  to = document.getElementById('list-to')?.value;
});
document.addEventListener('htmx:after:swap', () => {
  for (const box of picks()) box.checked = ticked.includes(box.id);
  const rest = document.querySelector('[data-select-every]');
  if (rest) rest.checked = Boolean(every);
  const choices = document.getElementById('list-to');
  if (choices && [...choices.options].some(option => option.value === to)) choices.value = to;
  count();
});
count();
