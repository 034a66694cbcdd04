"""Rows of the journal as CloudEvents 1.0 in JSON, composed by SQLite itself.

The interpreter is free meanwhile: a backlog of a million events costs no tap its turn. What was journalled goes up
byte for byte. The attribute `sequence` is that of the extension of the same name.

Specification: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md.
"""

from __future__ import annotations

SINGLE = """
    SELECT seq, CASE WHEN seq NOT IN (SELECT value FROM json_each(:aside)) THEN CAST(
        '{"specversion":"1.0","id":"' || substr(id, 1, 8) || '-' || substr(id, 9, 4) || '-' || substr(id, 13, 4)
        || '-' || substr(id, 17, 4) || '-' || substr(id, 21) || '","source":"' || :source || '","type":"venue.' || kind
        || strftime('","time":"%Y-%m-%dT%H:%M:%S', at_ms / 1000, 'unixepoch')
        || printf('.%03dZ","datacontenttype":"application/json","sequence":"%016d","hash":"', at_ms % 1000, seq)
        || hash || '","data":' || body || '}' AS BLOB) END AS event
    FROM (
        SELECT seq, at_ms, lower(hex(id)) AS id, lower(hex(hash)) AS hash, CAST(body AS TEXT) AS body,
            -- The journal writes the kind first; a row of another hand is looked through.
            CASE WHEN substr(body, 1, 9) = CAST('{"kind":"' AS BLOB)
                THEN CAST(substr(body, 10, instr(substr(body, 10, 80), CAST('"' AS BLOB)) - 1) AS TEXT)
                ELSE json_extract(CAST(body AS TEXT), '$.kind') END AS kind
        FROM journal WHERE seq > :after ORDER BY seq LIMIT :limit
    )
"""
"""(seq, event) of each of the next `limit` rows after `after`; the event of a row `aside`, a JSON array, is NULL."""

JOINED = (
    "SELECT CAST(group_concat(event, ',') AS BLOB), count(event), max(seq) FROM ("  # noqa: S608 - of constants
    + SINGLE
    + ")"
)
"""All of these events joined by commas or NULL, how many there are, and the last seq or NULL."""
