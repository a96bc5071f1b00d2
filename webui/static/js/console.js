// A machine's screen (noVNC) and serial line (xterm.js). Both come from the appliance, which relays what they say: appliance/console.
const box = document.getElementById('console');
const { machine, target, name } = box.dataset;
const desktop = target.startsWith('vnc/'); // it knows signs, where QEMU's screen knows the keys of a US keyboard
const part = what => box.querySelector(`[data-${what}]`);
const view = part('view'), typed = part('type');
const csrf = JSON.parse(document.body.getAttribute('hx-headers:inherited'));

// How dpe-console ends a connection: what does not come back by itself, and what may once somebody did something.
const OVER = [4001, 4003, 4008], GONE = [4002, 4004];
const SLOWEST = 15000;
let socket, shown, control = false, pause = 500, retry;

function say(text, busy = false) {
  part('state').textContent = inLanguage(text);
  box.querySelector('.spin').hidden = !busy;
  box.dataset.connected = text === 'Connected' || text === 'Watching';
}

function over(reason) {
  say('Not connected');
  part('reason').textContent = inLanguage(reason);
  part('over').hidden = false;
}

function later(why) {
  say(`${inLanguage(why)} ${inLanguage('Trying again …')}`, true);
  clearTimeout(retry);
  retry = setTimeout(connect, pause);
  pause = Math.min(pause * 2, SLOWEST);
}

async function ticket(takeOver) {
  const body = new URLSearchParams({ target, ...(takeOver ? { take_over: 'yes' } : {}) });
  const answer = await fetch(box.dataset.ticket, { method: 'POST', body, headers: { ...csrf, Accept: 'application/json' } });
  if (answer.ok) return answer.json();
  if (answer.status === 401 || answer.redirected) throw Object.assign(new Error('You are signed out.'), { final: true });
  const said = await answer.json().catch(() => ({ title: 'The appliance does not answer.', detail: '' }));
  throw Object.assign(new Error(`${said.title} ${said.detail ?? ''}`), { final: [403, 404].includes(answer.status) });
}

async function connect(takeOver = false) {
  clearTimeout(retry);
  part('over').hidden = true;
  say('Connecting …', true);
  let given;
  try {
    await shown.load(); // first: what a machine says as soon as it is connected must find somebody who listens
    given = await ticket(takeOver);
  } catch (error) {
    return error.final ? over(error.message) : later(error instanceof TypeError ? inLanguage('The appliance does not answer.') : error.message);
  }
  control = given.control;
  for (const button of box.querySelectorAll('[data-control]')) button.disabled = !control;
  if (part('watching')) part('watching').hidden = control;
  const opened = socket = new WebSocket(`wss://${location.host}/ws/${machine}/${target}?ticket=${encodeURIComponent(given.ticket)}`);
  opened.binaryType = 'arraybuffer';
  opened.addEventListener('close', event => {
    if (opened !== socket) return;
    shown.ended();
    if (OVER.includes(event.code)) over(event.reason || inLanguage('It has ended.'));
    else if (GONE.includes(event.code)) over(event.reason);
    else later(event.reason || inLanguage('The connection is lost.'));
  });
  shown.begin(opened);
}

function began() {
  pause = 500;
  if (control) say('Connected');
  else say('Watching');
}

// -- Typing by signs: which key of a US keyboard, and whether with Shift. The machine knows keys alone.
const KEYS = {};
for (const [plain, shifted, codes] of [
  ['`1234567890-=', '~!@#$%^&*()_+', 'Backquote Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal'],
  ['qwertyuiop[]\\', 'QWERTYUIOP{}|', 'KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight Backslash'],
  ['asdfghjkl;\'', 'ASDFGHJKL:"', 'KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote'],
  ['zxcvbnm,./ ', 'ZXCVBNM<>? ', 'KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash Space'],
]) {
  codes.split(' ').forEach((code, i) => { KEYS[plain[i]] = { code }; KEYS[shifted[i]] ??= { code, shift: true }; });
}
KEYS[' '] = { code: 'Space' };
KEYS['\n'] = { code: 'Enter', sym: 0xff0d };
KEYS['\t'] = { code: 'Tab', sym: 0xff09 };
KEYS['\b'] = { code: 'Backspace', sym: 0xff08 };
const SYMS = {
  ControlLeft: 0xffe3, AltLeft: 0xffe9, ShiftLeft: 0xffe1, Delete: 0xffff, Tab: 0xff09, Escape: 0xff1b, Enter: 0xff0d, ArrowUp: 0xff52,
  ArrowDown: 0xff54, KeyC: 0x63, F1: 0xffbe, F2: 0xffbf,
};

const BETWEEN_KEYS = 30;
// X11's number of a sign: Latin-1 as it is, all else by Unicode.
const keysym = sign => (sign.codePointAt(0) < 0x100 ? sign.codePointAt(0) : 0x1000000 + sign.codePointAt(0));

