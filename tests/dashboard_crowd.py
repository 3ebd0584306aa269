"""A crowd for the dashboard: so many browsers that look every second, and so many that never finish a head.

Says "ready" when all are there; at the end how many answers came, how many failed, and how many slow ones the
server closed.
"""

import asyncio
import sys
import time
from urllib.parse import urlencode, urlsplit

LOOKS_FOR_S = 6.0


async def main() -> None:
    url, token, clients, slow = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 0
    cookie = await login(host, port, token)
    stalled = [await asyncio.open_connection(host, port) for _ in range(slow)]
    for _, writer in stalled:
        writer.write(b"GET / HTTP/1.1\r\nHost: ")
    say("ready")
    end_s = time.monotonic() + LOOKS_FOR_S
    looks = [look(host, port, cookie, number, end_s) for number in range(clients)]
    counts = await asyncio.gather(*looks)
    closed = await asyncio.gather(*(is_closed(reader) for reader, _ in stalled))
    answers, failed = (sum(item[place] for item in counts) for place in (0, 1))
    say(f"{answers} {failed} {sum(closed)}")


def say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


async def login(host: str, port: int, token: str) -> str:
    body = urlencode({"token": token})
    head = (
        f"POST /login HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: http://{host}:{port}\r\n"
        "Connection: close\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    answer = await once(host, port, head)
    line = next(item for item in answer.split("\r\n") if item.lower().startswith("set-cookie:"))
    return line.split(":", 1)[1].split(";")[0].strip()


async def look(host: str, port: int, cookie: str, number: int, end_s: float) -> tuple[int, int]:
    """Ask as the page's script does, each second; every tenth loads a whole page each time."""
    answers = failed = 0
    await asyncio.sleep(number % 100 / 100.0)
    extra = "" if number % 10 == 0 else "HX-Request: true\r\n"
    seen = ""
    while time.monotonic() < end_s:
        head = (
            f"GET /health?seen={seen} HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n{extra}"
            "Connection: close\r\n\r\n"
        )
        answer = await once(host, port, head)
        good = answer.startswith(("HTTP/1.1 200", "HTTP/1.1 204"))
        answers, failed = answers + good, failed + (not good)
        if "seen=" in answer:
            seen = answer.partition("seen=")[2].partition('"')[0]
        await asyncio.sleep(1.0)
    return answers, failed


async def once(host: str, port: int, request: str) -> str:
    try:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request.encode())
        answer = await asyncio.wait_for(reader.read(), 10.0)
        writer.close()
    except (OSError, TimeoutError):
        return ""
    return answer.decode("utf-8", "replace")


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 15.0) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


asyncio.run(main())
