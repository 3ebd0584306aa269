"""What a contract must answer to be what a configuration says it is: one or two view calls per role."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.ports import Call
from bot.watchers.pools import from_raw

_NOBODY = "0x" + "00" * 20
MAX_SHOWN = 32  # characters of a name or symbol that a contract gave
MAX_SYMBOL = 32  # longer is absurd


class View(NamedTuple):
    """A view call by its signature."""

    signature: str  # "fee()"
    outputs: tuple[str, ...]
    args: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]

    def call(self, target: str) -> Call:
        types = self.signature.partition("(")[2].removesuffix(")")
        body = encode(types.split(","), self.args) if types else b""
        return Call(target, keccak(text=self.signature)[:4] + body, self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What stands beside an address in the configuration, and must be true of it."""

    symbol: str = ""
    decimals: int | None = None
    tokens: frozenset[str] = field(default_factory=frozenset)  # of a pool, lower case


def _address(name: str) -> View:
    return View(f"{name}()", ("address",))


def _number(name: str) -> View:
    return View(f"{name}()", ("uint256",))


_DECIMALS = View("decimals()", ("uint8",))
_ROUND = View("latestRoundData()", ("uint80", "int256", "uint256", "uint256", "uint80"))
_FEED = (View("description()", ("string",)), _DECIMALS, _ROUND)
_PAIR = (_address("token0"), _address("token1"))

VIEWS: Mapping[str, tuple[View, ...]] = {
    "token": (View("symbol()", ("string",)), _DECIMALS),
    "feed": _FEED,
    "rate_feed": _FEED,
    "sequencer_feed": (_ROUND,),
    "multicall3": (_number("getChainId"),),
    "safe": (View("VERSION()", ("string",)), _number("getThreshold"), _number("nonce")),
    "policy_registry": (View("currentPolicy()", ("bytes32", *("uint256",) * 5)),),
    "uniswap_v2_factory": (_number("allPairsLength"),),
    "uniswap_v2_router": (_address("factory"), _address("WETH")),
    "uniswap_v2_pair": (*_PAIR, _address("factory")),
    "uniswap_v3_factory": (View("feeAmountTickSpacing(uint24)", ("int24",), (500,)), _address("owner")),
    "uniswap_v3_position_manager": (_address("factory"), _address("WETH9")),
    "uniswap_v3_router": (_address("factory"), _address("WETH9")),
    "uniswap_v3_quoter": (_address("factory"), _address("WETH9")),
    "uniswap_v3_tick_lens": (),
    "uniswap_v3_pool": (*_PAIR, View("fee()", ("uint24",)), _address("factory")),
    "uniswap_v4_pool_manager": (_address("owner"),),
    "uniswap_v4_position_manager": (_address("poolManager"), _number("nextTokenId")),
    "uniswap_v4_state_view": (_address("poolManager"),),
    "curve_pool": (_number("get_virtual_price"),),
    "curve_address_provider": (_number("max_id"),),
    "curve_meta_registry": (_number("pool_count"),),
    "balancer_v2_vault": (_address("WETH"), _address("getAuthorizer")),
    "balancer_v2_pool": (View("getPoolId()", ("bytes32",)), _address("getVault")),
    "balancer_v3_vault": (_address("getVaultExtension"),),
    "aave_v3_addresses_provider": (_address("getPool"), View("getMarketId()", ("string",))),
    "aave_v3_pool": (_address("ADDRESSES_PROVIDER"),),
    "aave_v3_oracle": (_number("BASE_CURRENCY_UNIT"),),
    "compound_v3_comet": (_address("baseToken"), _number("getUtilization")),
    "erc4626": (_address("asset"), _number("totalAssets")),
    "steth": (_number("getTotalPooledEther"),),
    "wsteth": (_number("stEthPerToken"),),
    "lido_withdrawal_queue": (_number("unfinalizedStETH"),),
    "gmx_v2_reader": (),
    "gmx_v2_data_store": (_address("roleStore"),),
    "bridge_lockbox": (),
    "perp_v2_exchange": (_address("getMarketRegistry"),),
    "perp_v2_base_token": (View("isOpen()", ("bool",)),),
    "perp_v2_config": (View("getTwapInterval()", ("uint32",)),),
    "perp_v2_clearing_house": (_address("getVault"), _address("getExchange")),
    "perp_v2_vault": (_DECIMALS, _address("getSettlementToken")),
    "perp_v2_contract": (),
    "lyra_option_market": (View("getLiveBoards()", ("uint256[]",)),),
    "lyra_option_token": (View("symbol()", ("string",)),),
    "lyra_greek_cache": (View("getGlobalNetDelta()", ("int256",)),),
    "lyra_liquidity_pool": (_number("getTotalTokenSupply"),),
    "lyra_pricer": (_address("owner"),),
    "lyra_short_collateral": (_number("LPBaseExcess"),),
    "lyra_synthetix_adapter": (_address("addressResolver"), _address("exchangeRates")),
    "lyra_viewer": (),
    "opyn_address_book": (_address("getController"), _address("getOtokenFactory")),
    "opyn_controller": (_address("oracle"), _address("whitelist")),
    "opyn_otoken_factory": (_number("getOtokensLength"),),
    "opyn_contract": (),
    "hegic_operational_treasury": (_address("coverPool"), _number("totalBalance")),
    "hegic_cover_pool": (_number("availableForPayment"),),
    "hegic_positions_manager": (_number("nextTokenId"),),
    "hegic_strategy": (_address("priceProvider"), _number("lockedLimit")),
    "hegic_contract": (),
    "panoptic_v2_factory": (View("getPanopticPool(address,address)", ("address",), (_NOBODY, _NOBODY)),),
    "panoptic_v2_pool": (View("poolId()", ("uint64",)), _address("riskEngine")),
    "panoptic_v2_collateral": (_address("asset"),),
    "panoptic_v2_risk_engine": (_number("MAX_OPEN_LEGS"),),
    "panoptic_v2_contract": (),
    "nexus_cover_products": (_number("getProductCount"),),
    "nexus_contract": (),
    "derive_v3_contract": (),
    "safe_singleton": (View("VERSION()", ("string",)),),
    "safe_proxy_factory": (_number("getChainId"),),
    "safe_multi_send": (),
    "safe_fallback_handler": (),
}
# Any one of these shows that a contract of unknown kind is one that answers.
ANY_VIEW: tuple[View, ...] = (
    View("name()", ("string",)),
    View("symbol()", ("string",)),
    View("description()", ("string",)),
    *(_address(name) for name in ("owner", "asset", "factory", "poolManager", "admin", "implementation")),
    *(_number(name) for name in ("totalSupply", "decimals", "getChainId")),
)
# What a configuration calls a token that is the same thing under another symbol.
_ALSO_CALLED = {"WETH": "ETH", "WBTC": "BTC", "CBBTC": "BTC", "TBTC": "BTC", "WPOL": "POL", "USDT0": "USDT"}


