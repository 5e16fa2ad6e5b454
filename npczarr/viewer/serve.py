"""Serve a store to the browser of this machine, until Ctrl-C."""

from __future__ import annotations

import socket
import webbrowser
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import uvicorn

from npczarr.errors import ParameterError
from npczarr.store.location import locate
from npczarr.store.review import Review
from npczarr.viewer.access import Access
from npczarr.viewer.app import make_app
from npczarr.viewer.desk import ReviewDesk, draw_sample
from npczarr.viewer.objects import StoreObjects
from npczarr.viewer.predicted import PredictedMasks

_PORT = 8765  # the first that is tried: an address that stays the same suits `ssh -L`
_TRIES = 20


def view(
    store: str | Path,
    *,
    patient: str | None = None,
    port: int | None = None,
    browser: bool = True,
    reviewer: str = "",
    sample: int | None = None,
    seed: int = 0,
    review_csv: str | Path | None = None,
    predicted: PredictedMasks | None = None,
    on_address: Callable[[str], None] = print,
    storage_options: Mapping[str, Any] | None = None,
) -> None:
    """Show a store in the browser; this call ends by Ctrl-C.

    The page is served at 127.0.0.1 alone. Its first address holds a token that is good for one browser; what the
    browser shows after that can be copied without it. Objects of a remote store are read by this process, so
    credentials stay in it.

    Parameters
    ----------
    store
        Folder or URL of the store.
    patient
        Label of the patient that is shown first.
    port
        Port to listen at; by default the first free one from 8765.
    browser
        Open the page in a browser.
    reviewer
        Name that is kept with each mark of a review; without it no name is.
    sample
        Number of patients to be reviewed, drawn at random; by default all are listed.
    seed
        Seed of the sample.
    review_csv
        File for the marks if the store is read-only; by default ``<store>-review.csv`` in the current folder.
        Tables, ``where`` and the report read that one alone: marks in another file count only where it is named.
    predicted
        A model's masks, shown beside those of the store.
    on_address
        Called with the address of the page, and with another once that was used.
    storage_options
        Options of the file system; credentials belong in the environment.

    Raises
    ------
    StoreError
        If there is no store.
    ParameterError
        If nothing can listen at the port, or a sample has no patient.
    """
    objects = StoreObjects(locate(store, storage_options))
    drawn = draw_sample(objects.patients() if sample is not None else (), sample, seed)
    desk = ReviewDesk(Review(objects.location, None if review_csv is None else Path(review_csv)), reviewer, drawn)
    with _listen(port) as listening:
        number = listening.getsockname()[1]
        rest = {"patient": patient} if patient is not None else {}

        def address(token: str) -> str:
            return f"http://127.0.0.1:{number}/?{urlencode({'token': token, **rest})}"

        access = Access(number, lambda token: on_address(address(token)))
        on_address(address(access.token))
        if browser:
            webbrowser.open(address(access.token))
        _run(uvicorn.Server(_config(make_app(objects, access, desk, predicted))), listening)


def _listen(port: int | None) -> socket.socket:
    """Take a port before anything is said of it."""
    ports = range(_PORT, _PORT + _TRIES) if port is None else (port,)
    for number in (*ports, *((0,) if port is None else ())):
        try:
            return socket.create_server(("127.0.0.1", number))
        except OSError as error:
            problem = error
    raise ParameterError(f"port {port} cannot be used ({problem.strerror}); choose another, or leave --port out")


def _config(app: Any) -> uvicorn.Config:  # noqa: ANN401 - an ASGI application
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        http="h11",
        ws="none",
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )


def _run(server: uvicorn.Server, listening: socket.socket) -> None:
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has ended by then, and says it again
        return
