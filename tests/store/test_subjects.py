"""The order of a subject's visits is told by dates where a table gives them."""

import pytest
import xarray as xr

from npczarr.store.subjects import unordered_visits, visit_places

PATIENTS = ["A_ses-post", "A_ses-pre", "B_ses-post", "B_ses-pre"]


def visits(times):
    return xr.Dataset({"acq_time": ("patient", times)}, coords={"patient": PATIENTS})


@pytest.mark.parametrize(
    ("times", "places"),
    [
        (["2021-05-01", "2021-03-01", "2021-03-01T08:00:00", "2021-03-01T09:30:00"], [1, 0, 0, 1]),
        (["2021-05-01", "", "2019-01-01", "2020-01-01"], [-1, -1, 0, 1]),  # one that is not known
        (["2021-05-01", "2021-05-01", "01.02.2020", "2020-01-01"], [-1, -1, -1, -1]),  # one day; no ISO date
    ],
)
def test_times_of_a_table_tell_which_came_first(times, places):
    assert visit_places(visits(times)) == places
    assert (unordered_visits(visits(times)) == "") is (-1 not in places)


def test_without_times_nothing_tells_it():
    assert visit_places(visits(["", "", "", ""])) == [-1] * 4
