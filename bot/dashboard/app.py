"""The application: what is refused, what needs a session, what needs a confirmation; then the routes."""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_exceptions import HTTPException

from bot.dashboard import guard, pages
from bot.dashboard.limits import Connection
from bot.dashboard.routes import ROUTES, Needs, Route
from bot.dashboard.site import Site

MOST_BODY_BYTES = 8_192
BODY_S = 5.0  # for a form to come in whole
_FORM = "application/x-www-form-urlencoded"
_WORDS = {
    400: "This request cannot be read.",
    401: "Sign in first.",
    403: "This request is refused.",
    404: "There is no such page.",
    405: "This page cannot be asked that way.",
    408: "The request came too slowly.",
    413: "The request is too large.",
    415: "Only a form of this page is taken here.",
    503: "This could not be done.",
}
_UNCONFIRMED = "This confirmation was used, is too old, or was never asked for."
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(site: Site, *, hosts: frozenset[str]) -> web.Application:
    """Return the application for requests that name one of ``hosts``."""
    application = web.Application(
        client_max_size=MOST_BODY_BYTES,
        middlewares=[_timed, _designed(site), _guarded(hosts)],
        handler_args={"max_headers": 64},
    )
    for route in ROUTES:
        handler = _checked(site, route)
        if route.method == "GET":
            application.router.add_get(route.path, handler)
        else:
            application.router.add_post(route.path, handler)
    application.on_response_prepare.append(_with_headers)
    return application


@web.middleware
async def _timed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell the connection that its request has come, and when it waits for the next one."""
    connection = request.protocol
    if isinstance(connection, Connection):
        connection.has_head()
    try:
        return await handler(request)
    finally:
        if isinstance(connection, Connection) and connection.transport is not None:
            connection.wait_for_head()


def _designed(site: Site) -> Middleware:
    """Make every refusal a page of ours, in plain words."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except HTTPException as error:
            return _problem(site, error)
        except TimeoutError:
            return _problem(site, web.HTTPRequestTimeout())

    return middleware


def _problem(site: Site, error: HTTPException) -> web.Response:
    own = f"{error.status}: {error.reason}"
    why = error.text if error.text and error.text != own else ""
    words = _WORDS.get(error.status, "Something went wrong.")
    text = site.render("problem.html", title=words, status=error.status, words=words, why=why, path="")
    answer = web.Response(text=text, content_type="text/html", status=error.status)
    if "Allow" in error.headers:
        answer.headers["Allow"] = error.headers["Allow"]
    if error.status in (408, 413):
        answer.force_close()
    return answer


def _guarded(hosts: frozenset[str]) -> Middleware:
    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = guard.refusal_of(request.method, request.headers, hosts)
        if refusal is None:
            return await handler(request)
        if refusal.status == 405:
            raise web.HTTPMethodNotAllowed(request.method, guard.METHODS, text=refusal.why)
        raise web.HTTPForbidden(text=refusal.why)

    return middleware


def _checked(site: Site, route: Route) -> Handler:
    """Return a handler that looks at session, form and nonce before the route's own."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if route.needs is not Needs.NOTHING:
            session = site.access.session(request.cookies.get(site.cookie, ""))
            if session is None:
                return _sign_in(request)
            request[pages.SESSION] = session
        if route.method == "POST":
            await _read_form(request)
        if route.needs is Needs.CONFIRMED:
            nonce = str((await request.post()).get("nonce", ""))
            if not site.access.redeem(request[pages.SESSION], route.path.strip("/"), nonce):
                raise web.HTTPForbidden(text=_UNCONFIRMED)
        return await route.handler(site, request)

    return handler


def _sign_in(request: web.Request) -> web.StreamResponse:
    if "HX-Request" in request.headers:
        return web.Response(status=401, headers={"HX-Redirect": "/login"})
    if request.method == "POST" or request.path.startswith("/charts/"):
        raise web.HTTPUnauthorized
    return web.Response(status=303, headers={"Location": "/login"})


async def _read_form(request: web.Request) -> None:
    """Take in the form, whole and in time, or refuse."""
    if request.content_type != _FORM:
        raise web.HTTPUnsupportedMediaType
    async with asyncio.timeout(BODY_S):
        try:
            await request.post()
        except (UnicodeDecodeError, ValueError, LookupError):
            raise web.HTTPBadRequest(text="the form is not UTF-8 text") from None


async def _with_headers(_: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.popall("Server", None)
    for name, value in guard.HEADERS.items():
        answer.headers.setdefault(name, value)
