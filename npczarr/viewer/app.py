"""The server's answers: the page, its scripts, the objects of one store. Nothing is written but marks of a review."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from npczarr.errors import LeaseError, NpczarrError, ParameterError
from npczarr.model.options import redacted
from npczarr.store.review import ChangedScanError
from npczarr.viewer.access import Access, is_this_machine
from npczarr.viewer.desk import ReviewDesk
from npczarr.viewer.objects import StoreObjects
from npczarr.viewer.page import PageFile, page_files
from npczarr.viewer.predicted import PredictedMasks, describe, packed

_NO_ACCESS = (
    "This page belongs to whoever started npczarr view. Open the address that it printed last: each is good for one "
    "browser, and only while npczarr view runs.\n"
)
_HEADERS = {
    "Cache-Control": "no-store",  # a browser keeps no images of patients on the disk
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",  # the decoders are WebAssembly
            "style-src 'self'",
            "connect-src 'self'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
Next = Callable[[Request], Awaitable[Response]]


def make_app(
    objects: StoreObjects, access: Access, desk: ReviewDesk, predicted: PredictedMasks | None = None
) -> Starlette:
    """Return the ASGI application that shows a store to one person.

    Parameters
    ----------
    objects
        What may be read.
    access
        Who may read.
    desk
        Where marks of a review are kept.
    predicted
        A model's masks, shown beside those of the store.
    """
    files = page_files()
    page = files["index.html"]
    served = PageFile(page.content.replace(b'data-mode="static"', b'data-mode="server"', 1), page.media_type)

    async def guard(request: Request, answer: Next) -> Response:
        response = await _guarded(request, answer, access)
        response.headers.update(_HEADERS)
        return response

    async def index(request: Request) -> Response:
        return _file(served)

    async def asset(request: Request) -> Response:
        found = files.get(request.path_params["name"])
        return PlainTextResponse("no such file\n", 404) if found is None else _file(found)

    async def read(request: Request) -> Response:
        return await _object(objects, request.path_params["key"])

    async def about(request: Request) -> Response:
        return JSONResponse({"name": objects.name, "predictions": describe(predicted)})

    async def prediction(request: Request) -> Response:
        return await _prediction(predicted, (request.path_params["patient"], request.path_params["sequence"]))

    async def marks(request: Request) -> Response:
        return await _answered(desk.describe)

    async def mark(request: Request) -> Response:
        if not _is_of_this_page(request):
            return PlainTextResponse("marks are taken from this server's own page alone\n", 403)
        return await _kept(request, desk)

    return Starlette(
        routes=[
            Route("/", index, methods=["GET"]),
            Route("/about.json", about, methods=["GET"]),
            Route("/review.json", marks, methods=["GET"]),
            Route("/review.json", mark, methods=["POST"]),
            Route("/assets/{name}", asset, methods=["GET"]),
            Route("/store/{key:path}", read, methods=["GET"]),
            Route("/predictions/{patient:int}/{sequence:int}", prediction, methods=["GET"]),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=guard)],
    )


async def _guarded(request: Request, answer: Next, access: Access) -> Response:
    """Answer whom the server knows; exchange a token for a cookie, and take it out of the address."""
    if not is_this_machine(request.headers.get("host", "")):
        return PlainTextResponse("npczarr view answers at 127.0.0.1 and localhost alone\n", 421)
    token = request.query_params.get("token")
    if token is not None and request.url.path == "/" and request.method == "GET":
        return _exchanged(request, access, token)
    if not access.admits(request.headers.get("cookie", "")):
        return PlainTextResponse(_NO_ACCESS, 403)
    return await answer(request)


def _exchanged(request: Request, access: Access, token: str) -> Response:
    known = access.admits(request.headers.get("cookie", ""))
    session = None if known else access.exchange(token)
    if not known and session is None:
        return PlainTextResponse(_NO_ACCESS, 403)
    rest = urlencode([(key, value) for key, value in request.query_params.multi_items() if key != "token"])
    response = RedirectResponse("/" + (f"?{rest}" if rest else ""), 303)
    if session is not None:
        response.set_cookie(access.cookie, session, httponly=True, samesite="lax", path="/")
    return response


def _is_of_this_page(request: Request) -> bool:
    """Whether a request that writes comes from the page itself, and not from one at another port of this machine."""
    host = request.headers.get("host", "")
    json_type = request.headers.get("content-type", "").partition(";")[0].strip() == "application/json"
    return json_type and request.headers.get("origin", "").lower() == f"http://{host}".lower()


async def _answered(work: Callable[[], dict[str, Any]]) -> Response:
    """Do what takes a while beside the server's loop; what is refused is said."""
    try:
        return JSONResponse(await run_in_threadpool(work))
    except (LeaseError, ChangedScanError) as error:
        return PlainTextResponse(redacted(str(error)), 409)
    except ParameterError as error:
        return PlainTextResponse(redacted(str(error)), 400)
    except (NpczarrError, OSError) as error:
        return PlainTextResponse(redacted(str(error)), 502)


async def _kept(request: Request, desk: ReviewDesk) -> Response:
    try:
        body = await request.body()
    except ClientDisconnect:  # nobody is there to be answered; without this the terminal shows a traceback
        return PlainTextResponse("the request was cut off\n", 400)
    return await _answered(lambda: desk.keep(body))


async def _object(objects: StoreObjects, key: str) -> Response:
    try:
        content = await run_in_threadpool(objects.read, key)
    except NpczarrError as error:
        return PlainTextResponse(redacted(str(error)), 502)
    if content is None:
        return PlainTextResponse("no such object\n", 404)
    return Response(content, media_type="application/octet-stream")


async def _prediction(predicted: PredictedMasks | None, place: tuple[int, int]) -> Response:
    try:
        content = None if predicted is None else await run_in_threadpool(packed, predicted, place)
    except NpczarrError as error:
        return PlainTextResponse(redacted(str(error)), 502)
    if content is None:
        return PlainTextResponse("no prediction of this scan\n", 404)
    return Response(content, media_type="application/octet-stream", headers={"Content-Encoding": "gzip"})


def _file(file: PageFile) -> Response:
    return Response(file.content, media_type=file.media_type)
