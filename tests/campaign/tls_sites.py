"""Providers behind TLS that may not be believed, and a proxy that nobody may use. For H8."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_OPENSSL_S = 20.0


@dataclass
class Site:
    """A port that counts what it got: ``links`` that were begun, ``requests`` that came through."""

    url: str = ""
    links: int = 0
    requests: list[bytes] = field(default_factory=list)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if writer.get_extra_info("ssl_object") is None:
            self.links += 1
        try:
            if said := await asyncio.wait_for(reader.read(4096), 5.0):
                self.requests.append(said)
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def site(context: ssl.SSLContext | None = None, *, host: str = "127.0.0.1") -> AsyncIterator[Site]:
    """Listen on a free loopback port, behind TLS where there is a context, until the block ends."""
    found = Site()

    def begun(*_: object) -> None:
        found.links += 1

    if context is not None:
        context.sni_callback = begun  # its first word, before a certificate is shown
    server = await asyncio.start_server(found._take, host, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    found.url = f"{'https' if context is not None else 'http'}://{host}:{port}"
    try:
        yield found
    finally:
        server.close()


async def certificate(folder: Path, *, name: str, host: str, days: int) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate of a host that signs itself, and its file; negative ``days``: it is over."""
    key, made, csr = folder / f"{name}.key", folder / f"{name}.pem", folder / f"{name}.csr"
    await _openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", csr, "-subj", "/CN=x"
    )
    extensions = folder / f"{name}.ext"
    kind = "IP" if host[0].isdigit() else "DNS"
    extensions.write_text(f"subjectAltName={kind}:{host}\nbasicConstraints=critical,CA:TRUE\n")
    await _openssl(
        "x509", "-req", "-in", csr, "-signkey", key, "-out", made, "-days", days, "-extfile", extensions
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    return context, made


async def _openssl(*arguments: object) -> None:
    process = await asyncio.create_subprocess_exec(
        "openssl", *map(str, arguments), stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), _OPENSSL_S)
    if process.returncode != 0:
        raise AssertionError(f"openssl made no certificate: {said.decode(errors='replace')}")
