"""The tables, indexes and triggers of a file against those of a new one."""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from ...protocols import DamageKind
from .driver import Connection, Error, configure, connect
from .pool import migrate

#: Tables that are made anew from others.
DERIVED_TABLES: Final = frozenset(
    "actors sessions postings unit_stats vectors metadata_keys index_work space_changes item_vectors"
    " item_postings item_changes".split()
)
_MASTER: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_'"


class Part(NamedTuple):
    """A table, index, trigger or view."""

    type: str
    name: str
    table: str
    sql: str

    @property
    def plain(self) -> str:
        """Its definition without what SQLite writes in more than one way."""
        return "".join(self.sql.replace('"', "").split())


class Difference(NamedTuple):
    """A part that is not as it should be; ``wanted`` is the right one, None for what should not be there."""

    kind: DamageKind
    part: Part
    wanted: Part | None
    problem: str
    gone: bool = False


@cache
def expected() -> dict[tuple[str, str], Part]:
    """The parts of a new file."""
    connection = configure(connect(":memory:"), "relaxed")
    try:
        migrate(connection, "a new store")
        return _parts(connection)
    finally:
        connection.close()


def _parts(connection: Connection) -> dict[tuple[str, str], Part]:
    rows = connection.execute(_MASTER).fetchall()
    return {(type_, name): Part(type_, name, table, sql or "") for type_, name, table, sql in rows}


def differences(connection: Connection) -> list[Difference]:
    """Everything that a new file has otherwise; tables first."""
    there, found = _parts(connection), list[Difference]()
    for key, wanted in sorted(expected().items(), key=lambda item: item[1].type != "table"):
        part = there.pop(key, None)
        if part is not None and part.plain == wanted.plain:
            continue
        kind: DamageKind = "derived" if wanted.type != "table" or wanted.name in DERIVED_TABLES else "truth"
        what = f"the {wanted.type} is " + ("not there" if part is None else "not as memkit made it")
        found.append(Difference(kind, wanted if part is None else part, wanted, what, part is None))
    for part in there.values():
        if part.type in ("index", "trigger"):
            found.append(Difference("derived", part, None, f"memkit has no such {part.type}"))
        else:
            found.append(Difference("file", part, None, f"memkit has no such {part.type}"))
    return found


def mend(connection: Connection) -> None:
    """Make derived parts as those of a new file; tables come back empty, to be filled from the record.

    A table of the record that is gone comes back empty as well: what is counted elsewhere goes on telling
    what was lost with it, and the rest can be looked after.
    """
    emptied = set[str]()
    for difference in differences(connection):
        part, wanted = difference.part, difference.wanted
        if difference.kind == "truth" and wanted is not None and difference.gone:
            _create(connection, wanted)
            emptied.add(wanted.name)
        if difference.kind != "derived":
            continue
        connection.execute(f"DROP {part.type} IF EXISTS {_quoted(part.name)}")
        if wanted is not None:
            _create(connection, wanted)
            if wanted.type == "table":
                emptied.add(wanted.name)
    for wanted in expected().values():
        if wanted.table in emptied and wanted.type != "table":  # they went with their table
            connection.execute(f"DROP {wanted.type} IF EXISTS {_quoted(wanted.name)}")
            _create(connection, wanted)


def _create(connection: Connection, wanted: Part) -> None:
    try:
        connection.execute(wanted.sql)
    except Error:
        # Its table is not there, or rows of the record that are damaged forbid it: the next inspection,
        # which every repair ends with, tells that it is still missing.
        return


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
