"""The sections of a report; what cannot be shown says why, and which command makes it."""

from __future__ import annotations

from collections.abc import Sequence

from npczarr.report.blocks import Block, Figures, Section, Words
from npczarr.report.cohort_section import glance_blocks, scanners_blocks, scans_blocks
from npczarr.report.contents import Contents
from npczarr.report.inputs import ReportInputs
from npczarr.report.patients_section import patients_blocks
from npczarr.report.quality_section import quality_blocks
from npczarr.report.results_section import clinical_blocks, raters_blocks, tumors_blocks
from npczarr.report.review_section import review_blocks

PUBLISHED = "A dataset of primary nasopharyngeal carcinoma MRI, Scientific Data 2025, doi 10.1038/s41597-025-05815-x"


def contents_of(inputs: ReportInputs) -> Contents:
    """Write a report: every section, figure and table."""
    contents = Contents()
    parts = [
        ("patients", "Patients", patients_blocks),
        ("glance", "The cohort at a glance", glance_blocks),
        ("scans", "Scans", scans_blocks),
        ("tumors", "Tumors", tumors_blocks),
        ("scanners", "Scanners", scanners_blocks),
        ("clinical", "Clinical stage and survival", clinical_blocks),
        ("raters", "Agreement of raters", raters_blocks),
        ("review", "Review", review_blocks),
        ("quality", "Quality", quality_blocks),
        ("definitions", "Definitions and sources", _definitions),
    ]
    for name, title, write in parts:
        blocks = _side_by_side(write(inputs, contents))
        contents.sections.append(Section(name, title, blocks, fresh=name in ("scans", "tumors", "quality")))
    return contents


def _definitions(inputs: ReportInputs, contents: Contents) -> list[Block]:
    lines = [
        "Volume, surface area and largest diameter are those of the marching cubes surface at 0.5 (Lorensen and Cline "
        "1987) of each mask, closed at the border; surface regularity is V / (4/3 π R³) with R = √(S / 4π).",
        "Spacing is measured from slice positions; header fields are shown unchanged.",
        "Dice = 2 |A ∩ B| / (|A| + |B|); Jaccard = |A ∩ B| / |A ∪ B|; surface distances as DeepMind's surface-distance "
        "package defines them (Nikolov et al., J Med Internet Res 2021, doi 10.2196/26151); a distance above a "
        "tolerance by no more than a millionth of it counts as within it.",
        "Limits of agreement: Bland and Altman, Lancet 1986; 327: 307-310. Survival: Kaplan and Meier, J Am Stat Assoc "
        "1958; 53: 457-481. Log-rank test: Mantel, Cancer Chemother Rep 1966; 50: 163-170. Box plots: Tukey, "
        "Exploratory Data Analysis, 1977. Colors: Okabe and Ito, Color Universal Design, 2008.",
        f"Published values, where shown: {PUBLISHED}.",
    ]
    return [Words(line) for line in lines]


def _side_by_side(blocks: Sequence[Block]) -> list[Block]:
    """Put neighboring figures two to a row; a wide one has a row of its own."""
    found: list[Block] = []
    for block in blocks:
        last = found[-1] if found else None
        if isinstance(block, Figures) and isinstance(last, Figures) and _narrow(last) and _narrow(block):
            found[-1] = Figures((*last.figures, *block.figures))
        else:
            found.append(block)
    return found


def _narrow(block: Figures) -> bool:
    """Whether another figure fits beside it."""
    return len(block.figures) == 1 and not block.figures[0].wide
