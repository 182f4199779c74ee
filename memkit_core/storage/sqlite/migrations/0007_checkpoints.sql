-- States of a graph's threads, beside the memories and no part of them. What is in body, data and entries is
-- the saver's own. Ids of checkpoints, tasks and runs are 16 bytes behind a 0 if they are UUIDs, else text behind a 1.
-- dropped: checkpoints that went since values nobody uses were last removed.
CREATE TABLE checkpoint_threads (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    thread_id TEXT NOT NULL UNIQUE,
    dropped INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    content_hash BLOB NOT NULL
);
-- uses: the keys of its values, one behind the other. parts: the addresses of what belongs to its body.
CREATE TABLE checkpoints (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    checkpoint_id BLOB NOT NULL,
    parent_id BLOB,
    root_id BLOB,
    run_id BLOB,
    leans INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    uses BLOB NOT NULL,
    body BLOB NOT NULL,
    parts BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, checkpoint_id)
) WITHOUT ROWID;
-- base: the key of the value that this one continues.
CREATE TABLE checkpoint_values (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    key BLOB NOT NULL,
    base BLOB,
    body BLOB NOT NULL,
    parts BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, key)
) WITHOUT ROWID;
-- All that a task wrote at a checkpoint.
CREATE TABLE checkpoint_writes (
    thread INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    checkpoint_id BLOB NOT NULL,
    task_id BLOB NOT NULL,
    task_path TEXT NOT NULL,
    entries BLOB NOT NULL,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (thread, namespace, checkpoint_id, task_id, task_path)
) WITHOUT ROWID;
-- address: the hash of the data, which is therefore stored once in a thread.
CREATE TABLE checkpoint_parts (
    id INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    address BLOB NOT NULL,
    data BLOB NOT NULL
);
CREATE UNIQUE INDEX checkpoint_parts_address ON checkpoint_parts (thread, address);
-- Messages that were, or are to be, handed on to be remembered; claim: together with which. open: not done yet.
CREATE TABLE checkpoint_claims (
    thread INTEGER NOT NULL,
    name TEXT NOT NULL,
    claim INTEGER NOT NULL,
    open INTEGER NOT NULL,
    PRIMARY KEY (thread, name)
) WITHOUT ROWID;
