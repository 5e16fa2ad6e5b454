"""Whether bytes are text in an encoding whose letters are pairs of bytes, or one with single accented letters."""

from __future__ import annotations

import re


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
