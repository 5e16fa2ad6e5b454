"""Object stores (S3, Google Cloud, Azure, HTTP) through obstore: their options, and whose credentials they take."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from zarr.storage import ObjectStore

from npczarr.model.options import Options, family_of
from npczarr.store.objects import Objects
from npczarr.store.storage_errors import PATIENCE
from npczarr.store.web_objects import WebObjects

_SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "http://", "https://")
_ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_")
#: What obstore calls the words of `npczarr.model.options.WORDS`; None where it needs no telling.
OBSTORE_NAMES: Mapping[str, Mapping[str, str | None]] = {
    "s3": {
        "anon": "skip_signature",
        "endpoint_url": "endpoint",
        "profile": None,  # becomes a provider of credentials
        "region": "region",
        "requester_pays": "request_payer",
    },
    "gs": {"anon": "skip_signature", "endpoint_url": "base_url"},
    "az": {
        "account_host": "endpoint",
        "account_name": "account_name",
        "anon": "skip_signature",
        "client_id": "client_id",
        "tenant_id": "tenant_id",
    },
    "http": {"anon": None},
}
#: Hosts of https:// that obstore takes for S3 and Azure, and would sign for.
_CLOUDS = (".amazonaws.com", ".r2.cloudflarestorage.com", ".core.windows.net", ".fabric.microsoft.com")
#: Server errors, lost connections and SlowDown are tried again, later each time, for about a minute; the rest is not.
_RETRY = {
    "max_retries": 10,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
    "retry_timeout": PATIENCE,
}
#: A body may take long on a slow line; what counts is that bytes keep coming.
_CLIENT = {"timeout": timedelta(minutes=10), "read_timeout": timedelta(seconds=30)}
_TTL = timedelta(minutes=5)  # credentials of a profile or a role are asked for again after this


def is_object_store(url: str) -> bool:
    """Whether obstore serves the URL."""
    return url.startswith(_SCHEMES)


def open_objects(url: str, options: Options, *, read_only: bool) -> ObjectStore[Any]:
    """Open the folder of an object store, once in each process: connections are kept and used again.

    Parameters
    ----------
    options
        As ``npczarr.model.options.normalize_options`` returns them.

    Raises
    ------
    ImportError
        If obstore is not installed.
    ValueError
        If an option is wrong, or the environment contradicts it, or the path holds a segment that obstore cannot take.
    """
    # a client remembers the credentials that it was made with: others, set since, make another client
    client = _open(url, options, credentials_in_environment())
    kind = WebObjects if type(client).__name__ == "HTTPStore" else Objects  # of https:// some are of S3 and Azure
    return kind(client, read_only=read_only, url=url)


def split_query(url: str) -> tuple[str, str]:
    """Part a web URL before its query or fragment; in any other URL, ? and # are letters of names.

    >>> split_query("https://host/a.zip?sig=x"), split_query("s3://bucket/a?b#c.zarr")
    (('https://host/a.zip', '?sig=x'), ('s3://bucket/a?b#c.zarr', ''))
    """
    if family_of(url) != "http":
        return url, ""
    end = min((url.index(mark) for mark in "?#" if mark in url), default=len(url))
    return url[:end], url[end:]


def credentials_in_environment() -> tuple[tuple[str, str], ...]:
    """Return the variables of the environment that object stores read."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)))


