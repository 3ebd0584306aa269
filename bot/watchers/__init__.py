"""Sources of observations on a chain. Adding one is one file and one line here.

Sources on the web have their own table in bot/watchers/web.
"""

from bot.ports import Watcher
from bot.watchers.aave_v3 import AaveV3Watcher
from bot.watchers.admin_events import AdminEventsWatcher
from bot.watchers.balancer_v2 import BalancerV2Watcher
from bot.watchers.balancer_v3 import BalancerV3Watcher
from bot.watchers.bridge import BridgeLockWatcher, BridgeSupplyWatcher
from bot.watchers.chainlink import ChainlinkRateWatcher, ChainlinkWatcher
from bot.watchers.compound_v3 import CompoundV3Watcher
from bot.watchers.curve import CurveWatcher
from bot.watchers.erc4626 import Erc4626Watcher
from bot.watchers.gas import GasWatcher
from bot.watchers.gmx_v2 import GmxV2Watcher
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.sandwich import SandwichWatcher
from bot.watchers.sequencer import SequencerWatcher
from bot.watchers.synthetix_v3 import SynthetixV3Watcher
from bot.watchers.tvl import TvlWatcher
from bot.watchers.twap_vol import TwapVolWatcher
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher
from bot.watchers.uniswap_v4 import UniswapV4Watcher

WATCHERS: dict[str, type[Watcher]] = {
    "aave_v3": AaveV3Watcher,
    "admin_events": AdminEventsWatcher,
    "balancer_v2": BalancerV2Watcher,
    "balancer_v3": BalancerV3Watcher,
    "bridge_lock": BridgeLockWatcher,
    "bridge_supply": BridgeSupplyWatcher,
    "chainlink": ChainlinkWatcher,
    "chainlink_rate": ChainlinkRateWatcher,
    "compound_v3": CompoundV3Watcher,
    "curve": CurveWatcher,
    "erc4626": Erc4626Watcher,
    "gas": GasWatcher,
    "gmx_v2": GmxV2Watcher,
    "lyra_iv": LyraIvWatcher,
    "perp_v2_funding": PerpV2FundingWatcher,
    "sandwich": SandwichWatcher,
    "sequencer": SequencerWatcher,
    "synthetix_v3": SynthetixV3Watcher,
    "tvl": TvlWatcher,
    "twap_vol": TwapVolWatcher,
    "uniswap_v2": UniswapV2Watcher,
    "uniswap_v3": UniswapV3Watcher,
    "uniswap_v3_stable": UniswapV3StableWatcher,
    "uniswap_v4": UniswapV4Watcher,
}
