"""Storage options: what may travel in a task, and what may not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from npczarr.errors import ParameterError

_SECRET = re.compile(r"key|secret|token|password|passwd|credential|sas", re.IGNORECASE)


def check_local(path: str | Path) -> None:
    """Refuse a URL where files are written that other programs read.

    Raises
    ------
    ParameterError
        If it is one, even with the slash that a ``Path`` takes from it.
    """
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        raise ParameterError(f"{path}: expected a local path, found a URL; copy the files from there")


def check_options(options: Mapping[str, Any], url: str) -> None:
    """Refuse secrets: options travel in task graphs, where logs and dashboards show them.

    Raises
    ------
    ParameterError
        If an option's name is that of a secret, the URL holds a password, or a value is not a plain one.
    """
    for name, value in options.items():
        if _SECRET.search(name):
            raise ParameterError(
                f"the option {name!r} looks like a secret, and options travel to workers and logs; set it in the "
                "environment of each process, for S3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not isinstance(value, str | int | float | bool | None):
            raise ParameterError(
                f"the option {name!r} must be text, a number or a yes or no, got {type(value).__name__}"
            )
    if "://" in url and urlsplit(url).password:
        raise ParameterError("the URL holds a password; set credentials in the environment of each process instead")