// -- The screen.
const screen = {
  async load() { this.RFB ??= (await import(box.dataset.novnc)).default; },
  begin(opened) {
    const rfb = this.rfb = new this.RFB(view, opened, { shared: true });
    rfb.viewOnly = !control;
    rfb.scaleViewport = part('scale').checked;
    rfb.clipViewport = !rfb.scaleViewport;
    rfb.resizeSession = control; // where the machine can; a text console cannot
    rfb.addEventListener('connect', () => { began(); rfb.focus({ preventScroll: true }); });
    rfb.addEventListener('securityfailure', () => over('The machine asks for a password of its own here.'));
    rfb.addEventListener('clipboard', event => navigator.clipboard?.writeText(event.detail.text).catch(() => {}));
  },
  ended() { this.rfb = undefined; view.replaceChildren(); },
  key(code, down) { this.rfb?.sendKey(SYMS[code] ?? 0, code, down); },
  press(codes) {
    for (const code of codes) this.key(code, true);
    for (const code of codes.toReversed()) this.key(code, false);
  },
  // One after the other: a keyboard remembers but a few keys that the machine has not taken yet.
  type(text) { this.typing = (this.typing ?? Promise.resolve()).then(() => this.typeSlowly(text)); },
  async typeSlowly(text) {
    const left = new Set();
    for (const sign of text.replaceAll('\r', '')) {
      const key = KEYS[sign] ?? (desktop && { sym: keysym(sign) });
      if (!key) { left.add(sign); continue; }
      if (key.shift) this.key('ShiftLeft', true);
      for (const down of [true, false]) this.rfb?.sendKey(key.sym ?? sign.codePointAt(0), key.code, down);
      if (key.shift) this.key('ShiftLeft', false);
      await new Promise(done => setTimeout(done, BETWEEN_KEYS));
    }
    if (left.size) say(`${inLanguage('Left out, as no US keyboard has it:')} ${[...left].join(' ')}`);
  },
  focus() { this.rfb?.focus({ preventScroll: true }); },
};

// -- The serial line. xterm.js writes its styles into elements and attributes, which the page's policy forbids; as style sheets of the document,
// and by property, they are let in.
const create = document.createElement.bind(document);
const MADE = {
  style() {
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets.push(sheet);
    return Object.defineProperty(create('span'), 'textContent', { set: text => sheet.replaceSync(text), get: () => '' });
  },
  span() {
    const made = create('span'), set = made.setAttribute.bind(made);
    made.setAttribute = (name, value) => (name === 'style' ? Object.assign(made.style, { cssText: value }) : set(name, value));
    return made;
  },
};
const COLUMNS = 80, ROWS = 24;
const fitting = () => Math.max(6, Math.min(15, Math.floor((view.clientWidth - 16) / COLUMNS / 0.62 * 10) / 10));

const serial = {
  async load() { this.Terminal ??= (await import(box.dataset.xterm)).Terminal; },
  begin(opened) {
    if (!this.terminal) {
      document.createElement = (tag, ...more) => (MADE[tag] ?? create)(tag, ...more);
      this.terminal = new this.Terminal({
        cols: COLUMNS, rows: ROWS, scrollback: 5000, fontSize: fitting(), screenReaderMode: true,
        fontFamily: 'ui-monospace, "DejaVu Sans Mono", monospace',
      });
      this.terminal.open(view);
      this.terminal.onData(data => this.send(data));
      new ResizeObserver(() => { this.terminal.options.fontSize = fitting(); }).observe(view);
    }
    opened.addEventListener('open', () => { this.terminal.reset(); began(); this.terminal.focus(); });
    opened.addEventListener('message', event => this.terminal.write(new Uint8Array(event.data)));
  },
  ended() {},
  send(data) { if (control && socket?.readyState === WebSocket.OPEN) socket.send(data); },
  type(text) { this.send(text.replaceAll('\r\n', '\r').replaceAll('\n', '\r').replaceAll('\b', '\x7f')); },
  focus() { this.terminal?.focus(); },
};

// -- What the page's buttons do.
const download = (href, file) => Object.assign(document.createElement('a'), { href, download: file }).click();
const menu = document.getElementById('keys'), form = part('paste');

box.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (!button) return;
  const { keys, code } = button.dataset;
  if (keys) screen.press(keys.split(' '));
  if (code) serial.send(String.fromCharCode(code));
  if (keys || code) shown.focus();
  if ('again' in button.dataset) { pause = 500; connect(); }
  if ('takeOver' in button.dataset) { const old = socket; socket = undefined; old?.close(); shown.ended(); connect(true); }
  if ('full' in button.dataset) document.fullscreenElement ? document.exitFullscreen() : box.requestFullscreen();
  if ('picture' in button.dataset && screen.rfb) download(screen.rfb.toDataURL('image/png'), `${name}.png`);
  if ('copy' in button.dataset) { navigator.clipboard.writeText(serial.terminal?.getSelection() ?? ''); shown.focus(); }
  if ('clipboard' in button.dataset) { screen.rfb?.clipboardPasteFrom(document.getElementById('pasted').value); form.hidePopover(); shown.focus(); }
  if ('keyboard' in button.dataset) { menu.hidePopover(); typed.focus(); }
});
form.addEventListener('submit', event => {
  event.preventDefault();
  const field = document.getElementById('pasted');
  shown.type(field.value);
  field.value = '';
  form.hidePopover();
  shown.focus();
});
part('scale')?.addEventListener('change', event => {
  if (screen.rfb) { screen.rfb.scaleViewport = event.target.checked; screen.rfb.clipViewport = !event.target.checked; }
});
// A phone's keyboard says what was written, not which key; it has something to delete, so that it says so, too.
const FILL = '  ';
typed.value = FILL;
typed.addEventListener('input', () => {
  shown.type(typed.value.length < FILL.length ? '\b' : typed.value.slice(FILL.length));
  typed.value = FILL;
});
typed.addEventListener('keydown', event => event.stopPropagation());
view.addEventListener('keydown', event => {
  if (!part('by-sign')?.checked || event.key.length !== 1 || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  screen.type(event.key);
}, true);

setInterval(async () => {
  if (document.hidden || box.dataset.connected !== 'true') return;
  const begun = performance.now();
  const answer = await fetch('/ws/ping', { cache: 'no-store' }).catch(() => undefined);
  part('latency').textContent = answer?.ok ? `${Math.round(performance.now() - begun)} ms` : '';
}, 4000);

shown = target === 'serial' ? serial : screen;
connect();
