"""gunicorn's worker of threads, with some that answer nothing but the front door's question.

However many pages wait for a thread, the applications of all machines stand behind that question.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from appliance.access.nginx import DOOR_SOCKET

THREADS = 4  # for the door's question; a few, because Python runs one at a time


class Worker(ThreadWorker):  # type: ignore[misc]
    """What comes in through the door's own socket is answered by the door's own threads."""

    def init_process(self) -> None:
        self.door = ThreadPoolExecutor(THREADS, "door")
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        pool = self.door if str(conn.server).endswith(DOOR_SOCKET) else self.tpool
        answered = pool.submit(self.handle, conn)
        answered.add_done_callback(lambda future: self.method_queue.defer(self.finish_request, conn, future))