@lru_cache(maxsize=64)
def _open(url: str, options: Options, environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401
    from obstore.exceptions import BaseError
    from obstore.store import HTTPStore, from_url

    chosen = obstore_options(url, options)
    client: dict[str, Any] = dict(_CLIENT)
    endpoint = next((str(value) for name, value in chosen.items() if name in ("endpoint", "base_url")), "")
    if family_of(url) == "s3":
        there = dict(environment)
        chosen |= _s3_access(chosen, dict(options).get("profile"), there)
        of_s3 = there.get("AWS_ENDPOINT_URL_S3")
        if endpoint and of_s3 and of_s3 != endpoint:  # obstore would follow the environment without a word
            raise ValueError("AWS_ENDPOINT_URL_S3 of the environment contradicts the option endpoint_url; unset one")
        endpoint = endpoint or str(chosen.get("endpoint", "")) or of_s3 or _endpoint_in(there)
    if url.startswith("http://") or endpoint.startswith("http://"):
        client["allow_http"] = True  # who names a server by http:// wants it
    build: Any = from_url
    if split_query(url)[1]:  # it may be a signature: a request by it is not signed again, at no cloud
        build, chosen = HTTPStore.from_url, {}
    try:
        return build(_as_web_url(url), **chosen, client_options=client, retry_config=_RETRY)
    except BaseError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _as_web_url(url: str) -> str:
    """Write a URL as obstore reads it, which undoes percent escapes and ends the path at ? or #.

    The key in a bucket is what is written, as in s3fs and xarray, so it is escaped here.

    Raises
    ------
    ValueError
        If a segment of the key is empty, ``.`` or ``..``: obstore refuses these or leaves them out.
    """
    if family_of(url) == "http":
        return url
    protocol, _, place = url.partition("://")
    bucket, *key = place.split("/")
    wrong = next((segment for segment in key if segment in ("", ".", "..")), None)
    if wrong is not None:
        raise ValueError(f"its path has the segment {wrong!r}" if wrong else "its path has an empty segment, //")
    return f"{protocol}://{'/'.join((quote(bucket, safe='@:'), *map(quote, key)))}"


def obstore_options(url: str, options: Options) -> dict[str, Any]:
    """Write normalized options as obstore takes them."""
    family = family_of(url) or ""
    named = {OBSTORE_NAMES[family][word]: value for word, value in options}
    chosen = {name: value for name, value in named.items() if name is not None}
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    if family == "http" and dict(options).get("anon") and host.endswith(_CLOUDS):
        chosen["skip_signature"] = True
    if family == "az" and "endpoint" in chosen:
        chosen["endpoint"] = f"https://{chosen['endpoint']}"
    if family == "az" and host.partition(".")[0] == chosen.get("account_name"):
        del chosen["account_name"]  # the URL says it: abfs://container@account.dfs.core.windows.net
    return chosen


def _endpoint_in(environment: Mapping[str, str]) -> str:
    return environment.get("AWS_ENDPOINT_URL") or environment.get("AWS_ENDPOINT") or ""


def _s3_access(chosen: Mapping[str, Any], profile: str | None, environment: Mapping[str, str]) -> dict[str, Any]:
    """Say whose credentials S3 takes, and the region and server of their profile where nothing else names them.

    Those of the environment come first, unless a profile is asked for; then those of a profile, a role or a machine, as
    botocore finds them; where there are none, access is anonymous.
    """
    anonymous = chosen.get("skip_signature") or "AWS_SKIP_SIGNATURE" in environment
    if anonymous or (profile is None and "AWS_ACCESS_KEY_ID" in environment):
        return {}
    try:
        from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]
        from botocore.session import Session  # type: ignore[import-untyped]
    except ImportError:
        if profile is not None:
            raise
        return {}
    try:
        session = Session(profile=profile)
        found, settings = session.get_credentials(), session.get_scoped_config()
    except BotoCoreError as error:  # no such profile, or a file of them that cannot be read
        raise ValueError(str(error)) from error
    access: dict[str, Any] = {}
    if (
        "region" not in chosen
        and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & environment.keys()
        and "region" in settings
    ):
        access["region"] = settings["region"]
    if "endpoint" not in chosen and not _endpoint_in(environment) and "endpoint_url" in settings:
        access["endpoint"] = settings["endpoint_url"]
    if found is None:
        return access | {"skip_signature": True}
    return access | {"credential_provider": _provider(found)}


def _provider(found: Any) -> Callable[[], dict[str, Any]]:  # noqa: ANN401 - credentials of botocore
    """Give obstore the credentials of botocore, which renews them when they expire."""

    def provide() -> dict[str, Any]:
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _TTL,
        }

    return provide
