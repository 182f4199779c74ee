-- Which units a tag of a space touched: added, moved in or out, or given a vector, as runs [first, last]. Warm
-- copies read only these again. A tag that has no row here, or a damaged one, touched everything.
CREATE TABLE space_changes (
    owner INTEGER NOT NULL,
    space INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    ranges BLOB NOT NULL,
    PRIMARY KEY (owner, space, tag)
) WITHOUT ROWID;
