"""Where the signer keeps its state and who may reach it: beside the bot, or under a user of its own."""

import grp
import pwd
from dataclasses import dataclass
from pathlib import Path

from bot.chain.signer_wire import SOCKET_NAME
from bot.errors import ConfigError
from bot.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerPlace:
    """``user_id`` and ``group_id`` are None where the signer runs under the bot's user."""

    folder: Path
    user_id: int | None = None
    group_id: int | None = None

    @property
    def socket(self) -> Path:
        return self.folder / SOCKET_NAME

    def memory(self, address: str) -> Path:
        """Return the file of every nonce and sum that was signed for an account."""
        return self.folder / f"signer-{address.lower()}.log"


def pause_folders(settings: Settings) -> tuple[Path, ...]:
    """Return where a pause may stand: with the bot, and where a signer under a user of its own may write."""
    own = settings.signer.folder
    return (settings.state_dir,) if own is None or own == settings.state_dir else (settings.state_dir, own)


def signer_place(settings: Settings) -> SignerPlace:
    """Return the place. Raises ConfigError for a user or group that this machine does not have."""
    named = settings.signer
    if named.folder is None:
        return SignerPlace(folder=settings.state_dir)
    try:
        user_id = pwd.getpwnam(named.user).pw_uid
    except KeyError:
        raise ConfigError(f"signer.user: {named.user!r} is no user of this machine; make it first") from None
    try:
        group_id = grp.getgrnam(named.group).gr_gid
    except KeyError:
        raise ConfigError(
            f"signer.group: {named.group!r} is no group of this machine; make it first"
        ) from None
    return SignerPlace(folder=named.folder, user_id=user_id, group_id=group_id)
