-- Checksums for the rows that had none, and counts that tell lost rows; upgrade.py fills them in.
ALTER TABLE owners ADD COLUMN tally TEXT NOT NULL DEFAULT '[]';
ALTER TABLE meta ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE usage ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0;
ALTER TABLE index_work ADD COLUMN crc32 INTEGER NOT NULL DEFAULT 0;
-- Names alone: a number that only orders them could be damaged without anybody noticing.
CREATE TABLE actor_names AS SELECT owner, name FROM actors;
DROP TABLE actors;
CREATE TABLE actors (
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (owner, name)
) WITHOUT ROWID;
INSERT INTO actors (owner, name) SELECT owner, name FROM actor_names;
DROP TABLE actor_names;
