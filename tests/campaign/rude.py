"""What nobody may ask of a dashboard, again and again: ``python -m campaign.rude URL``.

Prints, as a JSON list, what was let in all the same.
"""

import asyncio
import json
import sys
import time

import aiohttp

from campaign.place import refuse_public_host

FOR_S = 5.0
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def rude(url: str) -> list[str]:
    """Ask for five seconds; return what was answered as to a person who signed in."""
    own = {"Origin": url.rstrip("/")}
    asked: list[tuple[str, str, dict[str, str], bytes]] = [
        ("POST", "login", own, b"token=wrong-0123456789"),
        ("POST", "login", own, b"token=" + b"x" * 10_000_000),
        ("GET", "health", {"Host": "evil.example"}, b""),
        ("GET", "health", {"Host": "127.0.0.1.nip.io"}, b""),
        ("GET", "health", {"Cookie": "session=guessed"}, b""),
    ]
    found, end_s = [], time.monotonic() + FOR_S
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0)) as session:
        while time.monotonic() < end_s:
            for method, path, headers, body in asked:
                if await _is_let_in(session, method, f"{url}{path}", headers, body):
                    found.append(f"{method} {path} {headers}")
    return found


async def _is_let_in(
    session: aiohttp.ClientSession, method: str, url: str, headers: dict[str, str], body: bytes
) -> bool:
    try:
        async with session.request(
            method, url, headers=headers | FORM, data=body, allow_redirects=False
        ) as answer:
            said = await answer.read()
    except (aiohttp.ClientError, TimeoutError):
        return False  # cut: that is an answer too
    return "Set-Cookie" in answer.headers or (answer.status == 200 and b'name="token"' not in said)


def main() -> None:
    refuse_public_host(sys.argv[1])
    print(json.dumps(asyncio.run(rude(sys.argv[1]))))


if __name__ == "__main__":
    main()
