"""Tables in the languages of their hospitals: columns by their names, entries by their meaning."""

import numpy as np
import pytest

from npczarr.model import words
from npczarr.model.categories import canonical
from npczarr.model.clinical import CLINICAL, MISSING, known_field, plain, unit_of
from npczarr.model.cohort import Cohort, File
from npczarr.sources.config import SourceConfig, load_config
from npczarr.sources.csv_files import parse_csv
from npczarr.sources.files import open_source
from npczarr.sources.tables import read_tables

TABLES = {
    "chinese": (
        "患者编号,性别,年龄,T分期,临床分期,病理类型,EBV-DNA,总生存期（月）,是否死亡\n"
        "001,男,45岁,T3,Ⅲ期,非角化型鳞癌,阳性,60,否\n002,女,61,T1,IVa期,角化型鳞癌,阴性,12.5,是\n",
        "gb18030",
    ),
    "japanese": (
        "患者番号,性別,年齢,T病期,臨床病期,病理組織型,EBV-DNA,生存期間（月）,転帰\n"
        "001,男性,45歳,T3,III期,非角化型,陽性,60,生存\n002,女性,61,T1,ⅣA期,角化型,陰性,12.5,死亡\n",
        "cp932",
    ),
    "german": (
        "Patientennummer;Geschlecht;Alter;T-Stadium;UICC-Stadium;Histologie;EBV-DNA;Überlebenszeit (Monate);"
        "Verstorben\n"
        "001;männlich;45;T3;III;nicht verhornend;positiv;60;nein\n002;weiblich;61;T1;IVA;verhornend;negativ;12,5;ja\n",
        "latin-1",
    ),
    "french": (
        "Identifiant;Sexe;Âge au diagnostic;Stade T;Stade clinique;Type histologique;EBV-DNA;Survie globale (mois);"
        "Décès\n"
        "001;H;45 ans;T3;Stade III;non kératinisant;positif;60;non\n002;F;61;T1;IVa;kératinisant;négatif;12,5;oui\n",
        "utf-8",
    ),
    "spanish": (
        "Paciente;Sexo;Edad;Estadio T;Estadio clínico;Histología;EBV-DNA;Supervivencia global (meses);Exitus\n"
        "001;H;45;T3;III;no queratinizante;positivo;60;no\n002;M;61;T1;IVA;queratinizante;negativo;12,5;sí\n",
        "utf-8",
    ),
    "portuguese": (
        "Paciente;Sexo;Idade;Estádio T;Estadiamento clínico;Histologia;EBV-DNA;Sobrevida global (meses);Óbito\n"
        "001;masculino;45 anos;T3;Estádio III;não queratinizante;positivo;60;não\n"
        "002;feminino;61;T1;IVA;queratinizante;negativo;12,5;sim\n",
        "latin-1",
    ),
}
MEANING = {
    "sex": ["male", "female"],
    "t_stage": ["T3", "T1"],
    "clinical_stage": ["3", "4a"],
    "pathology": ["Non-keratinized squamous", "Keratinized squamous"],
    "ebv": ["positive", "negative"],
    "death": ["no", "yes"],
}


def read(folder, text, encoding="utf-8", config=None):
    (folder / "table.csv").write_bytes(text.encode(encoding))
    cohort = Cohort(("001", "002"), ("T1WI",), {}, tables=(File("table.csv", 1, ""),))
    return read_tables(open_source(folder), cohort, config or SourceConfig())


@pytest.mark.parametrize("language", TABLES)
def test_the_same_table_in_every_language_means_the_same(language, tmp_path):
    tables = read(tmp_path, *TABLES[language])
    assert tables.warnings == ()
    assert set(tables.columns) == {"age", "overall_survival", *MEANING}
    np.testing.assert_array_equal(tables.columns["age"][1], [45, 61])
    np.testing.assert_array_equal(tables.columns["overall_survival"][1], [60, 12.5])
    for name, labels in MEANING.items():
        assert canonical(name, tables.columns[name][1].tolist()) == labels, name


def test_words_are_written_as_they_are_compared_and_name_clinical_fields():
    fields = {known.name for known in CLINICAL}
    assert set(words.COLUMNS) <= fields
    assert set(words.VALUES) <= fields
    for listed in (*words.COLUMNS.values(), words.PATIENT_COLUMNS, words.SESSION_COLUMNS, words.SEQUENCE_COLUMNS):
        assert [word for word in listed.split() if plain(word) != word] == []


def test_no_word_means_two_things():
    for name, meanings in words.VALUES.items():
        listed = [word for text in meanings.values() for word in text.split()]
        assert len(listed) == len(set(listed)), name
        for meaning, text in meanings.items():
            assert {meaning} == set(canonical(name, text.split())), name


@pytest.mark.parametrize("word", sorted(words.MISSING))
def test_a_missing_value_is_missing_in_every_language(word):
    assert word in MISSING
    assert canonical("sex", [word, word.upper()]) == ["", ""]


@pytest.mark.parametrize(
    ("column", "unit"),
    [("生存时间（天）", "day"), ("総生存期間 月", "month"), ("Überleben (Tage)", "day"), ("Suivi (années)", "year")],
)
def test_units_of_other_languages(column, unit):
    assert unit_of(column) == unit


def test_letters_of_sex_by_what_else_is_in_the_column():
    assert canonical("sex", ["H", "M"]) == ["male", "female"]
    assert canonical("sex", ["H", "F"]) == ["male", "female"]
    assert canonical("sex", ["M", "F"]) == ["male", "female"]
    assert canonical("sex", ["M", "W"]) == ["male", "female"]
    assert canonical("sex", ["H", "M", "F"]) == ["H", "male", "female"]


def test_a_toml_file_adds_words(tmp_path):
    (tmp_path / "words.toml").write_text(
        '[columns]\n"Kjønn" = "sex"\n"Alder" = "age"\n[values.sex]\n"kvinne" = "female"\n"mann" = "male"\n',
        encoding="utf-8",
    )
    tables = read(tmp_path, "ID,Kjønn,Alder\n1,kvinne,50\n2,mann,61\n", config=load_config(tmp_path / "words.toml"))
    assert tables.columns["sex"][1].tolist() == ["female", "male"]
    assert tables.columns["age"][1].tolist() == [50, 61]


def test_a_table_none_of_whose_columns_is_known_is_a_warning(tmp_path):
    (warning,) = read(tmp_path, "ID,Foo,Bar\n1,a,b\n2,c,d\n").warnings
    assert "none of its columns (Foo, Bar) is a clinical field" in warning
    assert read(tmp_path, "ID,Foo,Age\n1,a,5\n").warnings == ()


def test_a_thousand_is_no_decimal():
    assert parse_csv(b"ID;OS\n1;1,234\n")[0]["OS"] == "1,234"
    assert known_field("OS").name == "overall_survival"


@pytest.mark.parametrize(
    "entry", ["I-II", "I - II", "II-I", "I_II", "II (I)", "III-IV", "1-2", "I/II", "I to II", "Ⅰ-Ⅱ"]
)
@pytest.mark.parametrize("name", ["clinical_stage", "t_stage", "n_stage"])
def test_a_range_of_stages_is_no_stage(name, entry):
    assert canonical(name, [entry]) == [entry]


def test_a_letter_behind_a_stage_is_no_range():
    assert canonical("clinical_stage", ["IV-B", "iv (a)", "Stage IV b", "III"]) == ["4b", "4a", "4b", "3"]
    assert canonical("t_stage", ["T-2", "T 1", "pT2-a"]) == ["T2", "T1", "T2a"]
