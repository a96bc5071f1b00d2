// Shows a page of ours when the appliance cannot be reached. It keeps nothing else: what a page shows is as it is now, or not at all.
const CACHE = 'offline-2', PAGE = '/offline', STYLE = '/static/css/offline.css';

self.addEventListener('install', event => {
  const all = [PAGE, STYLE].map(one => new Request(one, { cache: 'reload', credentials: 'omit' }));
  event.waitUntil(caches.open(CACHE).then(cache => cache.addAll(all)).then(() => self.skipWaiting()));
});

self.addEventListener('activate', event => {
  event.waitUntil(
    caches.keys().then(names => Promise.all(names.filter(name => name !== CACHE).map(name => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener('fetch', event => {
  if (new URL(event.request.url).pathname === STYLE) {
    event.respondWith(fetch(event.request).catch(() => caches.match(STYLE)));
    return;
  }
  // What a form sent stays the browser's: reloaded, it is sent again, and nothing is lost.
  if (event.request.mode !== 'navigate' || event.request.method !== 'GET') return;
  const ask = () => fetch(event.request);
  event.respondWith(ask().catch(ask).catch(() => caches.match(PAGE))); // a network that changes right then breaks off what is on its way
});

self.addEventListener('notificationclick', event => {
  event.notification.close();
  event.waitUntil(self.clients.matchAll({ type: 'window' }).then(open => open[0] ? open[0].focus() : self.clients.openWindow('/')));
});
