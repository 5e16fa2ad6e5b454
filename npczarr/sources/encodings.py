"""Whether bytes are text in an encoding whose letters are two or four bytes, or one with single accented letters."""

from __future__ import annotations

import re

_LEAST_NULS = 0.1  # of the bytes of UTF-16: every separator, digit and line end has one
_MARKED = (("utf-32", b"\xff\xfe\0\0"), ("utf-32", b"\0\0\xfe\xff"), ("utf-16", b"\xff\xfe"), ("utf-16", b"\xfe\xff"))


def decode_wide(content: bytes) -> str | None:
    """Decode UTF-16 or UTF-32, with a byte order mark or without one; None where it is neither.

    >>> [decode_wide("ID,年龄".encode(encoding)) for encoding in ("utf-16", "utf-16-be", "utf-32-le", "utf-8")]
    ['ID,年龄', 'ID,年龄', 'ID,年龄', None]
    """
    encodings = [encoding for encoding, mark in _MARKED if content.startswith(mark)][:1]
    for encoding in encodings or ["utf-32-le", "utf-32-be", *_utf_16(content)]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    return None


def _utf_16(content: bytes) -> list[str]:
    """Tell the order of bytes by where the NULs of plain letters are."""
    first, second = content[::2].count(0), content[1::2].count(0)
    if max(first, second) < _LEAST_NULS * len(content):
        return []
    return ["utf-16-be" if first > second else "utf-16-le"]


def is_paired(content: bytes) -> bool:
    """Whether most bytes above 127 come in pairs or longer runs, as in Chinese text.

    >>> is_paired("数据".encode("gbk")), is_paired("Müllheim".encode("latin-1"))
    (True, False)
    """
    high, paired = (sum(map(len, re.findall(pattern, content))) for pattern in (rb"[\x80-\xff]", rb"[\x80-\xff]{2,}"))
    return 2 * paired > high


def is_shift_jis(content: bytes) -> bool:
    """Whether bytes read as Shift-JIS are letters that stand among each other, not between plain ones.

    In Shift-JIS the second byte of a letter may be a plain one, so a French word reads as Shift-JIS as well.

    >>> is_shift_jis("データ".encode("cp932")), is_shift_jis("Château".encode("cp437"))
    (True, False)
    """
    try:
        text = content.decode("cp932")
    except UnicodeDecodeError:
        return False
    letters = len(re.findall(r"[^\x00-\x7f]", text))
    halves = len(re.findall(r"[\uff61-\uff9f]", text))  # one byte each: any text in another encoding has them
    between = len(re.findall(r"(?<=[A-Za-z])[^\x00-\x7f]|[^\x00-\x7f](?=[A-Za-z])", text))
    return letters > 0 and 2 * between <= letters and 2 * halves <= letters
