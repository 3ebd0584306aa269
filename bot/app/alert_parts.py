"""What the settings make of alerts: targets, manners, the heartbeat."""

import asyncio
from zoneinfo import ZoneInfo

from bot.alerts.condition import Severity
from bot.alerts.desk import Manners
from bot.alerts.message import Delivery, Message, Sender, Target
from bot.alerts.schedule import Daily, Every, Quiet, time_of, zone_of
from bot.alerts.sender import AppriseSender
from bot.alerts.webhook import WebhookSender
from bot.errors import ConfigError
from bot.settings.alerts import AlertSettings, TargetSettings


def targets_of(alerts: AlertSettings) -> tuple[Target, ...]:
    """Return every configured target, numbered through. Raises ConfigError for one that cannot be."""
    found = [
        Target(
            sender=AppriseSender.of(
                url.get_secret_value(), number=number, where=f"alerts.urls entry {number}"
            ),
            least=_severity(alerts.least),
        )
        for number, url in enumerate(alerts.urls, start=1)
    ]
    for place, item in enumerate(alerts.targets, start=1):
        sender = _sender(item, number=len(found) + 1, where=f"alerts.targets entry {place}")
        found.append(Target(sender=sender, least=_severity(item.least or alerts.least), kinds=item.kinds))
    ids = [item.sender.id for item in found]
    twice = next((number for number, item in enumerate(ids, start=1) if item in ids[: number - 1]), None)
    if twice is not None:
        raise ConfigError(f"alert target {twice} is the same address as another one; keep one of them")
    return tuple(found)


def manners_of(alerts: AlertSettings) -> Manners:
    """Return when and how much is told."""
    zone = zone_of(alerts.time_zone)
    digest = Every(seconds=alerts.digest_every_s) if alerts.digest_every_s is not None else None
    return Manners(
        settle_s=alerts.settle_s,
        gap_s=alerts.gap_s,
        max_per_hour=alerts.max_per_hour,
        zone=zone,
        quiet=_quiet(alerts, zone),
        digest=digest or _daily(alerts.digest_at, zone),
        alive=_daily(alerts.alive_at, zone),
        templates=alerts.words,
    )


async def send_test(alerts: AlertSettings) -> tuple[Delivery, ...]:
    """Send one message to every target. Raises ConfigError when there is none."""
    targets = targets_of(alerts)
    if not targets:
        raise ConfigError(
            "alerts.urls names no target; add an address that apprise knows, for example "
            'urls = ["${ALERT_URL}"] under [alerts]'
        )
    text = "This is a test. Alerts of the bot will come here."
    message = Message(severity=Severity.INFO, title="[alvh] test", text=text)
    return tuple(await asyncio.gather(*(item.sender.send(message) for item in targets)))


def _sender(item: TargetSettings, *, number: int, where: str) -> Sender:
    url = item.url.get_secret_value()
    if item.secret is None:
        return AppriseSender.of(url, number=number, where=where)
    return WebhookSender.of(url, secret=item.secret.get_secret_value(), number=number, where=where)


def _severity(name: str) -> Severity:
    return Severity[name.upper()]


def _daily(text: str, zone: ZoneInfo) -> Daily | None:
    return Daily(at=time_of(text), zone=zone) if text else None


def _quiet(alerts: AlertSettings, zone: ZoneInfo) -> Quiet | None:
    begins, ends = _daily(alerts.quiet_from, zone), _daily(alerts.quiet_until, zone)
    return Quiet(begins=begins, ends=ends) if begins is not None and ends is not None else None
