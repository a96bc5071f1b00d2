// One stream a tab. It says "changed", and the live part of the page (see base.html) asks for itself again.
// Where there is no stream to be had, the page asks every few seconds instead.
const POLL = 5000;
const TRY_AGAIN = 60000;
const HIDDEN_FOR = 20000;

const address = document.body.dataset.live;
const dot = document.getElementById('live-dot');
const words = document.getElementById('live-words');
let stream, poll, retry, hiding;

// The server ends the stream of the page that this tab showed before. A duplicated tab has the same name until it is told.
const rename = () => sessionStorage.setItem('tab', crypto.randomUUID());
if (!sessionStorage.getItem('tab')) rename();

const changed = () => document.body.dispatchEvent(new CustomEvent('changed'));

function show(state, text) {
  if (dot.dataset.state === state) return;
  dot.hidden = false;
  dot.dataset.state = state;
  dot.title = text;
  words.textContent = state === 'live' ? '' : text;
}

function stop() {
  stream?.close();
  stream = undefined;
  clearInterval(poll);
  clearTimeout(retry);
}

function start() {
  stop();
  let opened = false;
  stream = new EventSource(`${address}&tab=${sessionStorage.getItem('tab')}`);
  stream.onopen = () => {
    if (opened) changed(); // something may have happened between two streams; before the first one, the server knows
    opened = true;
    clearInterval(poll);
    show('live', inLanguage('This page is live'));
  };
  stream.onmessage = changed;
  stream.addEventListener('superseded', () => { rename(); start(); });
  stream.onerror = () => {
    if (stream.readyState !== EventSource.CLOSED) {
      if (!opened) show('lost', inLanguage('The appliance does not answer; trying again'));
      return;
    }
    show('polling', inLanguage('This page is renewed every few seconds'));
    if (!opened) changed(); // the session may have ended meanwhile
    clearInterval(poll);
    poll = setInterval(changed, POLL);
    retry = setTimeout(start, TRY_AGAIN);
  };
}

if (address && document.querySelector('#live[hx-get]')) {
  start();
  document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(stop, HIDDEN_FOR);
    else if (!stream) { start(); changed(); }
  });
  addEventListener('pagehide', stop);
  addEventListener('pageshow', event => { if (event.persisted) { start(); changed(); } });
}
