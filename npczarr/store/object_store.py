"""Object stores (S3, Google Cloud, Azure, HTTP) through obstore: whose credentials, and what is tried again."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self, TypeVar

from zarr.abc.store import ByteRequest
from zarr.storage import ObjectStore

from npczarr.store.storage_errors import PATIENCE, retry, translate_errors
from npczarr.store.zarr_library import Buffer, BufferPrototype

Answer = TypeVar("Answer")

_SCHEMES = ("s3://", "s3a://", "gs://", "az://", "abfs://", "abfss://", "http://", "https://")
_ENVIRONMENT = ("AWS_", "AZURE_", "GOOGLE_")
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


def open_objects(url: str, options: Mapping[str, Any], *, read_only: bool) -> ObjectStore[Any]:
    """Open the folder of an object store, once in each process: connections are kept and used again.

    Raises
    ------
    ImportError
        If obstore is not installed.
    ValueError
        If an option is unknown or wrong.
    """
    # a client remembers the credentials that it was made with: others, set since, make another client
    client = _open(url, tuple(sorted(options.items())), credentials_in_environment())
    return Objects(client, read_only=read_only, url=url)


def credentials_in_environment() -> tuple[tuple[str, str], ...]:
    """Return the variables of the environment that object stores read."""
    return tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(_ENVIRONMENT)))


@lru_cache(maxsize=64)
def _open(url: str, options: tuple[tuple[str, Any], ...], environment: tuple[tuple[str, str], ...]) -> Any:  # noqa: ANN401
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    given = {name.lower().removeprefix("aws_") for name, _ in (*options, *environment)}
    chosen: dict[str, Any] = dict(options)
    client: dict[str, Any] = dict(_CLIENT)
    if url.startswith("http://"):
        client["allow_http"] = True
    elif url.startswith(("s3://", "s3a://")):
        endpoints = (str(value) for name, value in (*options, *environment) if "endpoint" in name.lower())
        if any(endpoint.startswith("http://") for endpoint in endpoints):
            client["allow_http"] = True  # who names a server by http:// wants it
        if not given & {"access_key_id", "skip_signature"}:
            chosen |= _shared_credentials()
    build: Any = from_url
    try:
        return build(url, **chosen, client_options=client, retry_config=_RETRY)
    except BaseError as error:
        raise ValueError(str(error).splitlines()[0]) from error


def _shared_credentials() -> dict[str, Any]:
    """Credentials of a profile, a role or a machine, as botocore finds them; where there are none, anonymous access."""
    try:
        from botocore.session import Session  # type: ignore[import-untyped]
    except ImportError:
        return {}
    found = Session().get_credentials()
    if found is None:
        return {"skip_signature": True}

    def provide() -> dict[str, Any]:
        frozen = found.get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + _TTL,
        }

    return {"credential_provider": provide}


class Objects(ObjectStore[Any]):
    """What zarr asks; tries again what obstore does not: conditional writes, listings, answers that are cut."""

    def __init__(self, store: Any, *, read_only: bool = False, url: str = "") -> None:  # noqa: ANN401 - of obstore
        super().__init__(store, read_only=read_only)
        self._url = url

    def __str__(self) -> str:
        return self._url

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
