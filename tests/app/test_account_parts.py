"""What can be acted on, by the settings alone (R21, R29): the rest is refused by name, with the reason."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from pipeline_builders import EXPOSURE, block
from settings_texts import GOOD, OTHER, write

from bot.app.account_parts import WithdrawnPosition, planned_account, subject_of
from bot.app.trading import trading_venues
from bot.chain.address import checksummed
from bot.chain.signing.calls import CallBook
from bot.errors import ConfigError, NotFoundError, TransientError, VenueRejected
from bot.model.account_order import AccountOrder, AccountOutcome
from bot.model.base_layers import Action
from bot.model.hedge import LegStatus
from bot.ports import MarketView
from bot.settings import PolicySettings, Settings, load_policy, load_settings

POLICY = load_policy(PolicySettings())
ME = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
OTHERS = checksummed("0x" + "ab" * 20)
WETH, USDC, PAIR, POOL, ROUTER, MANAGER = (
    "0x" + digit * 20 for digit in ("12", "34", "56", "78", "9a", "bc")
)
HEAD = block(9, 9.0)
VIEW = MarketView(now_s=9.0, block=HEAD, columns={}, spot_usd={})  # type: ignore[arg-type] - never looked at

POOLS = f"""
[managers]
v3_position_manager = "{MANAGER}"
v3_factory = "{MANAGER}"

[[pools]]
label = "v2:ETH/USDC"
kind = "uniswap_v2"
address = "{PAIR}"
base = "{WETH}"
quote = "{USDC}"
base_decimals = 18
quote_decimals = 6

[[pools]]
label = "v3:ETH/USDC"
kind = "uniswap_v3"
address = "{POOL}"
base = "{WETH}"
quote = "{USDC}"
base_decimals = 18
quote_decimals = 6
"""
V2 = f"""
[[positions]]
kind = "uniswap_v2"
pool = "v2:ETH/USDC"
holder = "{ME}"
"""
V3 = """
[[positions]]
kind = "uniswap_v3"
pool = "v3:ETH/USDC"
token_id = 7
"""
EXIT = f"""
[exit]
v2_router = "{ROUTER}"
"""
LOAN = f"""
[[loans]]
position = "loan"
debt_asset = "USDC"
debt_units = 5000
pool = "{POOL}"
debt_token = "{USDC}"
debt_decimals = 6
"""
TOP_UP = f"""
debt_decimals = 6
top_up_token = "{WETH}"
top_up_decimals = 18
"""
WATCHED = f"""
[[watch]]
kind = "aave_v3"
label = "aave"
addresses_provider = "{MANAGER}"
reserves = [{{symbol = "USDC", address = "{USDC}", decimals = 6}}]
accounts = [{{label = "loan", address = "{OTHERS}"}}]
"""


def settings(tmp_path: Path, *parts: str) -> Settings:
    return load_settings(write(tmp_path, GOOD + POOLS + "".join(parts)))


def made(found: Settings, account: str | None = ME):
    planned = planned_account(found, None, POLICY, custody=None, account=account)  # type: ignore[arg-type]
    assert planned is not None
    return planned


def order(subject: str, action: Action = Action.WITHDRAW, **fields) -> AccountOrder:
    given = {"key": "k", "group": "g", "action": action, "subject": subject, "valid_until_s": 99.0}
    return AccountOrder(**{**given, **fields})


def test_every_position_and_loan_of_the_account_can_be_acted_on(tmp_path: Path):
    found = settings(tmp_path, V2, V3, EXIT, LOAN)
    assert made(found).subjects == ("v2:ETH/USDC", "v3:7", "loan")
    assert [subject_of(item) for item in found.positions] == ["v2:ETH/USDC", "v3:7"]


def test_without_positions_and_loans_there_is_nothing(tmp_path: Path):
    found = settings(tmp_path)
    assert planned_account(found, None, POLICY, custody=None, account=ME) is None  # type: ignore[arg-type]


def test_the_signer_gets_their_rules_from_the_one_place(tmp_path: Path):
    found = settings(tmp_path, V2, V3, EXIT, LOAN)
    trading = trading_venues(found, None, POLICY, custody=None)  # type: ignore[arg-type]
    rules = made(found).permissions()
    assert set(rules) <= set(trading.permissions())
    assert not any(rule.opens for rule in rules)
    assert trading.all[-1].name == "account"
    assert CallBook(rules, own=frozenset({ME.lower()}))


STAKED = V2 + f'staker = "{OTHERS}"\n'
REFUSED = {
    "staked in v2": ((STAKED,), f"v2:ETH/USDC@{OTHERS}", "staked with"),
    "staked in v3": ((V3, f'staker = "{OTHERS}"\n'), "v3:7", "staked with"),
    "of somebody else": ((V2.replace(ME, OTHERS), EXIT), "v2:ETH/USDC", "belongs to"),
    "no router": ((V2,), "v2:ETH/USDC", "exit.v2_router"),
    "no way to pay": ((LOAN.partition("pool")[0],), "loan", r"\[\[loans\]\]"),
    "a loan of somebody else": ((LOAN, WATCHED), "loan", "loan loan is of"),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_what_cannot_be_acted_on_is_refused_by_name(tmp_path: Path, why: str):
    parts, subject, words = REFUSED[why]
    planned = made(settings(tmp_path, *parts))
    assert subject not in planned.subjects
    with pytest.raises(VenueRejected, match=words):
        await planned.plan(order(subject), view=VIEW)
    outcome = await planned.execute(order(subject), view=VIEW)
    assert outcome.status is LegStatus.REJECTED
    assert planned.permissions() == ()


async def test_on_another_chain_than_home_nothing_is_withdrawn(tmp_path: Path):
    pool = f"""
