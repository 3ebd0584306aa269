"""``alvh check-addresses``: what answers at every configured, or every known, address."""

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.app.probes import Expected, View, answer_text, problem_of, views_of
from bot.chain.reader import JsonRpcReader
from bot.deployments import known
from bot.errors import BotError, NotFoundError
from bot.model.market import Block
from bot.settings import PoolSettings, Settings
from bot.settings.shape import Found, addresses
from bot.watchers.pools import Pool

# The chain's own coin, as Uniswap and as Curve write it; the first is also "no hook".
_NO_CONTRACT = frozenset({"0x" + "0" * 40, "0x" + "e" * 40})
_TEXT_SYMBOL = View("symbol()", ("bytes32",))  # some early tokens answer with 32 bytes

# What an address is, by the class that holds it and the key, where the key alone does not say it.
_ROLES: Mapping[tuple[str, str], str] = {
    ("FeedSettings", "address"): "feed",
    ("ChainlinkWatcher", "address"): "feed",
    ("ManagerSettings", "v3_position_manager"): "uniswap_v3_position_manager",
    ("ManagerSettings", "v3_factory"): "uniswap_v3_factory",
    ("ManagerSettings", "v3_tick_lens"): "uniswap_v3_tick_lens",
    ("ManagerSettings", "v4_position_manager"): "uniswap_v4_position_manager",
    ("ManagerSettings", "v4_pool_manager"): "uniswap_v4_pool_manager",
    ("ManagerSettings", "v4_state_view"): "uniswap_v4_state_view",
    ("PerpSettings", "config"): "perp_v2_config",
    ("PerpSettings", "base_token"): "perp_v2_base_token",
    ("PerpV2FundingWatcher", "config"): "perp_v2_config",
    ("PerpV2FundingWatcher", "base_token"): "perp_v2_base_token",
    ("LyraSettings", "option_token"): "lyra_option_token",
    ("LyraSettings", "settlement"): "token",
    ("LyraSettings", "stable"): "token",
    ("LyraSettings", "quoter"): "uniswap_v3_quoter",
    ("LyraSettings", "swap_router"): "uniswap_v3_router",
    ("AaveV3Watcher", "pool"): "aave_v3_pool",
    ("OpynSettings", "controller"): "opyn_controller",
    ("OpynSettings", "factory"): "opyn_otoken_factory",
    ("OpynSettings", "v3_factory"): "uniswap_v3_factory",
    ("OpynSettings", "swap_router"): "uniswap_v3_router",
    ("OpynSettings", "quoter"): "uniswap_v3_quoter",
    ("OpynSettings", "stable"): "token",
    ("OpynSettings", "underlying_token"): "code",
    ("OpynSettings", "pricer"): "opyn_contract",
    ("HegicSettings", "treasury"): "hegic_operational_treasury",
    ("HegicSettings", "manager"): "hegic_positions_manager",
    ("HegicSettings", "cover_pool"): "hegic_cover_pool",
    ("HegicSettings", "stable"): "token",
    ("HegicSettings", "strategies"): "hegic_strategy",
    ("PanopticSettings", "pool"): "panoptic_v2_pool",
    ("PanopticSettings", "uniswap_pool"): "uniswap_v3_pool",
    ("PanopticSettings", "swap_router"): "uniswap_v3_router",
    ("PanopticSettings", "underlying_token"): "code",
    ("PanopticSettings", "underlying_tracker"): "panoptic_v2_collateral",
    ("PanopticSettings", "stable"): "token",
    ("PanopticSettings", "stable_tracker"): "panoptic_v2_collateral",
    ("PerpV2Settings", "clearing_house"): "perp_v2_clearing_house",
    ("PerpV2Settings", "vault"): "perp_v2_vault",
    ("PerpV2Settings", "account_balance"): "perp_v2_contract",
    ("PerpV2Settings", "config"): "perp_v2_config",
    ("PerpV2Settings", "base_token"): "perp_v2_base_token",
    ("PerpV2Settings", "collateral"): "token",
    ("NexusSettings", "cover"): "nexus_contract",
    ("NexusSettings", "seller"): "nexus_contract",
    ("NexusSettings", "nft"): "nexus_contract",
    ("NexusSettings", "cover_products"): "nexus_cover_products",
    ("NexusSettings", "staking_viewer"): "nexus_contract",
    ("NexusSettings", "pool"): "nexus_contract",
    ("NexusSettings", "claims"): "nexus_contract",
    ("NexusSettings", "registry"): "nexus_contract",
    ("NexusSettings", "stable"): "token",
    ("ExitSettings", "v2_router"): "uniswap_v2_router",
    ("SafeSettings", "address"): "safe",
    ("SafeSettings", "multi_send"): "code",
    ("PolicyRegistrySettings", "address"): "policy_registry",
    ("Account", "address"): "account",
    ("AccountSettings", "address"): "account",
    ("PositionSettings", "holder"): "account",
    ("PositionSettings", "staker"): "code",
    ("PoolSettings", "hooks"): "code",
    ("TvlWatcher", "holder"): "account",
    ("V4Pool", "manager"): "uniswap_v4_pool_manager",
    ("V4Pool", "hooks"): "code",
    ("AdminEventsWatcher", "expected_owner"): "account",
    ("AdminEventsWatcher", "expected_implementation"): "code",
    ("ChainlinkRateWatcher", "address"): "rate_feed",
    ("SequencerWatcher", "feed"): "sequencer_feed",
    ("Erc4626Watcher", "holder"): "account",
    ("GmxV2Watcher", "market"): "token",
}
_BY_KEY: Mapping[str, str] = {
    "addresses_provider": "aave_v3_addresses_provider",
    "base": "token",
    "comet": "compound_v3_comet",
    "data_store": "gmx_v2_data_store",
    "exchange": "perp_v2_exchange",
    "option_market": "lyra_option_market",
    "quote": "token",
    "reader": "gmx_v2_reader",
    "sequencer": "sequencer_feed",
    "state_view": "uniswap_v4_state_view",
    "tick_lens": "uniswap_v3_tick_lens",
    "token": "token",
    "asset": "token",
    "lockboxes": "bridge_lockbox",
    "multicall3": "multicall3",
    "token_address": "token",
}
_SINGLE = (  # sections that stand once
    *("lyra", "opyn", "hegic", "panoptic", "perp_v2", "nexus", "exit"),
    *("managers", "account", "safe", "policy_registry"),
)
_ACCOUNTS = frozenset({"account"})  # need not be contracts
_TOKEN_CLASS = re.compile(r"(^|[a-z])(Token|Coin)$")  # Token, LendingToken, CurveCoin


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An address to look at, and what it should be."""

    chain_id: int
    where: str  # "feeds ETH/USD address"
    address: str
    role: str
    expected: Expected = field(default_factory=Expected)
    unconfirmed: str = ""  # what of a known deployment no source confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressCheck:
    """What was found at one address."""

    wanted: Wanted
    answer: str = ""
    problem: str = ""  # one line; empty when it is what it should be
    is_read: bool = True  # False when the chain could not be asked

    @property
    def ok(self) -> bool:
        return not self.problem


def wanted_addresses(settings: Settings) -> tuple[Wanted, ...]:
    """Return every configured address, with what the configuration says of it."""
    found = list(_in_sections(settings))
    for chain in settings.all_chains:
        name = f"chain {chain.id} multicall3" if chain is not settings.chain else "chain.multicall3"
        found.append(Wanted(chain_id=chain.id, where=name, address=chain.multicall3, role="multicall3"))
    return tuple(item for item in found if item.address.lower() not in _NO_CONTRACT)


def known_addresses(chain_id: int) -> tuple[Wanted, ...]:
    """Return every known deployment of a chain. Raises NotFoundError when there is none."""
    contracts = known(chain_id).contracts
    if not contracts:
        raise NotFoundError(f"no deployment on chain {chain_id} is known; name another with --chain")
    return tuple(
        Wanted(
            chain_id=chain_id,
            where=f"@{item.name}",
            address=item.address,
            role=item.kind,
            expected=Expected(
                symbol=item.symbol or (item.name.partition(".")[2] if item.kind == "feed" else ""),
                decimals=item.decimals,
            ),
            unconfirmed=item.unconfirmed,
        )
        for item in contracts.values()
    )


async def check_addresses(
    wanted: Sequence[Wanted], reader: JsonRpcReader, *, block: Block
) -> tuple[AddressCheck, ...]:
    """Ask each address for its code and its canonical view. An address that cannot be read is a problem."""
    calls = [_calls(item) for item in wanted]
    flat = [view.call(item.address) for item, views in zip(wanted, calls, strict=True) for view in views]
    answers, codes = await asyncio.gather(reader.read(flat, block=block), _codes(wanted, reader, block))
    left = iter(answers)
    taken = [[next(left) for _ in views] for views in calls]
    return tuple(
        _judged(item, views, given, has_code=codes[item.address])
        for item, views, given in zip(wanted, calls, taken, strict=True)
    )


async def check_all(
    settings: Settings, wanted: Sequence[Wanted], readers: Mapping[int, JsonRpcReader | BotError]
) -> tuple[AddressCheck, ...]:
    """Check the addresses of every chain; those of a chain without a reader are named with the reason."""
    found: list[AddressCheck] = []
    for chain in settings.all_chains:
        mine = [item for item in wanted if item.chain_id == chain.id]
        found.extend(await _check_chain(mine, readers[chain.id]) if mine else ())
    return tuple(found)


async def _check_chain(
    wanted: Sequence[Wanted], reader: JsonRpcReader | BotError
) -> tuple[AddressCheck, ...]:
    trouble = reader if isinstance(reader, BotError) else None
    if not isinstance(reader, BotError):
        try:
            return await check_addresses(wanted, reader, block=await reader.head())
        except BotError as error:
            trouble = error
    return tuple(
        AddressCheck(wanted=item, problem=f"could not be read: {trouble}", is_read=False) for item in wanted
    )


def contracts_of(settings: Settings, chain_id: int) -> tuple[Wanted, ...]:
    """Return the configured addresses of a chain that must have code."""
    return tuple(
        item
        for item in wanted_addresses(settings)
        if item.chain_id == chain_id and item.role not in _ACCOUNTS
    )


async def _codes(wanted: Sequence[Wanted], reader: JsonRpcReader, block: Block) -> dict[str, bool]:
    unique = sorted({item.address for item in wanted})
    codes = await asyncio.gather(*(reader.has_code(address, block=block) for address in unique))
    return dict(zip(unique, codes, strict=True))


def _calls(item: Wanted) -> tuple[View, ...]:
    if item.role in ("account", "code"):
        return ()
    return (*views_of(item.role), _TEXT_SYMBOL) if item.role == "token" else views_of(item.role)


def _judged(
    item: Wanted, views: Sequence[View], answers: list[tuple[Any, ...] | None], *, has_code: bool
) -> AddressCheck:
    if item.role in _ACCOUNTS:
        return AddressCheck(wanted=item, answer="a contract" if has_code else "an account without code")
    if not has_code:
        return AddressCheck(
            wanted=item,
            problem=f"has no code on chain {item.chain_id}: it is an account (EOA), or the contract is on "
            "another chain",
        )
    if item.role == "token":
        views, answers = views[:-1], _with_text_symbol(answers)
    problem = problem_of(item.role, item.expected, views, answers)
    shown = answer_text(views, answers)
    return AddressCheck(wanted=item, answer=shown or ("" if problem else "code"), problem=problem)


def _with_text_symbol(answers: list[tuple[Any, ...] | None]) -> list[tuple[Any, ...] | None]:
    symbol, *rest, text = answers
    if symbol is None and text is not None:
        symbol = (bytes(text[0]).rstrip(b"\0").decode("utf-8", "replace"),)
    return [symbol, *rest]


def _in_sections(settings: Settings) -> Iterator[Wanted]:
    for section in ("feeds", "pools", "perps", "positions"):
        for item in getattr(settings, section):
            name = f"{section} {getattr(item, 'label', '') or getattr(item, 'underlying', '') or item.pool}"
            yield from _wanted(item, name, settings.chain_of(item))
    for number, table in enumerate(settings.watch):
        name = f"watch.{number} {table.source.name}"
        yield from _wanted(table.source, name, settings.chain_of(table))
    for loan in settings.loans:
        yield from _wanted(loan, f"loans {loan.position}", settings.chain.id)
    for section in _SINGLE:
        if (item := getattr(settings, section)) is not None:
            yield from _wanted(item, section, settings.chain.id)


def _wanted(item: Any, name: str, chain_id: int) -> Iterator[Wanted]:
    for found in addresses(item):
        yield Wanted(
            chain_id=chain_id,
            where=f"{name}{'.' if name in _SINGLE else ' '}{found.field}",
            address=found.address,
            role=_role(found),
            expected=_expected(found),
        )


def _role(found: Found) -> str:
    owner = type(found.owner).__name__
    if isinstance(found.owner, PoolSettings | Pool) and found.key == "address":
        return "uniswap_v2_pair" if found.owner.label.startswith("v2") else "uniswap_v3_pool"
    if (owner, found.key) in _ROLES:
        return _ROLES[owner, found.key]
    if found.key.endswith("_token") or (found.key == "address" and _TOKEN_CLASS.search(owner)):
        return "token"
    if found.key == "feed":
        return "feed"
    if found.key in ("vault", "pool") and (kind := _protocol_role(owner, found.key)):
        return kind
    return _BY_KEY.get(found.key, "contract")


def _protocol_role(owner: str, key: str) -> str:
    for start, vault, pool in (
        ("Curve", "", "curve_pool"),
        ("BalancerV2", "balancer_v2_vault", "balancer_v2_pool"),
        ("BalancerV3", "balancer_v3_vault", ""),
        ("Erc4626", "erc4626", ""),
        ("ERC4626", "erc4626", ""),
    ):
        if owner.startswith(start):
            return vault if key == "vault" else pool
    return ""


def _expected(found: Found) -> Expected:
    owner, key = found.owner, found.key
    if isinstance(owner, PoolSettings) and key == "address":
        return Expected(tokens=frozenset({owner.base.lower(), owner.quote.lower()}))
    if isinstance(owner, Pool) and key == "address":
        return Expected(tokens=frozenset({owner.base_token.lower(), owner.quote_token.lower()}))
    role = _role(found)
    if role in ("feed", "rate_feed"):
        return Expected(symbol=getattr(owner, "label", ""), decimals=getattr(owner, "decimals", 8))
    if role != "token":
        return Expected()
    if key == "token_address":
        return Expected(symbol=getattr(owner, "token", ""), decimals=_decimals(owner, ""))
    stem = "" if key in ("address", "token", "market") else key.removesuffix("_token")
    return Expected(symbol=_symbol(owner, stem), decimals=_decimals(owner, stem))


def _symbol(owner: Any, stem: str) -> str:
    for name in (f"{stem}_symbol", stem) if stem else ("symbol",):
        value = getattr(owner, name, None)
        if isinstance(value, str) and not value.startswith("0x"):
            return value
    return ""


def _decimals(owner: Any, stem: str) -> int | None:
    value = getattr(owner, f"{stem}_decimals" if stem else "decimals", None)
    return value if isinstance(value, int) else None
