"""The networks that Derive is known to run on: data with source and date, nothing of it in code."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.chain.address import Address
from bot.chain.derive_actions import DeriveDomain
from bot.errors import InvariantError

NetworkName = Literal["testnet", "mainnet"]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid")

    chain_id: Annotated[int, Field(gt=0)]
    base_url: str
    ws_url: str
    separator: Annotated[str, Field(pattern=r"^0x[0-9a-f]{64}$")]
    matching: Address
    trade_module: Address
    rfq_module: Address
    source: str
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveNetwork:
    """Where the exchange answers, and what its signatures are valid for."""

    name: str
    base_url: str
    ws_url: str
    domain: DeriveDomain
    source: str
    date: str  # of the look-up, year-month


@cache
def derive_network(name: NetworkName) -> DeriveNetwork:
    """Return a listed network. Raises InvariantError when the list contradicts itself."""
    text = resources.files("bot.venues").joinpath("derive_networks.toml").read_text()
    try:
        row = _Row(**tomllib.loads(text)[name])
    except (ValidationError, KeyError) as error:
        raise InvariantError(f"derive_networks.toml, {name}: {str(error)[:200]}") from None
    domain = DeriveDomain(
        chain_id=row.chain_id,
        matching=row.matching,
        trade_module=row.trade_module,
        rfq_module=row.rfq_module,
    )
    if "0x" + domain.separator.hex() != row.separator:
        raise InvariantError(
            f"derive_networks.toml, {name}: separator {row.separator} is not that of chain {row.chain_id} "
            f"and {row.matching}, which is 0x{domain.separator.hex()}"
        )
    return DeriveNetwork(
        name=name, base_url=row.base_url, ws_url=row.ws_url, domain=domain, source=row.source, date=row.date
    )
