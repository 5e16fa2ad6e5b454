"""Object stores (S3, Google Cloud, Azure, HTTP) through obstore: whose credentials, and what is tried again."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from zarr.abc.store import ByteRequest
from zarr.storage import ObjectStore

from npczarr.model.options import Options, family_of, redacted
from npczarr.store.storage_errors import PATIENCE, retry, translate_errors
from npczarr.store.zarr_library import Buffer, BufferPrototype

Answer = TypeVar("Answer")

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
        If an option is wrong, or the environment contradicts it.
    """
    # a client remembers the credentials that it was made with: others, set since, make another client
    client = _open(url, options, credentials_in_environment())
    return Objects(client, read_only=read_only, url=url)


def credentials_in_environment() -> tuple[tuple[str, str], ...]:
    """Return the variables of the environment that object stores read."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)))


@lru_cache(maxsize=64)
def _open(url: str, options: Options, environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401
    from obstore.exceptions import BaseError
    from obstore.store import from_url

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
    try:
        return build(url, **chosen, client_options=client, retry_config=_RETRY)
    except BaseError as error:
        raise ValueError(str(error).splitlines()[0]) from error


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


class Objects(ObjectStore[Any]):
    """What zarr asks; tries again what obstore does not: conditional writes, listings, answers that are cut."""

    def __init__(self, store: Any, *, read_only: bool = False, url: str = "") -> None:  # noqa: ANN401 - of obstore
        super().__init__(store, read_only=read_only)
        self._url = url

    def __str__(self) -> str:
        return redacted(self._url)

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same store to be read, or to be written."""
        return type(self)(self.store, read_only=read_only, url=self._url)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object or a part of it, or None where there is none."""
        return await self._ask(f"read {key}", lambda: super(Objects, self).get(key, prototype, byte_range))

    async def set(self, key: str, value: Buffer) -> None:
        """Write in one request, for whole objects appear at once; one of more than 5 GB is refused and named."""
        import obstore

        self._check_writable()
        content = value.to_bytes()
        await self._ask(f"write {key}", lambda: obstore.put_async(self.store, key, content, use_multipart=False))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write where there is nothing; after a lost answer it may be this object that is there already."""
        await self._ask(f"write {key}", lambda: super(Objects, self).set_if_not_exists(key, value))

    async def set_if_same(self, key: str, expected: bytes, value: bytes) -> bool:
        """Write where an object still holds what is expected (`If-Match`); whether this call wrote it."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        self._check_writable()

        async def compared() -> bool:
            try:
                found = await obstore.get_async(self.store, key)
            except FileNotFoundError:
                return False
            there = bytes(await found.bytes_async())
            if there != expected:
                return there == value  # after a lost answer this call wrote it already
            version: Any = {name: found.meta[name] for name in ("e_tag", "version") if found.meta[name] is not None}
            try:
                await obstore.put_async(self.store, key, value, mode=version, use_multipart=False)
            except (PreconditionError, AlreadyExistsError):
                return False
            return True

        return await self._ask(f"write {key}", compared)

    async def stamp(self, key: str) -> str:
        """Return the ETag of an object, or the time of its last change where the server gives none."""
        import obstore

        async def looked_up() -> str:
            found = await obstore.head_async(self.store, key)
            return str(found["e_tag"] or found["last_modified"])

        return await self._ask(f"look for {key}", looked_up)

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return await self._ask(f"look for {key}", lambda: super(Objects, self).exists(key))

    async def delete(self, key: str) -> None:
        """Delete an object, if there is one."""
        await self._ask(f"delete {key}", lambda: super(Objects, self).delete(key))

    async def list_dir(self, prefix: str) -> AsyncGenerator[str, None]:
        """List the names in a folder."""

        async def listed() -> list[str]:
            return [name async for name in super(Objects, self).list_dir(prefix)]

        for name in await self._ask(f"list {prefix}", listed):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncGenerator[str, None]:
        """List the objects in a folder and its folders."""

        async def listed() -> list[str]:
            return [key async for key in super(Objects, self).list_prefix(prefix)]

        for key in await self._ask(f"list {prefix}", listed):
            yield key

    async def delete_dir(self, prefix: str) -> None:
        """Delete all objects in a folder."""
        await self._ask(f"delete {prefix}", lambda: super(Objects, self).delete_dir(prefix))

    async def _ask(self, act: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        with translate_errors(self, act):
            return await retry(request)
