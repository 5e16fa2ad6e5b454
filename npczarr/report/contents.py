"""The contents of a report before it is laid out; a figure or table that cannot be made is replaced by the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure

from npczarr.errors import NpczarrError
from npczarr.report.blocks import Absent, Block, Figures, Section, as_picture, as_table


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """A report before it is laid out: its sections, and the figures and tables in them by name."""

    sections: list[Section] = field(default_factory=list)
    figures: dict[str, Figure] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def drawn(
        self, name: str, title: str, caption: str, draw: Callable[[], Figure], **options: bool
    ) -> Figures | Absent:
        """Draw a figure and put it on the page; or say why it cannot be drawn."""
        try:
            figure = self.figures[name] = draw()
        except NpczarrError as error:
            return Absent(f"{title}: {error}.")
        return Figures((as_picture(figure, name, title, caption, **options),))

    def add_or_explain(
        self,
        name: str,
        caption: str,
        make: Callable[[], pd.DataFrame],
        *,
        sortable: bool = False,
        folded: bool = False,
    ) -> list[Block]:
        """Make a table and put it on the page; or say why it cannot be made."""
        try:
            frame = make()
        except NpczarrError as error:
            return [Absent(f"{caption}: {error}.")]
        if frame.empty:
            return [Absent(f"{caption}: {' '.join(frame.attrs.get('notes', [])) or 'nothing to show.'}")]
        self.tables[name] = frame
        summary = f"{caption} ({len(frame)})" if folded else ""
        return [as_table(frame, caption, sortable=sortable, folded=summary)]
