-- What a memory says of one thing at a time, whether its messages bear it out, and what a kind asks for.
-- NULL as long as nobody said: such rows keep the hashes they had without these columns.
ALTER TABLE memories ADD COLUMN slot TEXT;
ALTER TABLE memories ADD COLUMN support TEXT;
ALTER TABLE memories ADD COLUMN attributes TEXT;
CREATE INDEX memories_slots ON memories (owner, slot) WHERE slot IS NOT NULL;
-- What changed after a time: later versions, closed ones, and (memories_listing) new memories.
CREATE INDEX memories_revised ON memories (owner, recorded_at) WHERE revision > 1;
CREATE INDEX memories_closed ON memories (owner, retired_at) WHERE retired_at IS NOT NULL;
-- Until this knowledge time, a closed version was believed to have held until then, and to be replaced by that.
CREATE TABLE amendments (
    unit INTEGER NOT NULL,
    until INTEGER NOT NULL,
    valid_to INTEGER NOT NULL,
    superseded_by TEXT,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (unit, until)
) WITHOUT ROWID;
