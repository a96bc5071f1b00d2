// A large file is sent with its progress shown; without this script the form does it alone.
document.addEventListener('submit', event => {
  const form = event.target.closest('form[data-upload]');
  if (!form) return;
  event.preventDefault();
  const file = form.querySelector('input[type=file]').files[0];
  const [button, box, trouble] = [form.querySelector('button'), form.querySelector('.upload-progress'), form.querySelector('[role=alert]')];
  const [bar, words] = [box.querySelector('progress'), box.querySelector('p')];
  const mib = size => Math.round(size / 1048576);
  const ended = (message, hint) => {
    button.disabled = false;
    box.hidden = true;
    trouble.hidden = false;
    trouble.replaceChildren(Object.assign(document.createElement('strong'), { textContent: message }), ` ${hint}`);
    window.onbeforeunload = null;
  };
  const call = new XMLHttpRequest();
  call.open('POST', form.action);
  call.setRequestHeader('Content-Type', 'application/octet-stream');
  call.setRequestHeader('X-CSRFToken', form.elements.csrf_token.value);
  call.upload.onprogress = ({ loaded, total }) => {
    bar.value = 100 * loaded / total;
    words.textContent = loaded < total ? 
      inLanguage('%(loaded)s of %(total)s MiB are sent. Keep this page open.').replace('%(loaded)s', mib(loaded)).replace('%(total)s', mib(total)) :
      inLanguage('All is sent. It is being checked …');
  };
  call.onload = () => {
    let answer = {};
    try { answer = JSON.parse(call.responseText); } catch { /* a page of the front door */ }
    if (call.status === 200 && answer.there) {
      window.onbeforeunload = null;
      location.assign(answer.there);
    } else ended(answer.message || inLanguage('The file could not be sent.'), answer.hint || inLanguage('Reload the page and try again.'));
  };
  call.onerror = () => ended(inLanguage('The connection was lost.'), inLanguage('Send it again.'));
  window.onbeforeunload = () => true;
  button.disabled = true;
  trouble.hidden = true;
  box.hidden = false;
  words.textContent = inLanguage('Sending …');
  call.send(file);
});
