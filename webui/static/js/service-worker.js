// Shows a page of ours when the appliance cannot be reached. It keeps nothing else: what a page shows is as it is now, or not at all.
const CACHE = 'offline-1', PAGE = '/offline';

self.addEventListener('install', event => {
  event.waitUntil(caches.open(CACHE).then(cache => cache.add(new Request(PAGE, { cache: 'reload', credentials: 'omit' }))).then(() => self.skipWaiting()));
});

self.addEventListener('activate', event => {
  event.waitUntil(
    caches.keys().then(names => Promise.all(names.filter(name => name !== CACHE).map(name => caches.delete(name)))).then(() => self.clients.claim()));
});

self.addEventListener('fetch', event => {
  // What a form sent stays the browser's: reloaded, it is sent again, and nothing is lost.
  if (event.request.mode !== 'navigate' || event.request.method !== 'GET') return;
  const ask = () => fetch(event.request);
  event.respondWith(ask().catch(ask).catch(() => caches.match(PAGE))); // a network that changes right then breaks off what is on its way
});

self.addEventListener('notificationclick', event => {
  event.notification.close();
  event.waitUntil(self.clients.matchAll({ type: 'window' }).then(open => open[0] ? open[0].focus() : self.clients.openWindow('/')));
});
