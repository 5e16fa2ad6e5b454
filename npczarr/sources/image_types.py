"""ImageType of a series, in a fixed vocabulary that cannot identify a patient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_PHASE = {"P", "PHASE", "PHASE MAP", "P_FFE", "P_SE", "P_IR", "P_PCA", "VELOCITY", "VELOCITY MAP"}
_PROJECTION = {"PROJECTION IMAGE", "MIP", "MINIP", "MIN IP", "MAX_IP", "MIN_IP", "CSA MIP"}
_OTHERS = """
    ORIGINAL DERIVED PRIMARY SECONDARY AXIAL SAGITTAL CORONAL LOCALIZER OTHER MIXED NONE UNSPECIFIED
    M R I REAL IMAGINARY MAGNITUDE M_FFE M_SE M_IR M_PCA R_FFE R_SE R_IR I_FFE I_SE I_IR FFE SE IR PCA M_B0 M_B1 B0 B1
    NORM ND FM FIL DIS2D DIS3D DIS DC MFSPLIT MOSAIC MPR VPR CPR MEAN SUM ADD SUB SUBTRACTION DIVISION COMPOSED COMP_SP
    COMP_SUM COMBINED RESAMPLED VOLUME REFORMATTED FILTERED STITCHED QUANTITY INTERPOLATED REGISTERED DYNAMIC PERFUSION
    DIFFUSION DIFFUSION_ANISO ADC ADC_MAP EADC TRACE TRACEW FA TENSOR TENSOR_B0 CALC_BVALUE FMRI ASL T1 T2 T2_STAR
    T1_MAP T2_MAP T2_STAR_MAP R2 R2_STAR PROTON_DENSITY PD RHO WATER FAT W F IP OP IN_PHASE OUT_PHASE OPP_PHASE
    FAT_FRACTION SUSCEPTIBILITY SWI SWI_MAP QSM STIR FLAIR MRA MRCP TOF ANGIO TTP CBF CBV MTT CSAPARALLEL PARALLEL
    ENCAPSULATED SCREEN_SAVE VXTL STATE RGB GSP SPEC CSA REPORT SYNTHETIC
    """
_WORDS = {*_OTHERS.split(), *_PHASE, *_PROJECTION, "T1 MAP", "T2 MAP", "CSA MPR", "CSA REPORT", "CSA RESAMPLED"}
_LONGEST = 12  # values of one field; the standard has four


def known_words(values: Iterable[object]) -> str:
    """Join the values of ImageType by a backslash; a value that is no word of the vocabulary becomes OTHER."""
    words = [str(value).strip().upper() for value in values][:_LONGEST]
    while words and not words[-1]:
        words.pop()
    return "\\".join(word if word in _WORDS or not word else "OTHER" for word in words)


def is_localizer(values: Iterable[object]) -> bool:
    """Whether an image says that it is a localizer."""
    return "LOCALIZER" in {str(value).strip().upper() for value in values}


def describe_types(types: Sequence[tuple[Sequence[object], int]]) -> list[str]:
    """Describe images that are not as they were acquired.

    Parameters
    ----------
    types
        Values of ImageType, and the number of slices that have them.
    """
    total = sum(count for _, count in types)
    remarks = []
    for name, meaning, applies in (
        ("LOCALIZER", "made to plan the examination", lambda words: "LOCALIZER" in words),
        ("DERIVED", "computed from other images", lambda words: "DERIVED" in words),
        ("SECONDARY", "made after the examination", lambda words: "SECONDARY" in words and "DERIVED" not in words),
        ("phase (P)", "its values are angles or velocities, no signal", lambda words: bool(words & _PHASE)),
        ("a projection (MIP)", "each voxel shows a whole line of others", lambda words: bool(words & _PROJECTION)),
    ):
        found = sum(n for values, n in types if applies({str(value).strip().upper() for value in values}))
        if found:
            share = "" if found == total else f" in {found} of {total} slices"
            remarks.append(f"ImageType says {name}{share}: {meaning}")
    return remarks
