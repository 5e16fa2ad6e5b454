"""The clinical variables that npczarr knows, and the column names by which tables call them.

Aliases are compared in lower case with everything but letters and digits left out, so "EBV-DNA" is "ebvdna".
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClinicalField:
    """A clinical variable: its name in the store, dtype ("float64" or "string"), meaning, units, and aliases."""

    name: str
    dtype: str
    description: str
    units: str | None
    aliases: tuple[str, ...]


def _field(name: str, dtype: str, description: str, aliases: str, units: str | None = None) -> ClinicalField:
    return ClinicalField(name, dtype, description, units, tuple(aliases.split()))


CLINICAL: tuple[ClinicalField, ...] = (
    _field("age", "float64", "age at diagnosis", "age patientage ageyears ageatdiagnosis", "year"),
    _field("sex", "string", "sex", "sex gender patientsex"),
    _field("t_stage", "string", "tumour stage (TNM)", "tstage t tcategory clinicalt ct tclassification"),
    _field("n_stage", "string", "node stage (TNM)", "nstage n ncategory clinicaln cn nclassification"),
    _field("m_stage", "string", "metastasis stage (TNM)", "mstage m mcategory clinicalm cm mclassification"),
    _field("clinical_stage", "string", "clinical stage", "clinicalstage stage overallstage ajccstage tnmstage tnm"),
    _field("pathology", "string", "histological type", "pathology histology pathologicaltype pathologictype whotype"),
    _field("ebv", "string", "Epstein-Barr virus DNA", "ebv ebvdna epsteinbarrvirus epsteinbarrvirusdna"),
    _field("vca", "string", "viral capsid antigen IgA", "vca vcaiga ebvvcaiga vcaantibody"),
    _field(
        "overall_survival",
        "float64",
        "time to death or last follow-up",
        "overallsurvival os osmonths overallsurvivalmonths survivaltime survivalmonths followup followupmonths ostime",
        "month",
    ),
    _field("death", "string", "whether death was observed", "death deathevent osevent event survivalstatus dead died"),
)

#: Columns that say whose row it is, and of which sequence.
PATIENT_ALIASES = (
    "id",
    "patientid",
    "patient",
    "patientno",
    "patientnumber",
    "no",
    "number",
    "index",
    "case",
    "caseid",
)
SEQUENCE_ALIASES = ("sequence", "series", "modality", "mrsequence", "scan")


def plain(name: str) -> str:
    """Column name as aliases are compared.

    >>> plain("EBV-DNA"), plain(" Overall survival (months)")
    ('ebvdna', 'overallsurvivalmonths')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())
