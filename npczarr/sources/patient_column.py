"""Which column of a table says whose row it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from npczarr.errors import SourceError
from npczarr.model.clinical import ID_NAMES, PATIENT_ALIASES, ROW_NUMBER_NAMES, plain

Row = Mapping[str, str]
#: Patients that each row of a column may mean.
Named = Sequence[tuple[str, ...]]
_HINT = 'in a TOML file: [columns] "…" = "patient"'


def patient_columns(names: Sequence[str]) -> list[str]:
    """List the columns that may say whose row it is, the more specific names first.

    >>> patient_columns(["No", "ID", "Age", "Patient ID"])
    ['Patient ID', 'ID', 'No']
    """
    order = {alias: (_vagueness(alias), i) for i, alias in enumerate(PATIENT_ALIASES)}
    return sorted((name for name in names if plain(name) in order), key=lambda name: order[plain(name)])


def numbers_rows(name: str) -> bool:
    """Whether a column of this name numbers the rows of its table as a rule.

    >>> numbers_rows("No."), numbers_rows("Patient no.")
    (True, False)
    """
    return plain(name) in ROW_NUMBER_NAMES


def counts_rows(entries: Sequence[str]) -> bool:
    """Whether the entries are 1, 2, 3 … or 0, 1, 2 …, as the rows of a table are counted.

    >>> counts_rows(["1", "2"]), counts_rows(["001", "002"]), counts_rows(["2", "1"])
    (True, False, False)
    """
    numbers = [entry.strip().removesuffix(".0") for entry in entries]
    return len(numbers) > 1 and any(numbers == [str(i) for i in range(k, k + len(numbers))] for k in (0, 1))


def choose_patient_column(
    rows: Sequence[Row], find: Callable[[str], tuple[str, ...]], declared: Mapping[str, str]
) -> tuple[str, tuple[str, ...]]:
    """Choose the column of patients: the one that is declared, else by its name and by the patients whom it finds.

    Parameters
    ----------
    rows
        The rows of a table.
    find
        Gives the patients whom an entry may mean.
    declared
        Meanings of columns, from the configuration.

    Returns
    -------
    tuple
        The column, and remarks on a choice that is not plain to see.

    Raises
    ------
    SourceError
        If no column holds patients, or several hold different ones and none is the more specific.
    """
    names = list(rows[0])
    if given := [name for name in names if declared.get(name) == "patient"]:
        return given[0], ()
    entries = {
        name: [row.get(name, "") for row in rows]
        for name in patient_columns([name for name in names if name not in declared])
    }
    found = _keys(entries, find)
    if not found:
        counted = next((f"; {name!r} may count the rows" for name in entries if numbers_rows(name)), "")
        raise SourceError(f"no column of patient numbers among {names}{counted}; name it {_HINT}")
    counting = {name for name in found if counts_rows(entries[name])}
    speaking = {name: named for name, named in found.items() if any(named)}
    if len(speaking) < 2 or not _differ(speaking):
        chosen = max(found, key=lambda name: sum(map(bool, found[name])))
        silent = [name for name in found if name not in speaking and any(entries[name])]
        return chosen, _remarks_on_count(chosen, silent) if chosen in counting else ()
    chosen = _most_certain(speaking, counting)
    return chosen, (_remark_on_others(chosen, speaking),)


def _keys(entries: Mapping[str, Sequence[str]], find: Callable[[str], tuple[str, ...]]) -> dict[str, Named]:
    """Find the patients of each column that may say whose row it is."""
    found = {name: [find(entry) for entry in column] for name, column in entries.items()}
    return {name: named for name, named in found.items() if _may_be_key(name, entries[name], named)}


def _remark_on_others(chosen: str, found: Mapping[str, Named]) -> str:
    """Remark on columns that give other patients than the one that was taken."""
    others = [name for name in found if _differ({name: found[name], chosen: found[chosen]})]
    listed = " and ".join(map(repr, others))
    return (
        f"{chosen!r} was taken for the patient; {listed} would give other patients. If that is wrong, name the column "
        f"{_HINT}"
    )


def _vagueness(alias: str) -> int:
    return 2 if alias in ROW_NUMBER_NAMES else int(alias in ID_NAMES)


def _may_be_key(name: str, entries: Sequence[str], named: Named) -> bool:
    """Whether a column may say whose row it is: one that numbers rows as a rule does if it has the very labels."""
    if not numbers_rows(name):
        return True
    return any(named) and all(not one or one == (entry.strip(),) for entry, one in zip(entries, named, strict=True))


def _differ(found: Mapping[str, Named]) -> bool:
    """Whether columns give different patients for a row."""
    rows = ([set(one) for one in row if one] for row in zip(*found.values(), strict=True))
    return any(row and not set.intersection(*row) for row in rows)


def _most_certain(found: Mapping[str, Named], counting: set[str]) -> str:
    """Choose of columns that give different patients the one that can only be meant.

    Raises
    ------
    SourceError
        If there is no such column.
    """
    vagueness = {name: _vagueness(plain(name)) for name in found}
    count = {name: len({one for one in named if one}) for name, named in found.items() if name not in counting}
    clear = [name for name in count if count[name] == max(count.values())]
    best = [name for name in clear if vagueness[name] == min(vagueness.values())]
    if not best or _differ({name: found[name] for name in best}):
        listed = " and ".join(repr(name) for name in found)
        raise SourceError(f"the columns {listed} give different patients; name the one that is meant {_HINT}")
    return best[0]


def _remarks_on_count(chosen: str, silent: Sequence[str]) -> tuple[str, ...]:
    """Remark on a column that was taken though it may count the rows."""
    others = f", and {silent[0]!r} names no patient who has a folder" if silent else ""
    if not silent and not numbers_rows(chosen):
        return ()
    return (
        f"{chosen!r} was taken for the patient; it numbers the rows 1, 2, 3 …{others}. If it is no number of patients, "
        f"name the column {_HINT}",
    )
