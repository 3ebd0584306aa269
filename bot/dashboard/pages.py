"""The handlers: each reads the newest look and makes one page of it. What changes anything says so."""

import asyncio
import math
import re
from typing import Any

from aiohttp import web
from multidict import MultiMapping
from plotly.io.json import to_json_plotly

from bot.dashboard import charts, guard, states
from bot.dashboard import orders as made
from bot.dashboard import overview as first
from bot.dashboard import positions as held
from bot.dashboard import signals as read
from bot.dashboard.access import Session
from bot.dashboard.past import ReadingKey
from bot.dashboard.site import Site
from bot.dashboard.snapshot import ReportFile, Snapshot
from bot.errors import ConfigError

_LOOKED = "alvh_looked"  # when the last visit ended and this one began
_LOOKED_KEPT_S = 90 * 86_400
_VISIT_S = 600.0  # without a page: a new visit
_LOOKED_TEXT = re.compile(r"(\d{1,11})\.(\d{1,11})")
_WHY_LENGTH = 200
_MOST_PAGES = 1_000
SESSION = web.RequestKey("session", Session)  # of a request that has one


async def overview(site: Site, request: web.Request) -> web.StreamResponse:
    seen = site.desk.look()
    record = seen.last
    since_s, looked = _looked(site, request)
    values: dict[str, Any] = {"since_s": since_s}
    if record is not None:
        rows, many = first.changes(seen, since_s)
        live, configured = first.sources(seen)
        values |= {
            "record": record,
            "bars": first.bars(record),
            "budgets": first.budgets(record),
            "worth": first.worth(seen, record),
            "changes": rows,
            "new_changes": many,
            "coming": first.coming(seen, record),
            "proposals": first.proposals(seen),
            "chains": first.chains(site.desk.place, seen, record),
            "sources_live": live,
            "sources_all": configured,
            "units": first.units_held(seen),
            "points": len(seen.past.points),
        }
    answer = _page(site, request, "overview.html", seen, title="Overview", **values)
    answer.set_cookie(
        _LOOKED, looked, httponly=True, samesite="Strict", secure=site.secure, max_age=_LOOKED_KEPT_S
    )
    return answer


async def signals(site: Site, request: web.Request) -> web.StreamResponse:
    seen = site.desk.look()
    return _page(
        site,
        request,
        "signals.html",
        seen,
        title="Signals",
        families=read.families(seen),
        absent=read.absent(seen),
        rules=read.rules(seen),
        chosen=_reading_key(request.query),
    )


async def positions(site: Site, request: web.Request) -> web.StreamResponse:
    seen = site.desk.look()
    return _page(
        site,
        request,
        "positions.html",
        seen,
        title="Positions",
        groups=held.groups(seen),
        others=held.others(seen),
    )


async def orders(site: Site, request: web.Request) -> web.StreamResponse:
    seen = site.desk.look()
    rows = made.rows(seen)
    number = _whole(request.query, "page", least=1, most=_MOST_PAGES)
    pages = max(1, math.ceil(len(rows) / made.PAGE_ROWS))
    shown = rows[(number - 1) * made.PAGE_ROWS : number * made.PAGE_ROWS]
    chains = {item.tx_hash: item.chain_id for item in seen.intents if item.tx_hash}
    return _page(
        site,
        request,
        "orders.html",
        seen,
        title="Orders",
        rows=shown,
        total=len(rows),
        number=number,
        pages=pages,
        chain_of=lambda tx_hash: chains.get(tx_hash, site.desk.place.chain_ids[0]),
    )


async def runs(site: Site, request: web.Request) -> web.StreamResponse:
    return _page(site, request, "runs.html", site.desk.look(), title="Simulation runs")


async def report(site: Site, request: web.Request) -> web.StreamResponse:
    """Return a file of the reports folder as it is, as a stranger: its own scripts run without origin."""
    wanted = request.match_info["name"]
    found = next((item for item in site.desk.look().reports if item.name == wanted), None)
    if found is None:
        raise web.HTTPNotFound
    body = await asyncio.to_thread(_read, found)
    kind = "text/html" if found.kind == "report" else "application/json"
    answer = web.Response(body=body, content_type=kind, charset="utf-8")
    answer.headers["Content-Security-Policy"] = guard.REPORT_POLICY
    answer.enable_compression()
    return answer


async def health(site: Site, request: web.Request) -> web.StreamResponse:
    seen = site.desk.look()
    live, configured = first.sources(seen)
    rows = first.chains(site.desk.place, seen, seen.last) if seen.last is not None else []
    return _page(
        site, request, "health.html", seen, title="Health", chains=rows, sources_live=live,
        sources_all=configured,
    )  # fmt: skip


async def chart(site: Site, request: web.Request) -> web.StreamResponse:
    """Return one figure for the page's script to draw."""
    seen, name = site.desk.look(), request.match_info["name"]
    figure: dict[str, Any] | None = None
    if name == "timeline" and seen.last is not None:
        underlying = next(iter(sorted(seen.last.spot_usd)), "")
        figure = charts.timeline(tuple(seen.past.points), underlying)
    elif name == "payoff":
        view = held.payoff(seen, request.query.get("group", ""))
        mine = [item.underlying for item in seen.exposures if item.group == request.query.get("group", "")]
        figure = charts.payoff(view, mine[0]) if view is not None else None
    elif name == "signal" and (key := _reading_key(request.query)) is not None:
        points = read.series(seen, key)
        figure = charts.signal(points, _unit(seen, key)) if points else None
    if figure is None:
        raise web.HTTPNotFound
    return web.json_response(text=str(to_json_plotly(figure)))


