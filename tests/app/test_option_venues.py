"""What the sections of option venues are put together to."""

from pathlib import Path
from typing import Any

import pytest
from pipeline_builders import block
from settings_texts import GOOD, write

from bot.app.option_venues import Where, hegic_venue, opyn_venue
from bot.app.trading import trading_venues
from bot.errors import TransientError
from bot.model.hedge import OptionType
from bot.model.market import Columns
from bot.model.signing import ApprovalRule
from bot.ports import Call, MarketView
from bot.settings import PolicySettings, load_policy, load_settings
from bot.settings.option_venues import HegicSettings, OpynSettings
from bot.venues.hegic import HegicAdapter
from bot.venues.opyn import OpynAdapter


def address(number: int) -> str:
    return f"0x{number:040x}"


def test_each_venue_has_its_contracts_and_the_options_that_the_policy_buys():
    policy = load_policy(PolicySettings())
    names = ("controller", "factory", "v3_factory", "swap_router", "quoter", "stable", "underlying_token")
    fields: dict[str, Any] = {name: address(place) for place, name in enumerate(names, 1)}
    reader: Any = None
    where = Where(reader=reader, custody=None, account=None)
    opyn = opyn_venue(OpynSettings(**fields), policy, where)
    hegic = hegic_venue(
        HegicSettings(
            treasury=address(11),
            manager=address(12),
            cover_pool=address(13),
            stable=address(6),
            strategies={"PUT_90_ETH_2": address(14)},
        ),
        policy,
        where,
    )
    assert isinstance(opyn.adapter, OpynAdapter)
    assert isinstance(hegic.adapter, HegicAdapter)
    assert (opyn.name, hegic.name) == ("opyn", "hegic")
    for venue, spender in ((opyn, address(4)), (hegic, address(11))):
        assert ApprovalRule(token=address(6), spender=spender, opens=True) in venue.permissions()
    for adapter in (opyn.adapter, hegic.adapter):
        assert OptionType.PUT in adapter.terms.option_types


LYRA = "\n".join(
    [
        "[lyra]",
        'underlying = "ETH"',
        'settlement_symbol = "sUSD"',
        "settlement_pool_fee = 500",
        *(
            f'{name} = "{address(place)}"'
            for place, name in enumerate(
                (
                    *("option_market", "option_token", "pricer", "liquidity_pool", "short_collateral"),
                    *("synthetix_adapter", "settlement", "swap_router", "quoter", "stable"),
                ),
                1,
            )
        ),
    ]
)


class Asked:
    """ports.ChainReader that answers nothing and keeps what it was asked."""

    def __init__(self) -> None:
        self.data: list[bytes] = []

    async def read(self, calls: list[Call], *, block: Any) -> list[None]:
        self.data += [call.data for call in calls]
        raise TransientError("nobody answers")


@pytest.mark.parametrize("has_safe", [True, False])
async def test_lyra_marks_what_the_safe_holds_as_every_other_venue_does(tmp_path: Path, has_safe: bool):
    """Without custody too: a dry run beside a Safe shows the Safe's positions, not those of its proposer."""
    safe = "0x" + "5a" * 20
    text = GOOD + LYRA + (f'\n[safe]\naddress = "{safe}"\nmulti_send = "{address(99)}"\n' if has_safe else "")
    reader: Any = Asked()
    trading = trading_venues(
        load_settings(write(tmp_path, text)), reader, load_policy(PolicySettings()), custody=None
    )
    (lyra,) = trading.options
    view = MarketView(now_s=9.0, block=block(9, 9.0), columns=Columns(series={}), spot_usd={"ETH": 2000.0})
    with pytest.raises(TransientError):
        await lyra.held(view)
    owner = safe if has_safe else "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
    assert reader.data[0][-20:] == bytes.fromhex(owner[2:])
