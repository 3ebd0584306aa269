"""Asks a running bot whether it is well: over HTTP where it serves that, else by its journal."""

import http.client
import time
from typing import Any

from bot.app.alerting import silent_after_s
from bot.app.journals import status
from bot.errors import NotFoundError
from bot.model.parsing import json_of
from bot.settings import Settings

_DEADLINE_S = 5.0
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked at loopback, not served
NOT_RUNNING = "not running"


def asked_health(settings: Settings, *, mode: str, port: int | None) -> dict[str, Any]:
    """Return the document of ``/health``; ``port`` stands in place of the configured one.

    One that cannot be reached, or no bot at all, is a document too: it is not healthy.
    """
    wanted = port if port is not None else settings.metrics.port
    if wanted is None:
        return _by_journal(settings, mode)
    return _by_http(_ANY.get(settings.metrics.host, settings.metrics.host), wanted)


def _by_http(host: str, port: int) -> dict[str, Any]:
    connection = http.client.HTTPConnection(host, port, timeout=_DEADLINE_S)
    try:
        connection.request("GET", "/health", headers={"Host": "localhost"})
        found = json_of(connection.getresponse().read(1_000_000))
    except ConnectionRefusedError:
        return _not_well(NOT_RUNNING, f"no bot answers on {host}:{port}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return _not_well("unknown", f"what answers on {host}:{port} is no bot: {type(error).__name__}")
    finally:
        connection.close()
    if not isinstance(found, dict) or not isinstance(found.get("healthy"), bool):
        return _not_well("unknown", f"what answers on {host}:{port} is no bot")
    return found


def _by_journal(settings: Settings, mode: str) -> dict[str, Any]:
    try:
        found = status(settings, mode=mode)
    except NotFoundError as error:
        return _not_well(NOT_RUNNING, str(error))
    if not found.running:
        return _not_well(NOT_RUNNING, f"no {mode} bot is running")
    age_s = time.time() - found.last.decision.now_s
    is_fresh = settings.chain.clock == "chain" or age_s < silent_after_s(settings)
    words = f"step {found.last.sequence} is {age_s:.0f} s old"
    if not is_fresh:
        return _not_well("silent", words)
    return {"healthy": True, "state": "deciding", "sentence": f"deciding: {words}", "mode": mode}


def _not_well(state: str, why: str) -> dict[str, Any]:
    return {"healthy": False, "state": state, "sentence": f"{state}: {why}"}
