"""What sshd calls to know what a key is good for: `keys.py SOCKET TYPE BASE64` (AuthorizedKeysCommand of sshd_config(5)).

It asks whoever listens at the socket, prints the answer, and imports nothing of ours: sshd starts it for each key that somebody shows.
"""

import socket
import sys

PATIENCE = 10.0  # seconds

with socket.socket(socket.AF_UNIX) as asked:
    asked.settimeout(PATIENCE)
    asked.connect(sys.argv[1])
    asked.sendall(f"{sys.argv[2]} {sys.argv[3]}\n".encode())
    while answer := asked.recv(65536):
        sys.stdout.buffer.write(answer)
