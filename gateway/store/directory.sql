-- A directory is built once, in the order of its keys, and never changed: a new one takes its place.
CREATE TABLE credentials (
    ref            BLOB PRIMARY KEY, -- 16 bytes
    holder         TEXT NOT NULL,
    state          INTEGER NOT NULL, -- active, blocked, replaced, expired
    valid_until_ms INTEGER,
    kind           INTEGER NOT NULL  -- not said, card, wristband, qr_code, staff_badge
) STRICT, WITHOUT ROWID;

-- All entitlements of a holder in one row: one lookup, and most often one page.
CREATE TABLE entitlements (
    holder TEXT PRIMARY KEY,
    body   BLOB NOT NULL -- MessagePack
) STRICT, WITHOUT ROWID;

-- What upstream says is in a wallet, and how much of what this venue moved is in that already.
CREATE TABLE wallets (
    holder        TEXT PRIMARY KEY,
    balance_minor INTEGER NOT NULL,
    currency      TEXT NOT NULL,
    counted_minor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- version, counts, zones, schedules, issuer keys: what is read once when the directory is opened (JSON).
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
