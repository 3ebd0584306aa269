"""Laws over every HTTP source: any JSON gives its series, as finite numbers or unknown with a reason."""

import json
import math
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from web_server import Sources

from bot.errors import TransientError
from bot.model.market import Metric
from bot.watchers.web import WEB_SOURCES
from bot.watchers.web.client import DEFAULT_RATE

NOW_S = 1_795_263_600.0
EXAMPLES: dict[str, dict[str, Any]] = {
    "defillama": {"protocol": "aave-v3", "tokens": ("WETH",)},
    "defillama_token": {"protocol": "aave-v3", "token": "AAVE"},
    "csv_series": {
        "label": "x",
        "where": "https://example.org/x",
        "metric": Metric.INDEX_CLOSE,
        "subject": "SPX",
        "table": "json",
    },
    "fred": {"series_id": "SP500", "metric": Metric.INDEX_CLOSE, "subject": "SPX", "api_key": "k"},
    "derive": {"with_price": True},
    "macro_calendar": {"ics_url": "https://example.org/x.ics", "fred_api_key": "k"},
}
# Words that the sources look for, so that broken replies get past the first check.
WORDS = st.sampled_from(
    [
    "universe", "name", "funding", "openInterest", "markPx", "markets", "ETH-USD", "status", "ACTIVE",
        "nextFundingRate", "oraclePrice", "height", "time", "result", "tickers", "ETH-PERP", "t", "I",
        "f", "data", "continuation", "instrument_name", "mark_iv", "underlying_price", "date", "tvl",
        "tokens", "totalLiquidityUSD", "WETH", "mcap", "totalDataChart", "totalCirculating", "peggedUSD",
        "Results", "series", "seriesID", "CUUR0000SA0", "year", "period", "value", "REQUEST_SUCCEEDED",
        "observations", "release_dates", "instruments", "pagination", "num_pages", "option_pricing", "i",
        "ETH-27JUN27-3000-C", "ETH-20270627-3000-C", "creation_timestamp", "close",
    ]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [int(NOW_S), int(NOW_S * 1e3), "1e400", "", "0.5", "-1", "2026-11-21T12:00:00Z", "9" * 90]
    )
    | WORDS
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=25,
)


@dataclass
class AnyReply:
    """A ports.WebReader that answers everything with one value."""

    value: Any

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> Any:
        return self.value

    async def post(self, url: str, *, body: Mapping[str, Any]) -> Any:
        return self.value

    async def text(self, url: str, *, params: Mapping[str, str] | None = None) -> str:
        return json.dumps(self.value)


@pytest.mark.parametrize("kind", sorted(WEB_SOURCES))
@given(value=JSON)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_reply_is_a_number_or_unknown_with_a_reason(kind: str, value: Any):
    source = WEB_SOURCES[kind](**EXAMPLES.get(kind, {}))
    rows = await source.read(AnyReply(value), now_s=NOW_S)
    assert [row.key for row in rows] == list(source.series)
    for row in rows:
        assert row.observed_at_s <= NOW_S
        assert math.isnan(row.value) == bool(row.why_unknown)
        assert math.isnan(row.value) or math.isfinite(row.value)
        assert "\n" not in row.why_unknown
        assert len(row.why_unknown) < 400
    try:
        history = await source.history(AnyReply(value), since_s=NOW_S - 7_200, until_s=NOW_S)
    except TransientError:
        return
    assert all(math.isfinite(row.value) and NOW_S - 7_200 < row.observed_at_s <= NOW_S for row in history)


@pytest.mark.parametrize("kind", sorted(WEB_SOURCES))
def test_a_source_is_frozen_named_and_polite(kind: str):
    source = WEB_SOURCES[kind](**EXAMPLES.get(kind, {}))
    assert source.name
    assert len(set(source.series)) == len(source.series) > 0
    assert source.every_s >= 60.0
    assert 0.0 < source.requests_per_s <= 5.0  # type: ignore[attr-defined]
    assert DEFAULT_RATE <= 5.0
    with pytest.raises((FrozenInstanceError, AttributeError)):
        source.every_s = 1.0  # type: ignore[misc]


class Served:
    """A ports.WebReader over the made-up market itself, with one part of one reply replaced by junk."""

    def __init__(self, *, place: int, junk: Any) -> None:
        self._market = Sources(NOW_S)
        self._place = place
        self._junk = junk
        self.seen = 0  # parts of all replies
        self.replaced = False

    async def get(self, url: str, *, params: Mapping[str, str] | None = None) -> Any:
        return self._broken(self._market._answer(urlsplit(url).path, params or {}, None))

    async def post(self, url: str, *, body: Mapping[str, Any]) -> Any:
        return self._broken(self._market._answer(urlsplit(url).path, {}, body))

    async def text(self, url: str, *, params: Mapping[str, str] | None = None) -> str:
        return json.dumps(await self.get(url, params=params))

    def _broken(self, value: Any) -> Any:
        here, self.seen = self.seen, self.seen + 1
        if here == self._place:
            self.replaced = True
            return self._junk
        if isinstance(value, dict):
            return {key: self._broken(inner) for key, inner in value.items()}
        return [self._broken(inner) for inner in value] if isinstance(value, list) else value


URLS = {
    "hyperliquid": "https://x", "dydx_v4": "https://x/v4", "derive": "https://x", "derive_surface": "https://x",
    "deribit_dvol": "https://x/api/v2", "deribit_surface": "https://x/api/v2", "defillama": "https://x",
    "defillama_token": "https://x", "defillama_stablecoins": "https://x", "bls": "https://x/publicAPI",
    "fred": "https://x/fred",
}  # fmt: skip
LARGEST = {
    Metric.FUNDING_APR: 0.05 * 24 * 365,
    Metric.IV_7D: 5.0,
    Metric.IV_30D: 5.0,
    Metric.IV_90D: 5.0,
    Metric.VOL_INDEX: 5.0,
    Metric.MACRO_PRINT: 0.5,
}


@pytest.mark.parametrize("kind", sorted(URLS))
@given(place=st.integers(0, 400), junk=LEAVES | st.just([]) | st.just({}))
@settings(max_examples=80, deadline=None)
async def test_one_broken_part_of_a_good_reply_is_never_absurd(kind: str, place: int, junk: Any):
    source = WEB_SOURCES[kind](**(EXAMPLES.get(kind, {}) | {"base_url": URLS[kind]}))
    web = Served(place=place, junk=junk)
    rows = await source.read(web, now_s=NOW_S)
    assert [row.key for row in rows] == list(source.series)
    for row in rows:
        assert math.isnan(row.value) == bool(row.why_unknown)
        assert math.isnan(row.value) or abs(row.value) <= LARGEST.get(row.metric, 1e21)
        assert row.observed_at_s <= NOW_S
    if not web.replaced:
        assert not any(row.why_unknown for row in rows)


def test_every_source_can_be_configured_from_plain_values():
    for kind, source in WEB_SOURCES.items():
        fields = EXAMPLES.get(kind, {})
        plain = json.loads(json.dumps(fields))
        assert TypeAdapter(source).validate_python(plain) == source(**fields)
