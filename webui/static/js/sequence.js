// Moving the activities of a sequence by dragging, and with Alt and the arrow keys. Buttons do the same without this.
const form = () => document.getElementById('drag');
let dragged;

function send(step, list, number) {
  const values = { move: step.dataset.move, part: step.dataset.part, number: step.dataset.number, to_move: list.dataset.move, to_part: list.dataset.part, to_number: number };
  for (const [name, value] of Object.entries(values)) form().elements[name].value = value;
  form().requestSubmit();
}

// Where in the list the pointer is: before the first step whose middle lies below it.
function place(list, y) {
  const others = [...list.querySelectorAll('[data-step]')].filter(step => step !== dragged);
  const at = others.findIndex(step => { const box = step.getBoundingClientRect(); return y < box.top + box.height / 2; });
  return at < 0 ? others.length : at;
}

document.addEventListener('dragstart', event => {
  dragged = event.target.closest?.('[data-step]');
  if (!dragged) return;
  event.dataTransfer.effectAllowed = 'move';
  event.dataTransfer.setData('text/plain', dragged.id);
  dragged.classList.add('step-dragged');
});
document.addEventListener('dragover', event => {
  const list = dragged && event.target.closest('[data-list]');
  for (const other of document.querySelectorAll('.steps-over')) if (other !== list) other.classList.remove('steps-over');
  if (!list) return;
  event.preventDefault();
  list.classList.add('steps-over');
});
document.addEventListener('drop', event => {
  const list = dragged && event.target.closest('[data-list]');
  if (!list) return;
  event.preventDefault();
  const number = place(list, event.clientY);
  const same = list.dataset.move === dragged.dataset.move && list.dataset.part === dragged.dataset.part;
  if (!same || number !== Number(dragged.dataset.number)) send(dragged, list, number);
});
document.addEventListener('dragend', () => {
  dragged?.classList.remove('step-dragged');
  for (const list of document.querySelectorAll('.steps-over')) list.classList.remove('steps-over');
  dragged = undefined;
});

document.addEventListener('keydown', event => {
  const step = event.altKey && ['ArrowUp', 'ArrowDown'].includes(event.key) && event.target.closest?.('[data-step]');
  if (!step) return;
  const button = step.querySelector(`button[id^="${event.key === 'ArrowUp' ? 'arrow-up' : 'arrow-down'}-"]`);
  if (button.disabled) return;
  event.preventDefault();
  button.click();
});