async def ask_pause(site: Site, request: web.Request) -> web.StreamResponse:
    return _confirmation(site, request, "pause")


async def pause(site: Site, request: web.Request) -> web.StreamResponse:
    """Put the pause in force; the one write that there is."""
    form = await request.post()
    why = " ".join(str(form.get("why", "")).split())[:_WHY_LENGTH] or "no reason was given"
    try:
        site.desk.pause(by="a person at the dashboard", why=why)
    except ConfigError as error:
        raise web.HTTPServiceUnavailable(text=str(error)) from None
    return _go("/")


async def ask_leave(site: Site, request: web.Request) -> web.StreamResponse:
    return _confirmation(site, request, "leave")


async def leave(site: Site, request: web.Request) -> web.StreamResponse:
    """End the session."""
    site.access.logout(request.cookies.get(site.cookie, ""))
    answer = _go("/login")
    answer.del_cookie(site.cookie)
    return answer


async def ask_token(site: Site, _: web.Request) -> web.StreamResponse:
    return _token_page(site, status=200)


async def login(site: Site, request: web.Request) -> web.StreamResponse:
    """Give a session for the token; never says more than that it was wrong, or how long to wait."""
    form = await request.post()
    token = form.get("token", "")
    name = site.access.login(str(token).strip(), old=request.cookies.get(site.cookie, ""))
    if name is None:
        return _token_page(site, status=429 if site.access.wait_s > 0.0 else 401, was_wrong=True)
    answer = _go("/")
    answer.set_cookie(site.cookie, name, httponly=True, samesite="Strict", secure=site.secure, path="/")
    return answer


async def static(site: Site, request: web.Request) -> web.StreamResponse:
    """Return a file of the program; its address has its version, so that it never changes."""
    found = site.files.get(request.match_info["name"])
    if found is None or request.match_info["version"] != site.version:
        raise web.HTTPNotFound
    packs = "gzip" in request.headers.get("Accept-Encoding", "")
    body = found.packed if packs else found.body
    answer = web.Response(body=body, content_type=found.kind, charset="utf-8")
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    answer.headers["Vary"] = "Accept-Encoding"
    if packs:
        answer.headers["Content-Encoding"] = "gzip"
    return answer


def _page(
    site: Site, request: web.Request, template: str, seen: Snapshot, *, title: str, **values: Any
) -> web.Response:
    """Return a whole page or, for the page's own script, its changed part; 204 where nothing did."""
    version = f"{seen.version}-{int(site.clock() // 60)}"  # ages are words too
    is_part = "HX-Request" in request.headers
    if is_part and request.query.get("seen") == version:
        return web.Response(status=204)
    text = site.render(
        template,
        seen=seen,
        version=version,
        title=title,
        path=request.path,
        query=_kept_query(request.query),
        is_part=is_part,
        now_s=site.clock(),
        headline=states.headline(site.desk.place, seen),
        notices=states.notices(site.desk.place, seen),
        **values,
    )
    return web.Response(text=text, content_type="text/html")


def _go(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _confirmation(site: Site, request: web.Request, purpose: str) -> web.Response:
    session = request[SESSION]
    text = site.render(
        f"{purpose}.html",
        title={"pause": "Pause?", "leave": "Sign out?"}[purpose],
        nonce=site.access.nonce(session, purpose),
        seen=site.desk.look(),
        path=request.path,
    )
    return web.Response(text=text, content_type="text/html")


def _token_page(site: Site, *, status: int, was_wrong: bool = False) -> web.Response:
    text = site.render(
        "login.html", title="Sign in", was_wrong=was_wrong, wait_s=site.access.wait_s, path="/login"
    )
    return web.Response(text=text, content_type="text/html", status=status)


def _looked(site: Site, request: web.Request) -> tuple[float, str]:
    """Return when the visit before this one ended, and what the browser is to remember."""
    now_s = int(site.clock())
    match = _LOOKED_TEXT.fullmatch(request.cookies.get(_LOOKED, ""))
    if match is None:
        return math.inf, f"{now_s}.{now_s}"
    ended_s, last_s = int(match[1]), int(match[2])
    if now_s - last_s > _VISIT_S:
        ended_s = last_s
    return float(ended_s), f"{ended_s}.{now_s}"


def _reading_key(query: MultiMapping[str]) -> ReadingKey | None:
    if "signal" not in query:
        return None
    return ReadingKey(query.get("signal", ""), query.get("subject", ""), query.get("source", ""))


def _kept_query(query: MultiMapping[str]) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in query.items() if name != "seen"]


def _unit(seen: Snapshot, key: ReadingKey) -> str:
    readings = seen.full.decision.readings if seen.full is not None else ()
    return next((item.unit for item in readings if item.signal == key.signal), "")


def _whole(query: MultiMapping[str], name: str, *, least: int, most: int) -> int:
    """Return a whole number of the address, ``least`` where it is not there. Raises a refusal."""
    text = query.get(name, str(least))
    if not (text.isascii() and text.isdigit() and least <= int(text[:9]) <= most and len(text) <= 9):
        raise web.HTTPBadRequest(text=f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _read(item: ReportFile) -> bytes:
    try:
        return item.path.read_bytes()
    except OSError:
        raise web.HTTPNotFound from None
