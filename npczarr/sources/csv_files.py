"""A CSV file, whatever its encoding and separator, as rows by column name."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence

from npczarr.errors import SourceError
from npczarr.model.clinical import is_known_column
from npczarr.sources.encodings import is_paired, is_shift_jis
from npczarr.sources.name_encoding import chinese_share

#: What is said of a file that a spreadsheet program keeps for itself.
WORKBOOK = "a workbook of Excel or another spreadsheet program, which is not read; save its sheet as CSV (UTF-8)"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods are zip archives, .xls an OLE container
_MOST_COLUMNS = 2000
_SURE = 0.9  # of the characters must be in the commoner set
_ALIEN = re.compile(rb"[\xa0-\xff]{3}")  # no western word has three letters beyond ASCII in a row
_SEPARATORS = ",;\t|"
_SAID = re.compile(rf"\s*\"?sep=([{_SEPARATORS}])\"?\s*?(?:\r\n|\r|\n)")  # a first line that Excel understands


def parse_csv(content: bytes) -> list[dict[str, str]]:
    """Rows of a CSV file by column name; encoding and separator are detected.

    Encodings are UTF-8, UTF-16, GB 18030 and Big5 (Chinese), Shift-JIS (Japanese) and Windows-1252 (western);
    separators comma, semicolon, tab and |; a first line such as ``sep=;`` says which.

    Raises
    ------
    SourceError
        If there is no header with two columns, a name occurs twice, the encoding cannot be told, or it is a workbook.
    """
    if content.startswith(_WORKBOOKS):
        raise SourceError(WORKBOOK)
    rows = _split(_decode(content))
    if not rows or len(rows[0]) < 2:
        raise SourceError("expected a header line with at least two columns separated by comma, semicolon, tab or |")
    header, *body = rows
    names = [cell.strip() for cell in header]
    if len(names) > _MOST_COLUMNS:
        raise SourceError(f"{len(names)} columns, expected {_MOST_COLUMNS} or fewer; is this a table of patients?")
    body = [[cell.strip() for cell in row] + [""] * (len(names) - len(row)) for row in body]
    kept = _named_columns(names, body)
    if unnamed := [str(i + 1) for i in kept if not names[i]]:
        raise SourceError(
            f"columns {', '.join(unnamed[:5])} have values and no name in the first line, expected the names of the "
            "columns there; delete what is above them, or name every column"
        )
    twice = sorted(name for name, count in Counter(names[i] for i in kept).items() if count > 1)
    if twice:
        raise SourceError(f"the column {twice[0]!r} occurs twice; rename one")
    return [{names[i]: row[i] for i in kept} for row in body]


def separator_of(content: bytes) -> str:
    """Return what separates the columns of a CSV file: ``,``, ``;``, a tab or ``|``."""
    text = _decode(content)
    said = _SAID.match(text)
    return said[1] if said else _separator(_header(text))


def _named_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Leave out what spreadsheets put behind the last column: separators without a name and without values."""
    return [i for i, name in enumerate(names) if name or any(row[i] for row in rows)]


def _split(text: str) -> list[list[str]]:
    """Split text into rows of cells; rows without any entry are left out."""
    said = _SAID.match(text)
    separator = said[1] if said else _separator(_header(text))
    try:
        lines = csv.reader(io.StringIO(text[said.end() if said else 0 :], newline=""), delimiter=separator)
        return [row for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise SourceError(f"cannot be read as a table ({error}); save it again as CSV") from error


def _header(text: str) -> str:
    said = _SAID.match(text)
    text = text[said.end() :] if said else text
    return next((line for line in text.splitlines() if line.strip()), "")


def _separator(header: str) -> str:
    return max(_SEPARATORS, key=header.count)


def _decode(content: bytes) -> str:
    """Decode a table; of several encodings that fit, take the one in which most columns are known."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    # Chinese and Japanese characters are pairs of bytes; accented letters stand alone
    chinese, japanese = is_paired(content), is_shift_jis(content)
    simplified = chinese and chinese_share([content]) >= _SURE
    candidates = [*["gb18030"] * simplified, *["cp932"] * japanese]
    candidates += [] if _ALIEN.search(content) else ["cp1252", "latin-1"]
    texts = [text for encoding in candidates if (text := _try(content, encoding)) is not None]
    big5 = _try(content, "big5") if chinese else None
    if big5 is not None and any(is_known_column(name) and not name.isascii() for name in _names(big5)):
        texts.append(big5)  # its bytes are Korean text as well, so a column must be known
    if not texts:
        raise SourceError(
            "the encoding is none of UTF-8, UTF-16, GB 18030, Big5, Shift-JIS and Windows-1252; save it again as UTF-8"
        )
    return max(texts, key=_count_known)


def _try(content: bytes, encoding: str) -> str | None:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _count_known(text: str) -> int:
    return sum(is_known_column(name) for name in _names(text))


def _names(text: str) -> list[str]:
    header = _header(text)
    return [name.strip(" \"'") for name in header.split(_separator(header))]