def views_of(role: str) -> tuple[View, ...]:
    return VIEWS.get(role, ANY_VIEW)


def clean(text: str) -> str:
    """Return text of a contract for a terminal: one line, printable, bounded."""
    shown = "".join(character if character.isprintable() else "�" for character in text[: MAX_SHOWN + 1])
    return shown if len(text) <= MAX_SHOWN else shown[:MAX_SHOWN] + "…"


def answer_text(views: Sequence[View], answers: Sequence[tuple[Any, ...] | None]) -> str:
    """Say in a few words what answered."""
    known = {view.name: answer for view, answer in zip(views, answers, strict=True) if answer is not None}
    parts = []
    for name, answer in known.items():
        if name == "latestRoundData":
            (decimals,) = known.get("decimals", (0,))
            parts.append(f"now {from_raw(answer[1], decimals):.10g}")
        elif name in ("symbol", "description", "name", "getMarketId"):
            parts.append(clean(answer[0]))
        else:
            parts.append(f"{name} {_shown(answer[0])}")
    return ", ".join(parts)


def problem_of(
    role: str, expected: Expected, views: Sequence[View], answers: Sequence[tuple[Any, ...] | None]
) -> str:
    """Return what is wrong with what a contract answered, empty when nothing is."""
    if role in VIEWS and views and all(answer is None for answer in answers):
        wanted = ", ".join(f"{view.name}()" for view in views[:3])
        return f"has code but does not answer as {role} ({wanted}); it is another contract"
    if role in VIEWS:
        silent = [view.name for view, answer in zip(views, answers, strict=True) if answer is None]
        if silent:
            return f"does not answer {silent[0]}() as {role} does; it is another contract"
    found = {view.name: answer[0] for view, answer in zip(views, answers, strict=True) if answer is not None}
    return _wrong_text(role, expected, found) or _wrong_numbers(expected, found)


def _wrong_text(role: str, expected: Expected, found: Mapping[str, Any]) -> str:
    for key in ("symbol", "description"):
        text = found.get(key)
        if text is None:
            continue
        if len(text) > MAX_SYMBOL * (1 if key == "symbol" else 4):
            return f"its {key} has {len(text):,} characters, which no honest one has: {clean(text)!r}"
        if not text.isprintable():
            return f"its {key} has control characters: {clean(text)!r}"
        if expected.symbol and not _same_symbol(text, expected.symbol):
            what = "token" if key == "symbol" else role
            return f"is the {what} {clean(text)!r}, configured is {expected.symbol!r}"
    return ""


def _wrong_numbers(expected: Expected, found: Mapping[str, Any]) -> str:
    decimals = found.get("decimals")
    if expected.decimals is not None and decimals is not None and decimals != expected.decimals:
        return f"has {decimals} decimals, configured are {expected.decimals}"
    tokens = {str(found[key]).lower() for key in ("token0", "token1") if key in found}
    if expected.tokens and tokens and tokens != expected.tokens:
        found_tokens, wanted = (" and ".join(sorted(names)) for names in (tokens, expected.tokens))
        return f"is a pool of {found_tokens}, configured are {wanted}"
    return ""


def _same_symbol(found: str, wanted: str) -> bool:
    """Whether two symbols or pairs mean the same: "ETH / USD" and "ETH/USD", "WETH" and "ETH"."""
    left, right = _plain(found), _plain(wanted)
    return left == right or _ALSO_CALLED.get(left) == right or _ALSO_CALLED.get(right) == left


def _plain(text: str) -> str:
    return "".join(
        character for character in text.upper().replace("₮", "T") if character.isalnum() or character == "/"
    )


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"0x{value.hex()[:8]}…"
    if isinstance(value, str) and value.startswith("0x") and len(value) == 42:
        return f"{value[:6]}…{value[-4:]}"
    if isinstance(value, tuple | list):
        return f"{len(value)} entries"
    return clean(str(value))
