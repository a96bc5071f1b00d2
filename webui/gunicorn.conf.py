"""How dpe-web serves: one process of threads, because a live page holds one (see live.py) and the catalog's writers queue inside a process.

Where to listen is up to whoever starts it.
"""

from typing import Any

wsgi_app = "webui:create_app()"
workers = 1
worker_class = "webui.worker.Worker"
# Enough for all streams, all who wait for others, and the few that are worked on; tests/unit/webui/test_concurrency_limit.py counts.
threads = 160
worker_connections = 4000
timeout = 60
graceful_timeout = 3
keepalive = 30
# nginx bounds what comes, and answers what is beyond that in words of ours (access/nginx.py); here nothing of it may be too much.
limit_request_line = 0
limit_request_field_size = 128 << 10
limit_request_fields = 32768
control_socket_disable = True
worker_tmp_dir = "/dev/shm"  # noqa: S108 - the heartbeat file must never wait for a disk
forwarded_allow_ips = "*"  # only the front door reaches the socket


def post_worker_init(worker: Any) -> None:
    """Live streams end as soon as the server is told to stop, so that stopping takes no time. The catalog stays open."""
    import logging

    from appliance import tracing
    from appliance.catalog import database
    from webui.live import hub

    tracing.log_to_stderr(logging.WARNING)
    hub.stopping = lambda: not worker.alive
    worker.catalog = database.stay()
