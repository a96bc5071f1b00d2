"""`python -m webui.rescue`: the rescue page on waitress, on the socket that systemd, or whoever started it, opened for it."""

import argparse
import logging
import os
import signal
import socket
import sys

from waitress.server import create_server

from webui.rescue import create_rescue, memory

THREADS = 4
FIRST = 3  # the first file descriptor that systemd passes (sd_listen_fds(3))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(prog="webui.rescue", description=__doc__)
    parser.add_argument("--fd", type=int, default=FIRST if os.environ.get("LISTEN_FDS") else None, help="number of the socket that is open")
    fd = parser.parse_args().fd
    if fd is None:
        parser.error("no socket was passed: systemd does it, elsewhere --fd says its number")
    server = create_server(
        create_rescue(memory=memory()),
        sockets=[socket.socket(fileno=fd)],
        threads=THREADS,
        ident="",
        # Only the front door reaches the socket, and it overwrites these headers.
        clear_untrusted_proxy_headers=False,
    )
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: sys.exit(0))
    logging.getLogger("webui.rescue").info("the rescue page listens")
    server.run()


if __name__ == "__main__":
    main()
