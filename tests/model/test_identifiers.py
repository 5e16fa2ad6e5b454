"""Which names of columns tell who a patient is, in the languages of clinical tables."""

import pytest

from npczarr.model.clinical import CLINICAL, PATIENT_ALIASES, SEQUENCE_ALIASES, SESSION_ALIASES
from npczarr.model.identifiers import identifies_by_name
from npczarr.model.schema import RESERVED

TELLING = {
    "English": ["Name", "First name", "Last name", "Date of birth", "DOB", "Address", "Phone No.", "phone_2", "E-mail"],
    "English, numbers": ["MRN", "Medical record number", "SSN", "Insurance number", "date", "Exam date", "StudyDate"],
    "German": ["Vorname", "Nachname", "Geburtsdatum", "Geb.-Datum", "Adresse", "Straße", "Strasse", "PLZ", "Telefon"],
    "German, numbers": [
        "Fallnummer",
        "Fall-Nr.",
        "Versichertennummer",
        "E-Mail-Adresse",
        "Datum",
        "Untersuchungsdatum",
    ],
    "French": ["Nom", "Prénom", "Nom du patient", "Date de naissance", "Adresse", "Téléphone", "Courriel"],
    "French, numbers": [
        "N° de sécurité sociale",
        "Numéro de dossier",
        "N° dossier",
        "N° de téléphone",
        "Date d'examen",
        "date_examen",
        "dateexamen",
    ],
    "Spanish": ["Nombre", "Apellidos", "Fecha de nacimiento", "Dirección", "Teléfono", "Correo electrónico", "DNI"],
    "Spanish, numbers": ["Historia clínica", "NHC", "Nº de seguridad social", "Fecha", "fecha_examen"],
    "Italian": ["Nome", "Cognome", "Data di nascita", "Indirizzo", "Telefono", "Codice fiscale", "Data esame"],
    "Portuguese": ["Nome", "Sobrenome", "Data de nascimento", "Endereço", "Telefone", "CPF", "Prontuário"],
    "Dutch": ["Naam", "Voornaam", "Achternaam", "Geboortedatum", "Adres", "Telefoonnummer", "BSN", "Onderzoeksdatum"],
    "Chinese": ["姓名", "出生日期", "身份证", "住院号", "病历号", "电话", "地址", "联系电话", "医保卡号", "检查日期"],
    "Traditional Chinese": ["身分證字號", "出生日期", "住院號", "病歷號", "電話", "住址", "檢查日期"],
    "Japanese and Korean": ["氏名", "生年月日", "住所", "電話番号", "カルテ番号", "検査日", "이름", "생년월일"],
}
HARMLESS = (
    *("Tumorname", "Tumor name", "Drug name", "sequence name", "Protokollname", "Age", "Alter", "Sex"),
    *("T stage", "N", "n2", "EBV-DNA", "Überlebenszeit", "OS (Monate)", "days since diagnosis date", "update", "data"),
    *("Tage seit Untersuchungsdatum", "candidate", "Datei", "Daten", "updated event", "CNS involvement", "via"),
    *("acq_time", "年龄", "总生存期（月）", "病理", "生存状态", "随访时间", "Pseudonym", "mobility", "Adressat"),
)


@pytest.mark.parametrize("column", [name for names in TELLING.values() for name in names])
def test_a_column_that_tells_who_or_when_is_known_by_its_name(column):
    assert identifies_by_name(column)
    assert identifies_by_name(column.upper())


@pytest.mark.parametrize("column", HARMLESS)
def test_other_columns_pass(column):
    assert not identifies_by_name(column)


def test_clinical_columns_and_those_of_the_store_pass():
    clinical = {alias for field in CLINICAL for alias in (field.name, *field.aliases)}
    units = {f"{field.aliases[0]} ({unit})" for field in CLINICAL for unit in ("days", "Monate", "月")}
    places = {*PATIENT_ALIASES, *SEQUENCE_ALIASES, *SESSION_ALIASES} - {"fallnummer"}  # a number of the hospital
    assert [name for name in sorted(clinical | units | places | RESERVED) if identifies_by_name(name)] == []
