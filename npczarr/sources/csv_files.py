"""A CSV file, whatever its encoding and separator, as rows by column name."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import eq

from npczarr.errors import SourceError
from npczarr.model.clinical import PATIENT_ALIASES, is_known_column, plain
from npczarr.model.messages import first_of
from npczarr.sources.encodings import decode_wide, is_paired, is_shift_jis
from npczarr.sources.name_encoding import chinese_share

#: What is said of a file that a spreadsheet program keeps for itself.
WORKBOOK = "a workbook of Excel or another spreadsheet program, which is not read; save its sheet as CSV (UTF-8)"
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # .xlsx and .ods are zip archives, .xls an OLE container
_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16; those of UTF-32 have NULs
_MOST_COLUMNS = 2000
_SURE = 0.9  # of the characters must be in the commoner set
_ALIEN = re.compile(rb"[\xa0-\xff]{3}")  # no western word has three letters beyond ASCII in a row
_SEPARATORS = ",;\t|"
_LOOKED_AT = 1000  # lines, for the separator
_SAID = re.compile(rf"\s*\"?sep=([{_SEPARATORS}])\"?\s*?(?:\r\n|\r|\n)")  # a first line that Excel understands
_DIGITS, _WORD = re.compile(r"\d+(?:\.\d+)?"), re.compile(r"[^\W\d_]+")
_QUOTED = re.compile(rf'(?<![^{_SEPARATORS}\r\n])"(?:[^"]|"")*"')  # a quotation mark within a cell quotes nothing


def parse_csv(content: bytes) -> list[dict[str, str]]:
    """Rows of a CSV file by column name; encoding and separator are detected.

    Encodings are UTF-8, UTF-16, UTF-32, GB 18030 and Big5 (Chinese), Shift-JIS (Japanese) and Windows-1252 (western);
    separators comma, semicolon, tab and |; a first line such as ``sep=;`` says which. Rows may be shorter than the
    header.

    Raises
    ------
    SourceError
        If there is no header with two columns, a name occurs twice, the encoding cannot be told, or it is a workbook;
        and if values may stand in another row or column than theirs: a quotation mark is not closed, a row has more
        cells than the header, or names of columns are repeated below it.
    """
    if content.startswith(_WORKBOOKS):
        raise SourceError(WORKBOOK)
    rows = dict(_rows(_decode(content)))
    header = next(iter(rows.values()), [])
    if len(header) < 2:
        raise SourceError("expected a header line with at least two columns separated by comma, semicolon, tab or |")
    names = [cell.strip() for cell in header]
    if len(names) > _MOST_COLUMNS:
        raise SourceError(f"{len(names)} columns, expected {_MOST_COLUMNS} or fewer; is this a table of patients?")
    body = {line: [cell.strip() for cell in row] for line, row in list(rows.items())[1:]}
    _check_widths(body, len(names))
    body = {line: row + [""] * (len(names) - len(row)) for line, row in body.items()}
    kept = _named_columns(names, list(body.values()))
    if unnamed := [str(i + 1) for i in kept if not names[i]]:
        raise SourceError(
            f"columns {', '.join(unnamed[:5])} have values and no name in the first line, expected the names of the "
            "columns there; delete what is above them, or name every column"
        )
    twice = sorted(name for name, count in Counter(names[i] for i in kept).items() if count > 1)
    if twice:
        raise SourceError(f"the column {twice[0]!r} occurs twice; rename one")
    _check_one_table(names, kept, body)
    return [{names[i]: row[i] for i in kept} for row in body.values()]


def separator_of(content: bytes) -> str:
    """Return what separates the columns of a CSV file: ``,``, ``;``, a tab or ``|``."""
    return _separator(_decode(content))[0]


def _check_widths(rows: Mapping[int, Sequence[str]], width: int) -> None:
    """Refuse rows that go on behind the last column: one value too many moves all others under wrong names."""
    longer = [line for line, row in rows.items() if any(row[width:])]
    if longer:
        raise SourceError(
            f"{_lines(longer)}: more cells than the {width} of the header, so that values may stand under wrong "
            "names; put a value that holds the separator in quotation marks, or name every column"
        )


def _check_one_table(names: Sequence[str], kept: Sequence[int], rows: Mapping[int, Sequence[str]]) -> None:
    """Refuse a second table below the first: its values would stand under the names of the first."""
    patient = next((i for i in kept if plain(names[i]) in PATIENT_ALIASES), kept[0])
    keys = {i: names[i].casefold() for i in (kept[0], patient) if any(map(str.isalpha, names[i]))}
    repeated = [line for line, row in rows.items() if any(row[i].casefold() == name for i, name in keys.items())]
    if repeated:
        raise SourceError(
            f"{_lines(repeated)}: the name of a column stands among its values again, as where a second table begins; "
            "expected one table, with names in its first line alone; write each table to a file of its own"
        )


def _lines(numbers: Sequence[int]) -> str:
    return f"line{'s' * (len(numbers) > 1)} {first_of([str(number) for number in numbers])}"


def _named_columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Leave out what spreadsheets put behind the last column: separators without a name and without values."""
    return [i for i, name in enumerate(names) if name or any(row[i] for row in rows)]


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that has an entry, with the number of the line where the row begins."""
    separator, skipped = _separator(text)
    taken: list[str] = []
    lines = _noted(islice(io.StringIO(text, newline=""), skipped, None), taken)
    number, width = skipped + 1, 0
    try:
        for row in csv.reader(lines, delimiter=separator, strict=True):
            if any(cell.strip() for cell in row):
                header, width = not width, width or len(row)
                if len(taken) > 1 and _are_rows(taken, separator, width, header=header):
                    raise csv.Error(f"it holds {len(taken)} lines that look like rows")
                yield number, row
            number += len(taken)
            taken.clear()
    except csv.Error as error:
        raise SourceError(
            f"line {number}: the end of a cell that begins with a quotation mark cannot be told ({error}), so that "
            "rows may have become one; delete a quotation mark that stands alone, write one within a value twice, "
            "and take line breaks out of the value"
        ) from error


def _noted(lines: Iterable[str], taken: list[str]) -> Iterator[str]:
    for line in lines:
        taken.append(line)
        yield line


def _are_rows(lines: Sequence[str], separator: str, width: int, *, header: bool = False) -> bool:
    """Whether the lines of one row are rows themselves, which two stray quotation marks have joined.

    They have as many cells as a row, and most look as those above them, save below a header; lines of a text hardly do.

    >>> _are_rows(['1,50,"large', '2,61,ok"'], ",", 3), _are_rows(['1,50,"large', 'no change, good, fine"'], ",", 3)
    (True, False)
    """
    rows = [line.split(separator) for line in lines if line.strip()]
    if len(rows) == 1 or any(len(cells) != width for cells in rows):
        return False
    first, *others = [[_shape(cell) for cell in cells] for cells in rows]
    return header or all(2 * sum(map(eq, first, cells)) > width for cells in others)


def _shape(cell: str) -> str:
    """Write every number as 9 and every word as a."""
    return _WORD.sub("a", _DIGITS.sub("9", cell.strip('" \r\n')))


def _separator(text: str) -> tuple[str, int]:
    """Return the separator, and how many lines say it. Those in quotation marks separate nothing.

    It is the one that the header holds most often, of those that most rows hold as often.
    """
    if said := _SAID.match(text):
        return said[1], len(said[0].splitlines())
    unquoted = io.StringIO(_QUOTED.sub("x", text), newline="")
    header, *rows = [*islice((line for line in unquoted if line.strip()), _LOOKED_AT)] or [""]

    def fits(separator: str) -> tuple[bool, int, int]:
        there = header.count(separator)
        alike = sum(row.count(separator) == there for row in rows)
        return there > 0 and 2 * alike >= len(rows), there, alike

    return max(_SEPARATORS, key=fits), 0


def _decode(content: bytes) -> str:
    """Decode a table; of several encodings that fit, take the one in which most columns are known."""
    if b"\0" in content or content.startswith(_MARKS):
        text = decode_wide(content)
        if text is None:
            raise SourceError(
                "it has NUL bytes or a byte order mark as UTF-16 and UTF-32 have, and cannot be read as either: a "
                "damaged file or no table; save it again as CSV (UTF-8)"
            )
        return text
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
            "the encoding is none of UTF-8, UTF-16, UTF-32, GB 18030, Big5, Shift-JIS and Windows-1252; save it again "
            "as UTF-8"
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
    _, names = next(_rows(text), (0, []))
    return [name.strip(" \"'") for name in names]
