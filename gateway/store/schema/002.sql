-- Signed texts of chargers: what is known of each, the keys that they are checked with, our own keys.

CREATE TABLE charger_text (     -- beside the row of record that holds the text itself
  record INTEGER PRIMARY KEY,   -- record.id
  charger TEXT NOT NULL,
  connector INTEGER NOT NULL,
  entry INTEGER NOT NULL,       -- journal entry of the frame
  place INTEGER NOT NULL,       -- which signed value of the frame, from 0
  at_ms INTEGER NOT NULL,
  frame_sha256 TEXT NOT NULL,   -- of the frame as received
  text_sha256 TEXT NOT NULL,
  wrapper TEXT NOT NULL,        -- plain, hex, signedMeterData>base64 ...
  context TEXT NOT NULL,        -- Transaction.Begin ...; empty where the charger said none
  method TEXT NOT NULL,         -- signingMethod, as it came
  encoding TEXT NOT NULL,       -- encodingMethod, as it came
  key_received TEXT,            -- publicKey beside the text, as it came
  format TEXT NOT NULL,
  verdict TEXT NOT NULL,        -- valid, invalid, key_unknown, valid_not_strict_der, unsupported
  reason TEXT NOT NULL,
  spki_hex TEXT                 -- the key that the verdict rests on
) STRICT;
CREATE INDEX charger_text_same ON charger_text (charger, text_sha256);

CREATE TABLE charger_stream (   -- how far the pages of a signer and meter have come
  charger TEXT NOT NULL,
  signer TEXT NOT NULL,
  meter TEXT NOT NULL,
  letter TEXT NOT NULL,         -- T, F; empty for formats without
  first INTEGER NOT NULL,       -- the lowest page that came
  page INTEGER NOT NULL,        -- the highest
  gaps TEXT NOT NULL,           -- [[low, high], ...] between them that never came (JSON)
  clock TEXT NOT NULL,
  register_wh TEXT NOT NULL,    -- exact decimal text
  PRIMARY KEY (charger, signer, meter, letter)
) STRICT;

CREATE TABLE charger_key (      -- never deleted: old records are checked with old keys
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  charger TEXT NOT NULL,
  connector INTEGER NOT NULL,
  serial TEXT NOT NULL,         -- of the meter; empty: any meter of the connector
  spki_hex TEXT NOT NULL,       -- normalised
  received TEXT NOT NULL,       -- as it came
  form TEXT NOT NULL,           -- which spelling that is
  source TEXT NOT NULL,         -- configuration, wrapper, record, person
  state TEXT NOT NULL,          -- pinned, refused (differs from the pinned one), replaced (by a person)
  from_ms INTEGER NOT NULL,
  to_ms INTEGER,                -- when it was replaced
  who TEXT NOT NULL,            -- empty where no person was asked
  why TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX charger_key_pinned ON charger_key (charger, connector, serial) WHERE state = 'pinned';

CREATE TABLE signing_key (      -- our own keys, as this database saw them come into force
  key_id TEXT PRIMARY KEY,
  spki_hex TEXT NOT NULL,
  from_ms INTEGER NOT NULL,
  to_ms INTEGER                 -- NULL while it signs
) STRICT;
