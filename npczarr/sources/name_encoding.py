"""The encoding of names in a zip archive that does not say it: told by their bytes, or refused.

A name that is read in a wrong encoding becomes a wrong label, so what fits two encodings is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from npczarr.errors import SourceError
from npczarr.sources.encodings import is_paired, is_shift_jis

_SURE = 0.9  # of the characters must be common ones of the encoding
_CLEARLY = 0.3  # by so much more than in another encoding
#: Bytes that are the same accented letter in the code pages 437 and 850, by which western names are packed.
_ACCENTED = frozenset(set(range(0x80, 0x9B)) | set(range(0xA0, 0xA6)) | {0xE1}) - {0x91, 0x92}
#: Characters of names, surnames and folders that are most frequent in Chinese, and syllables that are in Korean: the
#: bytes of either may be the other.
_OFTEN_CHINESE = frozenset(
    "病人患者数据影像检查第例号组男女年月日医院序列平扫增强图手术前后治疗放化随访基线期原始编名单资料文件新正常对照肿瘤鼻咽癌肝肺脑"
    "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜范方石"
    "伟芳娜秀英敏静丽强磊军洋勇艳杰娟涛明超兰霞平刚桂建国华文玉红梅雷小春花海燕云龙凤山志东成荣生金大一二三四五六七八九十甲乙丙丁"
)
_OFTEN_KOREAN = frozenset(
    "이다는을의에가고하지한도기로사그자인나를아니리어정대부시서보수만상들은일스해라장주구전원여소과비동제성조우신유모세국미공진마안환데터"
    "김최박강윤임오송류홍영민철재현준경희연료병번호암종양조영증강검사군남여파폴더촬영학교실험연구"
)


def find_encoding(names: Sequence[bytes]) -> str:
    """Tell the encoding of the names of an archive; they are of one.

    Parameters
    ----------
    names
        Bytes of the names that are not ASCII.

    Raises
    ------
    SourceError
        If they fit none of UTF-8, GBK, Shift-JIS and code page 437, or several alike.

    Examples
    --------
    >>> find_encoding(["数据/张三".encode("gbk")]), find_encoding(["データ".encode("cp932")])
    ('gbk', 'cp932')
    >>> find_encoding(["Größe".encode("cp437")])
    'cp437'
    """
    if _decodes(names, "utf-8"):
        return "utf-8"
    joined = b"/".join(names)
    if _is_western(names) and not is_shift_jis(joined):
        return "cp437"
    if is_paired(joined) or is_shift_jis(joined):
        scores = {encoding: _score(names, encoding) for encoding in ("gbk", "cp932")}
        best = max(scores, key=lambda encoding: scores[encoding])
        other = min(scores, key=lambda encoding: scores[encoding])
        if scores[best] >= _SURE and scores[best] - scores[other] >= _CLEARLY:
            return best
    raise SourceError(
        "the names in the archive are neither UTF-8 nor clearly GBK, Shift-JIS or western letters of code page 437, "
        "and names that are read wrong would become wrong labels; unpack the archive with a program that shows them "
        "right, and give the folder"
    )


def _is_western(names: Sequence[bytes]) -> bool:
    """Whether letters beyond ASCII are few, and accented ones that two code pages have alike."""
    high = [byte for name in names for byte in name if byte > 127]
    words = [word for name in names for word in re.findall(rb"[A-Za-z\x80-\xff]+", name)]
    few = all(2 * len(re.findall(rb"[\x80-\xff]", word)) <= len(word) for word in words)
    return few and set(high) <= _ACCENTED


def _score(names: Sequence[bytes], encoding: str) -> float:
    """Share of the characters that are common in the language of the encoding; 0 if the names do not fit it."""
    if not _decodes(names, encoding):
        return 0.0
    decoded = [name.decode(encoding) for name in names]
    letters = [letter for name in decoded for letter in name if not letter.isascii()]
    inside_words = sum(len(re.findall(r"(?<=[A-Za-z])[^\x00-\x7f](?=[A-Za-z])", name)) for name in decoded)
    if 2 * inside_words > len(letters):
        return 0.0  # "Gr批e": two accented letters of a western name
    if encoding == "gbk":
        return chinese_share(names)
    if any("\u3040" <= letter <= "\u30ff" for letter in letters):
        return 2.0  # kana: no Chinese text has them
    first_level = (0x88 <= letter.encode(encoding)[0] <= 0x98 for letter in letters)
    return sum(first_level) / len(letters)


def chinese_share(names: Sequence[bytes]) -> float:
    """Share of the characters of GBK text that GB2312 has; 0 where most are rare, or where they may be Korean.

    >>> chinese_share(["性别".encode("gbk")]), chinese_share(["성별".encode("cp949")])
    (1.0, 0.0)
    >>> chinese_share(["환자번호 홍길동 똠방각하".encode("cp949")])  # 똠 is not in EUC-KR
    0.0
    """
    letters = [letter for name in names for letter in name.decode("gbk", "replace") if not letter.isascii()]
    if not letters or "\ufffd" in letters:
        return 0.0
    encoded = [letter.encode("gbk") for letter in letters]
    by_sound = sum(0xA1 <= code[0] <= 0xD7 and code[1] >= 0xA1 for code in encoded)  # first level: the common ones
    if 2 * by_sound < len(letters) or _may_be_korean(names, letters):
        return 0.0
    return sum(_fits(letter, "gb2312") for letter in letters) / len(letters)


def _may_be_korean(names: Sequence[bytes], chinese: Sequence[str]) -> bool:
    """Whether every character is Hangul in code page 949, too, unless it is rare there and frequent in Chinese."""
    if not _decodes(names, "cp949"):
        return False
    korean = [letter for name in names for letter in name.decode("cp949") if not letter.isascii()]
    if not all("\uac00" <= letter <= "\ud7a3" for letter in korean):
        return False
    often_korean = sum(letter in _OFTEN_KOREAN for letter in korean) / len(korean)
    often_chinese = sum(letter in _OFTEN_CHINESE for letter in chinese) / len(chinese)
    return often_chinese < 0.5 or often_korean > 0.2


def _decodes(names: Sequence[bytes], encoding: str) -> bool:
    try:
        return all(name.decode(encoding) for name in names)
    except UnicodeDecodeError:
        return False


def _fits(letter: str, encoding: str) -> bool:
    try:
        return bool(letter.encode(encoding))
    except UnicodeEncodeError:
        return False
