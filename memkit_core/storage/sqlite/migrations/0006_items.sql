-- Items of a framework's store: JSON objects under a key in a namespace, beside the memories and no part of them.
-- A namespace is written as its labels, each with a full stop behind it, so that all beneath one is one range.
-- size: how many items it has; without any there is no row. tag moves with every change in it.
CREATE TABLE item_spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL UNIQUE,
    size INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    content_hash BLOB NOT NULL
);
-- paths: the fields it is found by, a JSON list. Instants and ttl are microseconds.
-- state_sum covers what reading or repairs may change: ttl, expires_at, the sum of its keywords, how many vectors.
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    space INTEGER NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    paths TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    ttl INTEGER,
    expires_at INTEGER,
    terms INTEGER NOT NULL,
    vectors INTEGER NOT NULL,
    state_sum INTEGER NOT NULL,
    content_hash BLOB NOT NULL
);
CREATE UNIQUE INDEX items_key ON items (space, key);
CREATE INDEX items_recent ON items (space, updated_at);
CREATE INDEX items_expiry ON items (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE item_vectors (
    space INTEGER NOT NULL,
    item INTEGER NOT NULL,
    number INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (space, item, number)
) WITHOUT ROWID;

CREATE TABLE item_postings (
    space INTEGER NOT NULL,
    term TEXT NOT NULL,
    item INTEGER NOT NULL,
    tf INTEGER NOT NULL,
    len INTEGER NOT NULL,
    PRIMARY KEY (space, term, item)
) WITHOUT ROWID;
CREATE INDEX item_postings_item ON item_postings (item);

-- Which items a tag of a namespace changed, so that warm copies read only these again. Old rows go.
CREATE TABLE item_changes (
    space INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    item INTEGER NOT NULL,
    PRIMARY KEY (space, tag, item)
) WITHOUT ROWID;
