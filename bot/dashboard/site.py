"""What every page shares: the desk, who may look, the templates, the files beside them."""

import gzip
import hashlib
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from bot import __version__
from bot.dashboard import shown
from bot.dashboard.access import Access
from bot.dashboard.snapshot import Desk
from bot.model.tier import Quality, Tier
from bot.simulation.wording import percent, usd

_FILES = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_PLOTLY = "plotly.min.js"
# plotly puts the styles of its maps into the page unless an element of this name is there. No page has a map,
# and no page takes styles that do not stand in its own file.
_OWN_STYLE = re.compile(rb'getElementById\("([0-9a-f]{64})"\)')


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    body: bytes
    packed: bytes  # by gzip
    kind: str


@dataclass(slots=True, kw_only=True)
class Site:
    """The one object that handlers get. Nothing in it reaches a chain, a venue or a key."""

    desk: Desk
    access: Access
    cookie: str
    secure: bool  # served by TLS
    clock: Callable[[], float] = time.time
    files: Mapping[str, StaticFile] = field(default_factory=lambda: static_files())
    templates: Environment = field(default_factory=lambda: environment())
    version: str = field(init=False)  # of the files: a new one is a new address
    plotly_ids: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(b"".join(item.body for item in self.files.values()))
        self.version = digest.hexdigest()[:12]
        self.plotly_ids = tuple(map(bytes.decode, _OWN_STYLE.findall(self.files[_PLOTLY].body)))

    def render(self, template: str, **values: Any) -> str:
        return self.templates.get_template(template).render(
            place=self.desk.place,
            static=f"/static/{self.version}",
            plotly_ids=self.plotly_ids,
            program=__version__,
            **values,
        )


def static_files() -> dict[str, StaticFile]:
    folder = resources.files("bot.dashboard").joinpath("static")
    bodies = {name: folder.joinpath(name).read_bytes() for name in _FILES}
    bodies[_PLOTLY] = get_plotlyjs().encode()
    kinds = {**_FILES, _PLOTLY: "text/javascript"}
    return {
        name: StaticFile(body=body, packed=gzip.compress(body, 6, mtime=0), kind=kinds[name])
        for name, body in bodies.items()
    }


def environment() -> Environment:
    """Return templates that escape everything, refuse unknown names, and show what cannot be seen."""
    made = Environment(
        loader=PackageLoader("bot.dashboard"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown.plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        usd=usd,
        percent=percent,
        number=shown.number,
        figure=shown.figure,
        signal_name=shown.signal_name,
        signed=shown.signed,
        duration=shown.duration,
        when=shown.when,
        short=shown.short,
        copy_button=shown.copy_button,
    )
    made.globals.update(
        age=shown.age, explorer_link=shown.explorer_link, Tier=Tier, Quality=Quality, isfinite=math.isfinite
    )
    return made
