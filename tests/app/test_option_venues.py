"""What the sections of option venues are put together to."""

from typing import Any

from bot.app.option_venues import hegic_venue, opyn_venue
from bot.model.hedge import OptionType
from bot.model.signing import ApprovalRule
from bot.settings import PolicySettings, load_policy
from bot.settings.option_venues import HegicSettings, OpynSettings
from bot.venues.hegic import HegicAdapter
from bot.venues.opyn import OpynAdapter


def address(number: int) -> str:
    return f"0x{number:040x}"


def test_each_venue_has_its_contracts_and_the_options_that_the_policy_buys():
    policy, nobody = load_policy(PolicySettings()), None
    names = ("controller", "factory", "v3_factory", "swap_router", "quoter", "stable", "underlying_token")
    fields: dict[str, Any] = {name: address(place) for place, name in enumerate(names, 1)}
    reader: Any = None
    opyn = opyn_venue(OpynSettings(**fields), reader, policy, custody=nobody)
    hegic = hegic_venue(
        HegicSettings(
            treasury=address(11),
            manager=address(12),
            cover_pool=address(13),
            stable=address(6),
            strategies={"PUT_90_ETH_2": address(14)},
        ),
        reader,
        policy,
        custody=nobody,
    )
    assert isinstance(opyn.adapter, OpynAdapter)
    assert isinstance(hegic.adapter, HegicAdapter)
    assert (opyn.name, hegic.name) == ("opyn", "hegic")
    for venue, spender in ((opyn, address(4)), (hegic, address(11))):
        assert ApprovalRule(token=address(6), spender=spender, opens=True) in venue.permissions()
    for adapter in (opyn.adapter, hegic.adapter):
        assert OptionType.PUT in adapter.terms.option_types
