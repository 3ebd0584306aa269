"""The [safe] section: proposals lie at a service or in a folder, never at both."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from bot.settings.safe import SafeSettings

AT = {"address": "0x" + "11" * 20, "multi_send": "0x" + "22" * 20}


def test_a_folder_is_the_default() -> None:
    found = SafeSettings(**AT)
    assert (found.service, found.queue, found.api_key.get_secret_value()) == (None, None, "")


def test_a_service_with_its_key_which_is_never_shown() -> None:
    found = SafeSettings(**AT, service="https://safe.example.org/tx-service/sep", api_key="a-secret-key")
    assert "a-secret-key" not in repr(found) + str(found)
    assert "tx-service" not in repr(found)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"api_key": "x"}, "none is named"),
        ({"service": "https://safe.example.org", "queue": Path("q")}, "remove one of service and queue"),
        ({"service": "http://safe.example.org"}, "plain http"),
        ({"service": "ftp://safe.example.org"}, "must be http"),
        ({"timeout_s": 0.0}, "greater than 0"),
        ({"address": "0x12"}, "40 hex digits"),
        ({"owners": ("0x" + "11" * 20,)}, "Extra inputs"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        SafeSettings(**{**AT, **fields})
