-- What happened here, in order. There is no second index: each one would cost every tap another page on the card.
CREATE TABLE journal (
    seq   INTEGER PRIMARY KEY,
    id    BLOB NOT NULL,
    at_ms INTEGER NOT NULL,
    body  BLOB NOT NULL,
    hash  BLOB NOT NULL
) STRICT;

-- The state that follows from the journal up to `fold_seq`, so that a start replays only the rest.
CREATE TABLE state (
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;

-- What is too large for the journal and not for ever, such as the content of a print job.
CREATE TABLE attachments (
    id   TEXT PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- How far each reader of the journal has come.
CREATE TABLE cursors (
    name TEXT PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
