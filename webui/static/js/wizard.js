// This browser's time zone, sums as they are typed, and the focus on the step that appears.
function wizard() {
  const form = document.getElementById('wizard');
  if (!form) return;
  const zone = form.querySelector('select[data-guess]');
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && zone.value === 'UTC' && [...zone.options].some(option => option.value === here)) zone.value = here;
  const show = size => (size < 1024 ? `${size} MiB` : `${Math.round(size / 102.4) / 10} GiB`);
  const sum = () => {
    let ready = 0;
    for (const row of form.querySelectorAll('[data-memory]')) {
      const [buffer, maximum] = [...row.querySelectorAll('input')].map(input => parseInt(input.value, 10) || 0);
      ready += buffer * row.dataset.memory;
      row.querySelector('[data-sum="buffer"]').textContent = show(buffer * row.dataset.memory);
      row.querySelector('[data-sum="maximum"]').textContent = show(maximum * row.dataset.memory);
    }
    const total = form.querySelector('[data-room]');
    if (!total) return;
    total.querySelector('[data-sum="ready"]').textContent = show(ready);
    total.querySelector('progress').value = ready;
    total.classList.toggle('too-much', ready > Number(total.dataset.room));
  };
  form.addEventListener('input', sum);
  sum();
}
wizard();
document.addEventListener('htmx:after:swap', event => {
  if (event.target.id !== 'wizard' && !document.getElementById('wizard')) return;
  wizard();
  const form = document.getElementById('wizard');
  const step = form?.querySelector(':scope > .card > fieldset:not([hidden])');
  (form?.querySelector('[autofocus]') || step?.querySelector('input:not([type=hidden]), select') || step?.querySelector('h1'))?.focus();
});
