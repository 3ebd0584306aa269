"""Sources of observations over HTTP and from files. Adding one is one file and one line here."""

from bot.ports import WebSource
from bot.watchers.web.bls import BlsSource
from bot.watchers.web.csv_series import CsvSeries
from bot.watchers.web.defillama import DefiLlamaSource, DefiLlamaTokenSource, StablecoinFlowSource
from bot.watchers.web.deribit import DeribitSurface, DeribitVolIndex
from bot.watchers.web.derive import DeriveFunding, DeriveSurface
from bot.watchers.web.dydx_v4 import DydxSource
from bot.watchers.web.fred import FredSource
from bot.watchers.web.hyperliquid import HyperliquidSource
from bot.watchers.web.macro_calendar import MacroCalendar

WEB_SOURCES: dict[str, type[WebSource]] = {
    "hyperliquid": HyperliquidSource,
    "dydx_v4": DydxSource,
    "derive": DeriveFunding,
    "derive_surface": DeriveSurface,
    "deribit_dvol": DeribitVolIndex,
    "deribit_surface": DeribitSurface,
    "defillama": DefiLlamaSource,
    "defillama_token": DefiLlamaTokenSource,
    "defillama_stablecoins": StablecoinFlowSource,
    "csv_series": CsvSeries,
    "macro_calendar": MacroCalendar,
    "bls": BlsSource,
    "fred": FredSource,
}
