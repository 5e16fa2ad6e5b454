"""The page in a notebook, as a widget: objects travel through the kernel, so there is no port and no server."""

from __future__ import annotations

from typing import Any

import anywidget
import numpy as np
import traitlets
import xarray as xr

from npczarr.errors import NpczarrError, ParameterError, unknown_label
from npczarr.model.options import redacted
from npczarr.store.location import Location, locate
from npczarr.viewer.objects import StoreObjects
from npczarr.viewer.page import page_files


class StoreWidget(anywidget.AnyWidget):
    """Shows a store in Jupyter, VS Code and whatever else shows widgets.

    Parameters
    ----------
    location
        The store.
    patient
        Label of the patient that is shown first; "" for the first one.
    height
        Height in pixels.
    """

    _esm = page_files()["viewer.js"].content.decode()
    name = traitlets.Unicode("").tag(sync=True)
    patient = traitlets.Unicode("").tag(sync=True)
    height = traitlets.Int(720).tag(sync=True)

    def __init__(self, location: Location, patient: str = "", height: int = 720) -> None:
        self._objects = StoreObjects(location)
        super().__init__(name=self._objects.name, patient=patient, height=height)
        self.on_msg(self._answer)

    def _answer(self, _: object, asked: dict[str, Any], __: object) -> None:
        """Send an object that the page asks for."""
        try:
            content = self._objects.read(str(asked.get("key", "")))
        except NpczarrError as error:
            self.send({"id": asked.get("id"), "found": False, "error": redacted(str(error))})
            return
        found = content is not None
        self.send({"id": asked.get("id"), "found": found}, [content] if found else [])


def view_dataset(dataset: xr.Dataset, patient: str | None, height: int) -> StoreWidget:
    """Show the store that a Dataset was opened from, as ``ds.npc.view`` does."""
    source = dataset.encoding.get("source")
    if not isinstance(source, str):
        raise ParameterError("the Dataset was not opened from a store; view what npczarr.open or xr.open_zarr gives")
    known = [str(label) for label in np.atleast_1d(dataset["patient"].values)]
    if patient is not None and patient not in known:
        raise unknown_label("patient", patient, known, where="the Dataset")
    only = known[0] if len(known) == 1 else ""
    return StoreWidget(locate(source, dataset.encoding.get("storage_options")), patient or only, height)
