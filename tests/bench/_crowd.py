"""Programs beside the portal, in a process of their own, so that what they cost here is not measured: some listen to events, some poll their machines.

Standard input is JSON: `port`, `certificate`, `listening` and `polling` (tokens, one for each program) and `pause` (seconds between two polls). It says
`there` when each has heard an event or polled once, and ends when standard input does; the last line has how many events were heard and answers were got.
"""

import asyncio
import json
import ssl
import sys
from typing import Any

STREAM = "/api/v1/admin/events/stream"
MACHINES = "/api/v1/machines"


class Crowd:
    """What all of them heard and got."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self.port, self.pause = asked["port"], asked["pause"]
        self.context = ssl.create_default_context(cafile=asked["certificate"])
        self.events = self.answers = 0

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self.context, server_hostname="127.0.0.1")

    def request(self, path: str, token: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()

    async def listen(self, token: str, begun: asyncio.Event) -> None:
        reader, writer = await self.connect()
        writer.write(self.request(STREAM, token))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        while line := await reader.readline():
            if line.startswith(b"id: "):
                self.events += 1
                begun.set()

    async def poll(self, token: str, begun: asyncio.Event, late: float) -> None:
        reader, writer = await self.connect()
        await asyncio.sleep(late)  # nobody's clocks are set by each other
        while True:
            writer.write(self.request(MACHINES, token))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            self.answers += 1
            begun.set()
            await asyncio.sleep(self.pause)


async def main(asked: dict[str, Any]) -> None:
    crowd = Crowd(asked)
    begun = [asyncio.Event() for _ in (*asked["listening"], *asked["polling"])]
    share = crowd.pause / max(1, len(asked["polling"]))
    tasks = [asyncio.create_task(crowd.listen(token, one)) for token, one in zip(asked["listening"], begun, strict=False)]
    polling = zip(asked["polling"], begun[len(tasks) :], strict=True)
    tasks += [asyncio.create_task(crowd.poll(token, one, number * share)) for number, (token, one) in enumerate(polling)]
    over = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    there = asyncio.gather(*(one.wait() for one in begun))
    await asyncio.wait([there, over, *tasks], return_when=asyncio.FIRST_COMPLETED)
    print("there", flush=True)
    ended, _ = await asyncio.wait([over, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for one in ended - {over}:
        one.result()
    assert ended == {over}, "a stream has ended"
    print(json.dumps({"events": crowd.events, "answers": crowd.answers}), flush=True)
    for one in tasks:
        one.cancel()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
