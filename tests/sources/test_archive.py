"""Zip archives as programs of other languages write them: names are read right, or refused; never as mojibake."""

import zipfile

import pytest

import npczarr as npc
from npczarr.errors import SourceError
from npczarr.sources.files import open_source
from npczarr.sources.name_encoding import find_encoding
from tests.builders import noise, oblique_grid, write_series


def pack(path, names, encoding, content=b"x", said=()):
    """Write an archive whose names are in an encoding, without the flag that says so; some in UTF-8 with the flag."""

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self):
            return self.filename.encode(encoding), self.flag_bits & ~0x800

    with zipfile.ZipFile(path, "w") as archive:
        for name in said:
            archive.writestr(name, content)
        for name in names:
            info = Info("x")
            info.filename = name
            archive.writestr(info, content)
    return path


@pytest.mark.parametrize(
    ("names", "encoding"),
    [
        (["数据/张三/T1WI/1.dcm", "数据/李四/ROI-T1.nii"], "gbk"),
        (["データ/患者一/T1WI/1.dcm", "表/能登/T1WI/2.dcm"], "cp932"),
        (["患者一/能登/1.dcm", "表示/佐藤/1.dcm"], "cp932"),
        (["數據/張三/T1WI/1.dcm"], "utf-8"),
        (["Müller/T1WI/1.dcm", "José/T1WI/1.dcm"], "cp437"),
        (["Größe/T1WI/1.dcm", "Ünal/T1WI/1.dcm"], "cp850"),
        (["病人1/T1增强/1.dcm", "李雷/T1增强/1.dcm"], "gbk"),
        (["病人1/1.dcm"], "gbk"),  # all of these bytes are Korean as well
        (["001/T1WI/1.dcm"], "ascii"),
    ],
)
def test_names_come_out_as_they_were_packed(tmp_path, names, encoding):
    source = open_source(pack(tmp_path / "a.zip", names, encoding))
    assert sorted(file.path for file in source.files()) == sorted(names)
    assert source.read(names) == [b"x"] * len(names)
    assert source.read_heads(source.files(), 1) == [b"x"] * len(names)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("환자/영상/1.dcm", "euc_kr"),
        ("數據/張三豐/體積/1.dcm", "big5"),
        ("台灣/1.dcm", "big5"),
        ("Müller/1.dcm", "cp1252"),
        ("Größe/1.dcm", "cp1252"),
        ("São João/1.dcm", "cp850"),
        ("Høyre/1.dcm", "cp850"),
        ("Žofie/1.dcm", "cp852"),
        ("ИВАНОВ/1.dcm", "cp866"),
        ("Пациент/1.dcm", "cp1251"),
        ("Ασθενής/1.dcm", "cp737"),
        ("חולה/1.dcm", "cp862"),
        ("مريض/1.dcm", "cp720"),
    ],
)
def test_names_that_may_be_of_another_encoding_are_refused(tmp_path, name, encoding):
    with pytest.raises(SourceError, match=r"a\.zip: the names in the archive are neither UTF-8"):
        open_source(pack(tmp_path / "a.zip", [name], encoding))


def test_the_encoding_is_told_by_all_names_together():
    names = ["表示".encode("cp932"), "能".encode("cp932"), "データ".encode("cp932")]
    assert find_encoding(names) == "cp932"


def test_backslashes_are_folders(tmp_path):
    grid = oblique_grid()
    write_series(tmp_path / "001" / "T1WI", noise(grid), grid)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted((tmp_path / "001" / "T1WI").iterdir()):
            info = zipfile.ZipInfo("x")
            info.filename = f"data\\001\\T1WI\\{path.name}"
            archive.writestr(info, path.read_bytes())
    result = npc.convert(tmp_path / "a.zip", tmp_path / "a.zarr", workers=0)
    assert result["patient"].values.tolist() == ["001"]
    assert result["status"].sel(sequence="T1WI").item() == "warning"  # it has no mask


def test_two_members_whose_names_are_one_in_two_encodings_are_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack(tmp_path / "a.zip", ["Müller/1.dcm"], "cp437", said=["Müller/1.dcm"])
    with pytest.raises(SourceError, match=r"two members of the archive are called Müller/1\.dcm"):
        open_source(tmp_path / "a.zip")


def test_two_members_of_one_name_are_refused(tmp_path):
    pack(tmp_path / "a.zip", ["a/1.dcm", "a\\1.dcm"], "ascii")
    with pytest.raises(SourceError, match=r"two members of the archive are called a/1\.dcm"):
        open_source(tmp_path / "a.zip")
