"""`alvh monitor --wallet` and `--position`: LP positions, live or once. No key, no state."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bot.cli.shared import err, out, settings_of
from bot.errors import BotError, ConfigError
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.lp import LpChain, LpRequest, LpView
    from bot.settings import Settings


_STOPPED = "stopped; the LP monitor keeps nothing"


def monitor_positions(
    *,
    wallet: str | None,
    positions: Sequence[str],
    rpc_urls: Sequence[str],
    entry_prices: Sequence[str],
    look_back: int,
    poll_s: float,
    v3_manager: str | None,
    v4_manager: str | None,
    state_view: str | None,
    config: Path,
    once: bool,
    json_to: str | None,
) -> None:
    """Show LP positions. Raises ConfigError for a request that makes no sense."""
    from bot.app.lp import configured_chains, lp_now, node_chains, parse_request

    request = parse_request(
        wallet=wallet, positions=positions, entry_prices=entry_prices, look_back=look_back
    )
    if rpc_urls:
        named = {"v3_manager": v3_manager, "v4_manager": v4_manager, "state_view": state_view}
        chains = node_chains(rpc_urls, poll_s=poll_s, **named)
    else:
        chains = configured_chains(_settings(config))
    if once:
        with err.status("reading positions and their deposits"):
            view = asyncio.run(lp_now(chains, request))
        _show(view, json_to, lines=False)
    elif json_to is not None or not out.is_terminal:
        asyncio.run(_stream(chains, request, lambda view: _show(view, json_to, lines=True), _say_once()))
        err.print(_STOPPED)
    else:
        _live(chains, request)
        err.print(_STOPPED)


def _settings(config: Path) -> "Settings":
    if not config.exists():
        raise ConfigError(
            f"there is no configuration {config}; name a node with --rpc-url, or a file with --config"
        )
    return settings_of(config)


def _show(view: "LpView", json_to: str | None, *, lines: bool) -> None:
    from bot.lp_document import lp_document
    from bot.terminal import lp_view

    if json_to is None:
        out.print(lp_view(view))
    write_json(lp_document(view), json_to, lines=lines)


def _live(chains: "Sequence[LpChain]", request: "LpRequest") -> None:
    from rich.live import Live

    from bot.terminal import lp_view

    with Live(console=out, auto_refresh=False, vertical_overflow="ellipsis") as screen:
        screen.update("reading positions …", refresh=True)
        asyncio.run(
            _stream(
                chains,
                request,
                lambda view: screen.update(lp_view(view, height=out.size.height), refresh=True),
                lambda _: None,  # the view says it
            )
        )


async def _stream(
    chains: "Sequence[LpChain]",
    request: "LpRequest",
    show: "Callable[[LpView], None]",
    on_trouble: Callable[[BotError], None],
) -> None:
    """Show every view until a signal; it ends at once, for nothing is kept."""
    from bot.app.lp import watch_lp

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async for view in watch_lp(chains, request, stop=stop, on_trouble=on_trouble):
        show(view)


def _say_once() -> Callable[[BotError], None]:
    """Return what says a trouble on standard error, and says it again only when it changed."""
    said = ""

    def say(trouble: BotError) -> None:
        nonlocal said
        if str(trouble) != said:
            said = str(trouble)
            err.print(f"not read, tried again at the next block: {said}", markup=False)

    return say
