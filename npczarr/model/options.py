"""Storage options in fsspec's words: which ones are known, which are secrets, and URLs without secrets for messages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from npczarr.errors import ParameterError

#: Options as they travel in a task: sorted pairs of a word and a plain value.
Options = tuple[tuple[str, Any], ...]

_FAMILIES = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "az"),
    **dict.fromkeys(("http", "https"), "http"),
}
#: The words of each family of protocols; `client_kwargs` and `token` are other ways to write some of them.
WORDS: Mapping[str, tuple[str, ...]] = {
    "s3": ("anon", "endpoint_url", "profile", "region", "requester_pays"),
    "gs": ("anon", "endpoint_url"),
    "az": ("account_host", "account_name", "anon", "client_id", "tenant_id"),
    "http": ("anon",),
}
_ALSO = {"s3": ("client_kwargs",), "gs": ("token",)}
_FLAGS = frozenset({"anon", "requester_pays"})
_TEXTS = frozenset(word for words in WORDS.values() for word in words) - _FLAGS
_CLIENT_WORDS = {"endpoint_url": "endpoint_url", "region_name": "region"}

_SECRET = re.compile(r"key|secret|token|password|passwd|credential|connection_string|sas", re.IGNORECASE)
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of ~/.aws by the option 'profile'",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}
#: A user and a password before the host. A password may hold / or ? by mistake; a number after the colon is a port.
_PASSWORD = re.compile(r"(?<=://)[^\s/?#@:]*:(?!\d*[/?#])[^\s'\"<>]*@")
_USER = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_CONTAINER = re.compile(r"\b(az|abfss?|wasbs?)://[^\s/?#@:]+@", re.IGNORECASE)  # Azure: its name stands before the @
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>]*")
#: A URL that was taken for a path, and lost a slash.
_ONE_SLASH = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/\s'\"<>][^\s'\"<>]*[?@])")
_QUERY = re.compile(r"\?.*?(?=[)\],;:.]*$)")


def check_local(path: str | Path) -> None:
    """Refuse a URL where files are written that other programs read.

    Raises
    ------
    ParameterError
        If it is one, even with the slash that a ``Path`` takes from it.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        shown = redacted(re.sub(r":/+", "://", str(path), count=1))
        raise ParameterError(f"{shown}: expected a local path, found a URL; copy the files from there")


def redacted(text: str) -> str:
    """Return a text with every URL in it reduced to what may be shown: no user, no password, no query.

    A query can hold a signature. Names of containers, which Azure writes before an @, stay.
    """
    text = _ONE_SLASH.sub(r"\1://", text)
    return _URL.sub(lambda found: _without_secrets(found.group()), text)


def _without_secrets(url: str) -> str:
    url = _PASSWORD.sub("", url)
    if not _CONTAINER.match(url):
        url = _USER.sub("", url)
    return _QUERY.sub("", url)


def family_of(url: str) -> str | None:
    """Return ``"s3"``, ``"gs"``, ``"az"`` or ``"http"``; None for a local path or another protocol."""
    return _FAMILIES.get(url.partition("://")[0].lower()) if "://" in url else None


def local_path(url: str | Path) -> str | Path:
    """Return the path that a ``file://`` URL names, with its percent escapes undone; anything else as it is.

    >>> local_path("file:///data/my%20store.zarr"), local_path("file://localhost/a"), local_path("s3://b/a%20b")
    ('/data/my store.zarr', '/a', 's3://b/a%20b')
    """
    if not (isinstance(url, str) and url.lower().startswith("file://")):
        return url
    from urllib.request import url2pathname  # loads what talks to web servers, which the command line has no need of

    place = url[len("file://") :]
    return url2pathname(place.removeprefix("localhost") if place.startswith("localhost/") else place)


def normalize_options(options: Mapping[str, Any] | None, url: str | Path) -> Options:
    """Check options and the URL that they belong to, and return them in one form.

    `client_kwargs` of S3 and ``token="anon"`` of Google Cloud are replaced by the words that they stand for. A local
    path takes the words of every protocol and needs none, so that one set of options serves stores here and there.
    Other protocols than those of `WORDS` take what their file system takes.

    Raises
    ------
    ParameterError
        If what should be a path or URL is something else, such as a Dataset. If the name of an option is that of a
        secret or not known, a value is of the wrong kind, or the URL holds a password: options and URLs travel in task
        graphs, where logs and dashboards show them.
    """
    if not isinstance(url, str | os.PathLike):
        raise ParameterError(
            f"expected a path or URL, found a {type(url).__name__}; give the path that it was read from"
        )
    text = str(url)
    family = family_of(text)
    if _PASSWORD.search(text):
        raise ParameterError(
            f"{redacted(text)}: the URL holds a password; set credentials in the environment of each process instead"
            f"{_named(family)}"
        )
    if not isinstance(options, Mapping | None):
        raise ParameterError(f"options are a mapping such as {{'anon': True}}, got {type(options).__name__}")
    known = _known(text, family)
    found: dict[str, Any] = {}
    for word, value in _flat(options or {}, family):
        _check_secret(word, family)
        if known is not None and word not in known:
            also = (*known, *_ALSO.get(family or "", ()))
            of = f"of {text.partition('://')[0]}://" if family else "of any protocol"
            raise ParameterError(f"the option {word!r} is not known; those {of} are {', '.join(sorted(also))}")
        value = _checked(word, value) if known is not None else _plain(word, value)
        if value is None:
            continue
        if found.setdefault(word, value) != value:
            raise ParameterError(f"the option {word!r} is given twice, as {found[word]!r} and {value!r}; give one")
    if found.get("anon") and found.get("profile"):
        raise ParameterError("the options 'anon' (no credentials) and 'profile' (whose credentials) exclude each other")
    return tuple(sorted(found.items()))


