// A press is never lost: a pointer or a key goes down and up again on the same thing, so parts of the page are put in only while nothing is
// held; and what a person sends ends before the page renews itself, with buttons that cannot be pressed meanwhile, and is not sent twice.
const CLICK = 300; // milliseconds in which a click follows a finger that was lifted
let held, letGo, lifted, dragging = false;

function hold() {
  clearTimeout(lifted);
  held ??= new Promise(done => { letGo = done; });
}
function release() {
  clearTimeout(lifted);
  letGo?.();
  held = letGo = undefined;
  dragging = false;
}
function lift(delay) {
  clearTimeout(lifted);
  if (held) lifted = setTimeout(release, delay);
}
const on = (names, act) => names.split(' ').forEach(name => addEventListener(name, act, { capture: true, passive: true }));
on('pointerdown', event => { if (!event.button) hold(); });
on('keydown', event => { if (event.key === ' ') hold(); }); // Enter clicks as it goes down
on('dragstart', () => { dragging = true; hold(); });
on('pointerup keyup', () => lift(CLICK));
on('click', event => { if (event.isTrusted) lift(0); }); // first comes what the click does
on('dragend', release);
on('pointercancel', () => dragging || release());
on('pointermove', event => { if (!event.buttons && event.pointerType === 'mouse' && !dragging) lift(CLICK); }); // it was let go of elsewhere
on('blur', event => { if (event.target === window) release(); });

// -- What a person sent and is not answered yet, and when the last of it was.
const going = new Set();
let answered = -Infinity, ended = Promise.resolve(), end;

function enable(ctx) {
  for (const button of ctx.disabled ?? []) button.disabled = false;
  ctx.disabled = undefined;
}
document.addEventListener('htmx:before:request', ({ detail: { ctx } }) => {
  ctx.begun = performance.now();
  if (ctx.request.method === 'GET') return;
  if (!going.size) ended = new Promise(done => { end = done; });
  going.add(ctx);
  if (!['submit', 'click'].includes(ctx.sourceEvent.type)) return; // what is only looked at may be sent as well
  ctx.focused = document.activeElement;
  ctx.disabled = [...ctx.request.form?.elements ?? []].filter(one => one.type === 'submit' && !one.disabled);
  for (const button of ctx.disabled) button.disabled = true;
});
document.addEventListener('htmx:finally:request', ({ detail: { ctx } }) => {
  enable(ctx);
  if (going.delete(ctx) && !going.size) end();
  if (document.activeElement !== document.body || !ctx.focused) return; // a button that is disabled loses it
  (ctx.focused.isConnected ? ctx.focused : document.getElementById(ctx.focused.id))?.focus({ preventScroll: true });
});

// -- A form that leaves the page is sent once by a button; who presses it again after AGAIN, has stopped the page, or is back, means it.
const AGAIN = 10_000; // milliseconds
addEventListener('submit', event => {
  const form = event.target, by = event.submitter ?? form;
  if (event.defaultPrevented || form.method !== 'post') return;
  if (performance.now() - by.sentAt < AGAIN) event.preventDefault();
  else by.sentAt = performance.now();
});
function forget() {
  for (const form of document.forms) for (const one of [form, ...form.elements]) one.sentAt = undefined;
}
addEventListener('pageshow', forget);
on('keydown', event => { if (event.key === 'Escape') forget(); });

const swap = htmx.swap.bind(htmx);
htmx.swap = async ctx => {
  const mine = going.has(ctx);
  while (held || (!mine && going.size)) await (held ?? ended);
  if (ctx.target instanceof Element && !ctx.target.isConnected) return;
  if (mine) {
    enable(ctx); // before: the answer says what can be pressed
    answered = performance.now();
  } else if (ctx.sourceElement.id === 'live' && ctx.begun < answered) { // it was asked for before that, and may not know of it
    document.body.dispatchEvent(new CustomEvent('changed'));
    return;
  }
  await swap(ctx);
};