[[pools]]
label = "v3.arb:ETH/USDC"
kind = "uniswap_v3"
chain = 42161
address = "{POOL}"
base = "{WETH}"
quote = "{USDC}"
base_decimals = 18
quote_decimals = 6
"""
    position = V3.replace("v3:ETH/USDC", "v3.arb:ETH/USDC") + "chain = 42161\n"
    planned = made(settings(tmp_path, OTHER, pool, position))
    with pytest.raises(VenueRejected, match="on chain 42161"):
        await planned.plan(order("v3:7"), view=VIEW)


async def test_without_an_account_nothing_can_be_done(tmp_path: Path):
    planned = made(settings(tmp_path, V2, V3, EXIT, LOAN), account=None)
    assert planned.subjects == ()
    assert "[account]" in (await planned.execute(order("loan", Action.REPAY), view=VIEW)).because


async def test_an_open_order_is_never_called_refused_for_want_of_a_way_to_look(tmp_path: Path):
    """ "It failed" never means "it did not happen": without custody its end is not known."""
    planned = made(settings(tmp_path, V3))
    with pytest.raises(TransientError):
        await planned.reconcile(order("v3:7"), view=VIEW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((f'pool = "{POOL}"', ""), "pool and debt_token"),
        (("debt_decimals = 6", ""), "debt_token and debt_decimals"),
        ((f'debt_token = "{USDC}"', ""), "debt_token and debt_decimals"),
        (
            ("debt_decimals = 6", TOP_UP),
            "top_up_asset",
        ),
    ],
)
def test_a_loan_that_could_not_be_paid_for_is_refused(tmp_path: Path, change: tuple[str, str], words: str):
    with pytest.raises(ConfigError, match=words):
        settings(tmp_path, LOAN.replace(*change))


@pytest.mark.parametrize(
    "line", ["max_deviation_bps = 0", "max_deviation_bps = 2001", "slippage_bps = 0", "x = 1"]
)
def test_bounds_of_an_exit_are_kept(tmp_path: Path, line: str):
    with pytest.raises(ConfigError, match="exit"):
        settings(tmp_path, f"\n[exit]\n{line}\n")


# a position that an order of ours withdrew whole


class Gone:
    """A PositionReader of a token that was burned."""

    async def read(self, chain, *, block):
        raise NotFoundError("position v3:7 does not exist")


def left(**changes) -> AccountOutcome:
    given = {"order": order("v3:7"), "status": LegStatus.FILLED, "at_s": 1.0, "block_number": 9}
    return AccountOutcome(**{**given, **changes})


async def test_after_an_order_of_ours_nothing_is_left_and_that_is_no_failure():
    reader = WithdrawnPosition(Gone(), "v3:7", lambda: (left(),))
    assert await reader.read(SimpleNamespace(), block=HEAD) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "outcome",
    [
        left(status=LegStatus.REJECTED),
        left(order=order("v3:8")),
        left(order=order("v3:7", part=0.5)),
        left(order=order("v3:7", Action.REPAY)),
        left(block_number=10),  # not at this block yet
    ],
)
async def test_without_such_an_order_it_is_a_position_that_cannot_be_read(outcome: AccountOutcome):
    reader = WithdrawnPosition(Gone(), "v3:7", lambda: (outcome,))
    with pytest.raises(NotFoundError):
        await reader.read(SimpleNamespace(), block=HEAD)  # type: ignore[arg-type]


async def test_while_it_is_there_it_is_read():
    class There:
        async def read(self, chain, *, block):
            return (EXPOSURE,)

    reader = WithdrawnPosition(There(), "v3:7", lambda: (left(),))
    assert await reader.read(SimpleNamespace(), block=HEAD) == (EXPOSURE,)  # type: ignore[arg-type]
