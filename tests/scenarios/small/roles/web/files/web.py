"""A web application as small as one can be: it shows what reached it, and echoes over a WebSocket.

GET /         a page with the machine's name and owner
GET /ready    204
GET /facts    JSON: hostname, machine_id, boot_id, owner, account (its line in passwd), keys
GET /headers  JSON: the request's headers as they arrived, names in lower case
GET /cookie   sets the cookies given in the query, one Set-Cookie each: /cookie?__Host-session=stolen&mine=1
GET /ws       WebSocket: sends every text frame back

Sockets and threads only: importing Python's own web server takes seconds under emulation.
"""

import json
import socket
import struct
import threading

PORT = 8080


def read(path):
    try:
        with open(path) as file:  # noqa: PTH123  pathlib would be imported for it
            return file.read().strip()
    except OSError:
        return ""


def facts():
    return {
        "hostname": socket.gethostname(),
        "machine_id": read("/etc/machine-id"),
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "owner": json.loads(read("/run/dpe/owner.json") or "null"),
        "account": next((line for line in read("/etc/passwd").splitlines() if ":/home/" in line), ""),
        "keys": read("/home/user/.ssh/authorized_keys").splitlines(),
    }


def page():
    escape = lambda text: str(text).replace("&", "&amp;").replace("<", "&lt;")  # noqa: E731
    known = facts()
    return f"<!doctype html><title>Small machine</title><h1>{escape(known['hostname'])}</h1><p>Owner: <b>{escape(known['owner'])}</b></p>"


def answer(stream, status, kind, body, extra=()):
    body = body.encode()
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *extra, "", ""]
    stream.write("\r\n".join(lines).encode() + body)
    stream.flush()


def websocket(stream, headers):
    from base64 import b64encode
    from hashlib import sha1

    key = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = b64encode(sha1(key.encode()).digest()).decode()
    stream.write(
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    stream.flush()
    while len(head := stream.read(2)) == 2:
        length = head[1] & 127
        if length == 126:
            (length,) = struct.unpack("!H", stream.read(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", stream.read(8))
        mask = stream.read(4)
        data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(stream.read(length)))
        size = bytes([length]) if length < 126 else struct.pack("!BH", 126, length) if length < 65536 else struct.pack("!BQ", 127, length)
        stream.write(head[:1] + size + data)
        stream.flush()
        if head[0] & 15 == 8:
            return


def serve(connection):
    with connection, connection.makefile("rwb") as stream:
        try:
            path = stream.readline().decode("latin-1").split()[1]
            headers = {}
            while line := stream.readline().decode("latin-1").strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            if path == "/ready":
                answer(stream, "204 No Content", "text/plain", "")
            elif path == "/facts":
                answer(stream, "200 OK", "application/json", json.dumps(facts()))
            elif path == "/headers":
                answer(stream, "200 OK", "application/json", json.dumps(headers))
            elif path.startswith("/cookie?"):
                cookies = [f"Set-Cookie: {pair}; Path=/; Secure" for pair in path[8:].split("&")]
                answer(stream, "200 OK", "text/plain", "set", cookies)
            elif path == "/ws" and "sec-websocket-key" in headers:
                websocket(stream, headers)
            elif path == "/":
                answer(stream, "200 OK", "text/html; charset=utf-8", page())
            else:
                answer(stream, "404 Not Found", "text/plain", "not here")
        except (OSError, IndexError):
            pass  # the other side went away, or spoke no HTTP


def main():
    with socket.create_server(("0.0.0.0", PORT), backlog=64) as server:
        while True:
            connection, _ = server.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
