"""Sources of observations on a chain. Adding one is one file and one line here."""

from bot.ports import Watcher
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.tvl import TvlWatcher
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher

WATCHERS: dict[str, type[Watcher]] = {
    "uniswap_v2": UniswapV2Watcher,
    "uniswap_v3": UniswapV3Watcher,
    "uniswap_v3_stable": UniswapV3StableWatcher,
    "tvl": TvlWatcher,
    "chainlink": ChainlinkWatcher,
    "perp_v2_funding": PerpV2FundingWatcher,
    "lyra_iv": LyraIvWatcher,
}
