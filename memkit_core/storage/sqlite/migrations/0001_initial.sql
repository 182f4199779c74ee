-- Instants are microseconds since 1970 UTC. Spaces: 0 current memories, 1 turns, 2 retired versions.
-- What cannot be derived again is under its row's content_hash (seals.py says how); owner numbers follow
-- from the ids beside them, and sessions from the messages' order and times.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- revision moves with every decision about memories; AUTOINCREMENT because caches are keyed by id.
CREATE TABLE owners (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    content_hash BLOB NOT NULL,
    UNIQUE (kind, value)
);

CREATE TABLE actors (
    id INTEGER PRIMARY KEY,
    owner INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (owner, name)
);

-- One row per version; content_hash covers its sources too.
CREATE TABLE memories (
    unit INTEGER PRIMARY KEY AUTOINCREMENT,
    memory_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    run_id TEXT,
    actor_id TEXT,
    text TEXT NOT NULL,
    text_key BLOB NOT NULL,
    kind TEXT NOT NULL,
    memory_type TEXT,
    metadata TEXT NOT NULL,
    origin TEXT NOT NULL,
    trust TEXT NOT NULL,
    event_time INTEGER,
    valid_from INTEGER NOT NULL,
    valid_to INTEGER,
    created_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    retired_at INTEGER,
    deleted_at INTEGER,
    superseded_by TEXT,
    expires_at INTEGER,
    flags INTEGER NOT NULL DEFAULT 0,
    length INTEGER NOT NULL,
    embedded INTEGER NOT NULL,
    content_hash BLOB NOT NULL
);
CREATE UNIQUE INDEX memories_version ON memories (memory_id, revision);
CREATE UNIQUE INDEX memories_current ON memories (memory_id) WHERE retired_at IS NULL;
CREATE INDEX memories_listing ON memories (owner, created_at, memory_id) WHERE retired_at IS NULL;
CREATE INDEX memories_text ON memories (owner, text_key) WHERE retired_at IS NULL;
CREATE INDEX memories_unembedded ON memories (embedded) WHERE embedded = 0 AND retired_at IS NULL;
CREATE INDEX memories_unembedded_retired ON memories (embedded)
    WHERE embedded = 0 AND retired_at IS NOT NULL;
CREATE INDEX memories_retired ON memories (owner, created_at, memory_id) WHERE retired_at IS NOT NULL;

-- The texts of an event are those of the versions around it.
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    memory_id TEXT NOT NULL,
    operation TEXT NOT NULL,
    revision INTEGER NOT NULL,
    reason TEXT NOT NULL,
    actor_id TEXT,
    recorded_at INTEGER NOT NULL,
    batch INTEGER,
    content_hash BLOB NOT NULL
);
CREATE INDEX events_memory ON events (memory_id, sequence);

CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    run_id TEXT,
    pending INTEGER NOT NULL,
    first_unit INTEGER NOT NULL,
    size INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    job TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    lease TEXT,
    lease_until INTEGER,
    not_before INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    idempotency_key TEXT,
    fingerprint TEXT,
    result TEXT,
    content_hash BLOB NOT NULL
);
CREATE UNIQUE INDEX batches_key ON batches (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX batches_pending ON batches (id) WHERE pending = 1;
CREATE INDEX batches_pending_owner ON batches (owner, id) WHERE pending = 1;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    owner INTEGER NOT NULL,
    agent_id TEXT,
    run_id TEXT,
    latest_at INTEGER NOT NULL,
    size INTEGER NOT NULL
);
CREATE INDEX sessions_owner ON sessions (owner, agent_id, run_id, id);

CREATE TABLE messages (
    unit INTEGER PRIMARY KEY AUTOINCREMENT,
    batch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    owner INTEGER NOT NULL,
    user_id TEXT,
    agent_id TEXT,
    run_id TEXT,
    role TEXT NOT NULL,
    actor_id TEXT,
    content TEXT NOT NULL,
    origin TEXT NOT NULL,
    flags INTEGER NOT NULL,
    session INTEGER NOT NULL,
    session_position INTEGER NOT NULL,
    observed_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    hidden_at INTEGER,
    indexed INTEGER NOT NULL,
    length INTEGER NOT NULL,
    embedded INTEGER NOT NULL DEFAULT 0,
    content_hash BLOB NOT NULL
);
CREATE INDEX messages_unembedded ON messages (embedded)
    WHERE embedded = 0 AND indexed = 1 AND hidden_at IS NULL;
CREATE INDEX messages_owner ON messages (owner) WHERE hidden_at IS NULL;

CREATE TABLE sources (
    memory INTEGER NOT NULL,
    message INTEGER NOT NULL,
    PRIMARY KEY (memory, message)
) WITHOUT ROWID;
CREATE INDEX sources_message ON sources (message, memory);

CREATE TABLE postings (
    owner INTEGER NOT NULL,
    space INTEGER NOT NULL,
    term TEXT NOT NULL,
    unit INTEGER NOT NULL,
    tf INTEGER NOT NULL,
    len INTEGER NOT NULL,
    PRIMARY KEY (owner, space, term, unit)
) WITHOUT ROWID;

-- tag moves with every change of the space: readers keep warm copies of a space under it.
CREATE TABLE unit_stats (
    owner INTEGER NOT NULL,
    space INTEGER NOT NULL,
    n INTEGER NOT NULL,
    total_len INTEGER NOT NULL,
    tag INTEGER NOT NULL,
    PRIMARY KEY (owner, space)
) WITHOUT ROWID;

-- Half precision: rows of single precision overflow their pages and take five times the room.
CREATE TABLE vectors (
    owner INTEGER NOT NULL,
    space INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    crc32 INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (owner, space, unit)
) WITHOUT ROWID;

-- What operations cost; owner 0: nobody's.
CREATE TABLE usage (
    owner INTEGER NOT NULL,
    operation TEXT NOT NULL,
    chat_calls INTEGER NOT NULL,
    embedding_calls INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    milliseconds REAL NOT NULL,
    PRIMARY KEY (owner, operation)
) WITHOUT ROWID;

CREATE TABLE metadata_keys (
    name TEXT PRIMARY KEY
) WITHOUT ROWID;

CREATE TABLE index_work (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    index_name TEXT NOT NULL,
    owner INTEGER NOT NULL,
    space INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    ref_id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    removed INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    last_error TEXT
);
CREATE INDEX index_work_name ON index_work (index_name, sequence);
