"""The venue of perpetuals is put together from the settings, for each mode."""

from perpetual_builders import PERP, perpetual_order, traded

from bot.app.perp_v2 import pair_venues, perpetual_venue, perpetual_venues
from bot.pipeline.memory_journal import MemoryJournal
from bot.settings.perp_v2 import PerpV2Settings
from bot.venues.paper_perpetual import PaperPerpetualVenue

SETTINGS = PerpV2Settings(
    underlying="ETH",
    symbol="vETH",
    **dict.fromkeys(
        ("base_token", "clearing_house", "vault", "account_balance", "exchange", "config", "collateral"),
        "0x" + "ab" * 20,
    ),
)


def test_nothing_is_built_where_nothing_is_configured():
    assert perpetual_venue(None, None) is None
    assert perpetual_venues(None, MemoryJournal(), mode="live") == {}
    assert pair_venues((), None, None, custody=None) == ()


def test_a_live_run_trades_and_a_dry_run_only_reads():
    venue = perpetual_venue(SETTINGS, None)
    assert venue is not None
    assert venue.adapter.terms.perpetual == PERP
    assert perpetual_venues(venue, MemoryJournal(), mode="live") == {"perp-v2": venue}
    journal = MemoryJournal()
    journal.open_perpetual(perpetual_order(), at_s=1.0)
    journal.close_perpetual(traded(perpetual_order()))
    paper = perpetual_venues(venue, journal, mode="dry-run")["perp-v2"]
    assert isinstance(paper, PaperPerpetualVenue)
    assert [item.size for item in paper._book.all()] == [-10.0]  # rebuilt from the journal
