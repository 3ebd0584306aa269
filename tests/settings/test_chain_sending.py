"""Keys of [chain] that say how transactions are sent there."""

import pytest
from pydantic import ValidationError

from bot.settings.chains import ChainSettings

URL = "https://one.example/key-secret"


def _chain(**changes) -> ChainSettings:
    return ChainSettings.model_validate({"id": 1, "rpc_url": URL, **changes})


def test_the_depth_is_that_of_the_chain_unless_it_is_said():
    assert (_chain().confirmations, _chain().depth) == (None, 2)
    assert _chain(id=11155111).depth == 5
    assert _chain(confirmations=12).depth == 12


@pytest.mark.parametrize("bad", [0, -1, 10_001, "deep"])
def test_a_depth_that_cannot_be_is_refused(bad):
    with pytest.raises(ValidationError, match="confirmations"):
        _chain(confirmations=bad)


def test_a_relay_is_a_secret_and_checked_as_providers_are():
    chain = _chain(send_url="https://relay.example/key-secret", public_after_blocks=25)
    assert chain.send_url is not None
    assert "key-secret" not in repr(chain)
    with pytest.raises(ValidationError, match="send_url"):
        _chain(send_url="http://relay.example/key-secret")
    with pytest.raises(ValidationError, match="send_url"):
        _chain(send_url="ftp://relay.example")


def test_a_fall_back_without_a_relay_is_refused():
    with pytest.raises(ValidationError, match="public_after_blocks means nothing without send_url"):
        _chain(public_after_blocks=25)


def test_only_tags_that_mean_finality_are_taken():
    assert _chain(final_tag="finalized").final_tag == "finalized"
    with pytest.raises(ValidationError, match="final_tag"):
        _chain(final_tag="latest")
