-- What chat models cost each owner (0: all together) on its last such day, in that month, and ever.
CREATE TABLE spending (
    owner INTEGER PRIMARY KEY,
    day TEXT NOT NULL,
    day_calls INTEGER NOT NULL,
    day_input INTEGER NOT NULL,
    day_output INTEGER NOT NULL,
    month_calls INTEGER NOT NULL,
    month_input INTEGER NOT NULL,
    month_output INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    input INTEGER NOT NULL,
    output INTEGER NOT NULL,
    crc32 INTEGER NOT NULL
);