def fsspec_options(url: str, options: Options) -> dict[str, Any]:
    """Write normalized options as the fsspec file system of a URL takes them."""
    given, family = dict(options), family_of(url)
    if "://" not in url:
        return {}
    if family == "s3" and "region" in given:
        given["client_kwargs"] = {"region_name": given.pop("region")}
    if family == "gs" and given.pop("anon", False):
        given["token"] = "anon"  # the word of gcsfs
    if family == "http":
        given.pop("anon", None)  # aiohttp signs nothing
    return given


def parse_option(word: str, text: str) -> str | int | float | bool:
    """Read the value of an option that is written on a command line: yes or no, a number, or text.

    Words whose values are texts, such as `profile`, keep theirs, and so does a number with leading zeros.
    """
    if word in _TEXTS:
        return text
    if text.lower() in ("true", "yes"):
        return True
    if text.lower() in ("false", "no"):
        return False
    for kind in (int, float):
        if re.fullmatch(r"-?(0|[1-9]\d*)" + (r"\.\d+" if kind is float else ""), text):
            return kind(text)
    return text


def _flat(options: Mapping[str, Any], family: str | None) -> list[tuple[str, Any]]:
    """Replace what is another way to write a word by the word itself."""
    pairs: list[tuple[str, Any]] = []
    for name, value in options.items():
        if family != "gs" and name == "client_kwargs" and value is not None:
            pairs += _client_words(value, family)
        elif family == "gs" and name == "token" and value == "anon":
            pairs.append(("anon", True))
        else:
            pairs.append((str(name), value))
    return pairs


def _client_words(value: Any, family: str | None) -> list[tuple[str, Any]]:  # noqa: ANN401 - whatever is given
    if not isinstance(value, Mapping):
        raise ParameterError(f"the option 'client_kwargs' must be a mapping, got {type(value).__name__}")
    for name in value:
        _check_secret(str(name), family)
        if name not in _CLIENT_WORDS:
            raise ParameterError(
                f"the option {name!r} in client_kwargs is not known; those are {', '.join(sorted(_CLIENT_WORDS))}"
            )
    return [(_CLIENT_WORDS[name], one) for name, one in value.items()]


def _known(url: str, family: str | None) -> tuple[str, ...] | None:
    """Return the words that a URL takes; None where its file system decides."""
    if family is not None:
        return WORDS[family]
    if "://" in url:
        return None
    return tuple(sorted(set().union(*WORDS.values())))


def _check_secret(word: str, family: str | None) -> None:
    if _SECRET.search(word):
        raise ParameterError(
            f"the option {word!r} looks like a secret, and options travel to workers and logs; set it in the "
            f"environment of each process{_named(family)}"
        )


def _named(family: str | None) -> str:
    """Name the variables of the environment that hold credentials; of S3 where the protocol has none of its own."""
    return f": {_CREDENTIALS[family]}" if family in _CREDENTIALS else f", for S3 {_CREDENTIALS['s3']}"


def _checked(word: str, value: Any) -> Any:  # noqa: ANN401 - of any kind
    """Return the value of a known word, which must be of its kind."""
    value = _plain(word, value)
    if value is None:
        return None
    if word in _FLAGS:
        if not isinstance(value, bool):
            raise ParameterError(f"the option {word!r} must be True or False (yes or no), got {value!r}")
        return value
    if isinstance(value, bool):
        raise ParameterError(f"the option {word!r} must be text, got {value!r}")
    if word == "endpoint_url" and not re.fullmatch(r"https?://[^\s/?#@]+/?[^\s?#@]*", str(value)):
        raise ParameterError(
            f"the option 'endpoint_url' must be the http:// or https:// address of a server, without user and query, "
            f"got {redacted(str(value))!r}"
        )
    return str(value)


def _plain(word: str, value: Any) -> Any:  # noqa: ANN401 - of any kind
    if not isinstance(value, str | int | float | bool | None):
        raise ParameterError(f"the option {word!r} must be text, a number or a yes or no, got {type(value).__name__}")
    return value
