// Comboboxes: a field, and the list of what the server found for it; the focus stays in the field. One is the search of every page,
// in a dialog that Ctrl-K or / opens; others are fields that take a name. Without this script the first is a page, the others plain fields.
const dialog = document.getElementById('search');
const list = input => document.getElementById(input.getAttribute('aria-controls'));
const options = input => [...list(input).querySelectorAll('[role=option]:not([aria-disabled])')];
let waiting; // Enter came before what was found

function mark(input, option) {
  for (const one of options(input)) one.setAttribute('aria-selected', one === option);
  if (option) input.setAttribute('aria-activedescendant', option.id);
  else input.removeAttribute('aria-activedescendant');
  option?.scrollIntoView({ block: 'nearest' });
}

function show(input, open) {
  list(input).hidden = !open;
  input.setAttribute('aria-expanded', open);
  if (!open) mark(input);
}

function choose(input, option) {
  if (option.dataset.value === undefined) {
    option.click();
    return;
  }
  const several = 'several' in input.dataset;
  input.value = several ? `${input.value.replace(/[^\s,]*$/, '')}${option.dataset.value} ` : option.dataset.value;
  show(input, false);
  input.dispatchEvent(new Event('change', { bubbles: true }));
}

function search() {
  const input = dialog.querySelector('input');
  dialog.showModal();
  input.focus();
  input.select();
}

// Whether the list is about what stands in the field now.
const isFresh = input => !dialog?.contains(input) || (list(input).firstElementChild?.dataset.text ?? '') === input.value.trim().replace(/\s+/g, ' ').slice(0, 100);

document.addEventListener('keydown', event => {
  const typing = event.target.closest('input, textarea, select, [contenteditable]');
  const asked = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === 'k';
  if (dialog && (asked || (event.key === '/' && !event.ctrlKey && !event.metaKey && !event.altKey && !typing))) {
    event.preventDefault();
    if (!document.querySelector('dialog[open]')) search();
    return;
  }
  const input = event.target.closest('[role=combobox]');
  if (!input || event.isComposing) return;
  const all = options(input), at = all.findIndex(one => one.id === input.getAttribute('aria-activedescendant'));
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && all.length) {
    event.preventDefault();
    show(input, true);
    mark(input, all[at < 0 ? (step > 0 ? 0 : all.length - 1) : (at + step + all.length) % all.length]);
  } else if (event.key === 'Enter' && !isFresh(input)) {
    event.preventDefault();
    waiting = input;
  } else if (event.key === 'Enter' && all[at] && !list(input).hidden) {
    event.preventDefault();
    choose(input, all[at]);
  } else if (event.key === 'Escape' && input.closest('.lookup') && !list(input).hidden) {
    event.preventDefault();
    show(input, false);
  }
});

document.addEventListener('htmx:after:swap', event => {
  const input = event.target.closest?.('[role=combobox]');
  if (!input) return;
  show(input, list(input).childElementCount > 0 && document.activeElement === input);
  if (dialog?.contains(input)) mark(input, options(input)[0]);
  const enter = waiting === input && isFresh(input);
  if (enter) waiting = undefined;
  if (enter && options(input).length) choose(input, options(input)[0]);
});

document.addEventListener('pointerdown', event => { if (event.target.closest('.lookup-list')) event.preventDefault(); }); // the field keeps the focus
document.addEventListener('click', event => {
  if (event.target.closest('[data-search-open]') && dialog && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    search();
  }
  if (dialog && (event.target === dialog || event.target.closest('#search [role=option]'))) dialog.close();
  const option = event.target.closest('.lookup-list [role=option]');
  if (option) choose(option.closest('.lookup').querySelector('[role=combobox]'), option);
});
document.addEventListener('focusout', event => { if (event.target.closest('.lookup [role=combobox]')) show(event.target, false); });

// Names that were copied a line each stay apart.
document.addEventListener('paste', event => {
  const input = event.target.closest('[data-several]');
  const text = event.clipboardData?.getData('text');
  if (!input || !text?.includes('\n')) return;
  event.preventDefault();
  input.setRangeText(text.replace(/\s+/g, ' '), input.selectionStart, input.selectionEnd, 'end');
});
