"""Items against their hashes, and what they are found by against what was counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..driver import Connection
from ..inspection import Inspection
from ..rows import vector_sum
from ..seals import is_sound_row
from .rows import ITEM, is_sound, item_seal, space_seal, state_sum, terms_sum
from .writes import set_state

#: (table, key, what was done)
Tell = Callable[[str, object, str], None]


def inspect_items(connection: Connection, seen: Inspection) -> None:
    """Namespaces and items against their hashes and each other; vectors and keywords against sums."""
    sizes: dict[int, int] = dict(
        connection.execute("SELECT space, count(*) FROM items GROUP BY space").fetchall()
    )
    for space, namespace, size, seal in connection.execute(
        "SELECT id, namespace, size, content_hash FROM item_spaces"
    ):
        if not is_sound_row([namespace, size], seal):
            seen.truth("item_spaces", space, "it does not match its hash")
        elif sizes.get(space, 0) != size:
            seen.truth("item_spaces", space, f"{sizes.get(space, 0)} of its {size} items are there")
        sizes.pop(space, None)
    for space, count in sizes.items():
        seen.truth("item_spaces", space, f"it is not there, and has {count} items")
    vectors, keywords = _vectors(connection, seen), _keywords(connection)
    for row in connection.execute(f"SELECT {ITEM} FROM items i LEFT JOIN item_spaces s ON s.id = i.space"):
        found, terms = vectors.pop(row[0], 0), keywords.pop(row[0], [])
        if row[1] is None:
            continue  # its namespace was told
        if not is_sound(row):
            seen.truth("items", row[0], "it does not match its hash")
        elif found != row[11]:
            seen.derived("item_vectors", row[0], f"{found} of {row[11]} vectors of an item are there")
        elif terms_sum(terms) != row[10]:
            seen.derived("item_postings", row[0], "the keywords of an item are not what they were")
    for table, strays in (("item_vectors", vectors), ("item_postings", keywords)):
        for item in strays:
            seen.derived(table, item, "there is no such item")
    _inspect_changes(connection, seen)


def _vectors(connection: Connection, seen: Inspection) -> dict[int, int]:
    """How many sound vectors each item has, under its own namespace."""
    found: dict[int, int] = {}
    rows = connection.execute(
        "SELECT v.space, v.item, v.number, v.crc32, v.data, i.space FROM item_vectors v"
        " LEFT JOIN items i ON i.id = v.item"
    )
    for space, item, number, stored, data, right in rows:
        if not _is_sound_vector(space, item, number, data, stored):
            seen.derived("item_vectors", f"{item}/{number}", "it does not match its checksum")
        elif right is None or right == space:
            found[item] = found.get(item, 0) + 1
    return found


def _is_sound_vector(space: Any, item: Any, number: Any, data: Any, stored: Any) -> bool:
    try:
        return bool(vector_sum(space, item, number, data) == stored)
    except TypeError:
        return False  # a value of another type was never stored like this


def _keywords(connection: Connection) -> dict[int, list[tuple[Any, Any, Any]]]:
    found: dict[int, list[tuple[Any, Any, Any]]] = {}
    rows = connection.execute(
        "SELECT p.item, p.term, p.tf, p.len FROM item_postings p LEFT JOIN items i ON i.id = p.item"
        " WHERE i.id IS NULL OR i.space = p.space"
    )
    for item, *row in rows:
        found.setdefault(item, []).append((row[0], row[1], row[2]))
    return found


def _inspect_changes(connection: Connection, seen: Inspection) -> None:
    """Notes for warm copies: of namespaces and tags that there are."""
    for space, tag in connection.execute(
        "SELECT c.space, c.tag FROM item_changes c LEFT JOIN item_spaces s ON s.id = c.space"
        " WHERE s.id IS NULL OR c.tag > s.tag OR c.tag < 1"
    ):
        seen.derived("item_changes", f"{space}/{tag}", "there is no such namespace or tag")


def repair_items(connection: Connection, seen: Inspection) -> None:
    """Drop what items are found by where it is damaged: the store's ``reindex`` makes it anew.

    Nobody may go on with a warm copy of what was there before.
    """
    if not any(damage.table.startswith("item_") for damage in seen.found):
        return
    rows = connection.execute(
        f"SELECT i.space, {ITEM} FROM items i JOIN item_spaces s ON s.id = i.space"
    ).fetchall()
    quiet = Inspection(step=lambda _: None)
    vectors, keywords = _vectors(connection, quiet), _keywords(connection)
    damaged = {damage.key.partition("/")[0] for damage in quiet.found}
    for _, *row in rows:
        item = row[0]
        lost = vectors.get(item, 0) != row[11] or str(item) in damaged
        if is_sound(row) and (lost or terms_sum(keywords.get(item, [])) != row[10]):
            connection.execute("DELETE FROM item_vectors WHERE item = ?", (item,))
            connection.execute("DELETE FROM item_postings WHERE item = ?", (item,))
            set_state(connection, item, row[8], row[9], 0, 0)
    drop_stray_rows(connection)


def drop_stray_rows(connection: Connection) -> None:
    """Drop vectors and keywords of no item, and every note for warm copies."""
    for table in ("item_vectors", "item_postings"):
        connection.execute(
            f"DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.id = t.item"
            " AND i.space = t.space)"
        )
    connection.execute("DELETE FROM item_changes")
    # Above every tag that there was, whatever a damaged one said.
    connection.execute("UPDATE item_spaces SET tag = abs(tag % 1099511627776) + 1099511627776")


def give_up_items(connection: Connection, tell: Tell) -> None:
    """Remove damaged items, and count, seal and tag namespaces anew."""
    names: dict[int, str] = dict(connection.execute("SELECT id, namespace FROM item_spaces").fetchall())
    rows = connection.execute(
        f"SELECT i.space, {ITEM} FROM items i LEFT JOIN item_spaces s ON s.id = i.space"
    ).fetchall()
    sizes: dict[int, int] = {}
    for space, *row in rows:
        # An item says by its hash which namespace it is of.
        right = space if space in names and _sound_under(names[space], row) else None
        if right is None:
            right = next((number for number, name in names.items() if _sound_under(name, row)), None)
        if right is not None and right != space:
            moved = connection.execute(
                "UPDATE OR IGNORE items SET space = ? WHERE id = ?", (right, row[0])
            ).rowcount
            right = right if moved else None
        if right is None:
            connection.execute("DELETE FROM items WHERE id = ?", (row[0],))
            tell("items", row[0], "it was damaged and is removed")
        else:
            sizes[right] = sizes.get(right, 0) + 1
    for space, name in names.items():
        if space not in sizes:
            connection.execute("DELETE FROM item_spaces WHERE id = ?", (space,))
            tell("item_spaces", space, "it has no items any more")
            continue
        changed = connection.execute(
            "UPDATE item_spaces SET size = ?2, content_hash = ?3 WHERE id = ?1"
            " AND (size <> ?2 OR content_hash <> ?3)",
            (space, sizes[space], space_seal(name, sizes[space])),
        ).rowcount
        if changed:
            tell("item_spaces", space, "its items were counted anew")
    drop_stray_rows(connection)


def _sound_under(namespace: str, row: list[Any]) -> bool:
    try:
        sealed = item_seal(namespace, *row[2:7])
        return bool(sealed == row[7] and state_sum(row[0], *row[8:12]) == row[12])
    except (TypeError, ValueError):
        return False  # what cannot be hashed was never stored like this
