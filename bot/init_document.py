"""The document of ``alvh init``. No secret is in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.app.init import Draft, next_commands
from bot.chain.node_url import redact_url


def init_document(draft: Draft, files: Sequence[Path]) -> dict[str, Any]:
    """Return what was found, left out and written. Variables are named with what their value points at."""
    return {
        "files": [str(path) for path in files],
        "chains": list(draft.chains),
        "positions": [
            {
                "id": item.position.id,
                "chain_id": item.position.chain_id,
                "pool": f"{item.position.base.symbol}/{item.position.quote.symbol}",
                "value_usd": item.position.value,
                "underlying": item.feed.underlying,
            }
            for item in draft.fits
        ],
        "left_out": list(draft.left_out),
        "policy": draft.choices.budget or draft.choices.preset,
        "variables": {name: redact_url(value) for name, value in draft.secrets.items()},
        "next": list(next_commands(draft)),
    }
