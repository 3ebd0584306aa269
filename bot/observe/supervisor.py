"""Words to a supervisor by systemd's protocol (sd_notify): ready, alive, stopping."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervisor:
    """Whoever started this process and listens at a datagram socket."""

    address: str  # of a socket; a leading @ is the abstract namespace
    watchdog_s: float = 0.0  # within which it must hear that the program lives; 0: it does not ask

    def tell(self, *words: str) -> None:
        """Send, without waiting; a supervisor that does not listen is no trouble of ours."""
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            try:
                sender.sendto("\n".join(words).encode(), address)
            except OSError:
                return

    async def watch(self, is_alive: Callable[[], bool]) -> None:
        """Say three times in each period that the program lives, for as long as it does."""
        while self.watchdog_s > 0.0:
            if is_alive():
                self.tell("WATCHDOG=1")
            await asyncio.sleep(self.watchdog_s / 3.0)
