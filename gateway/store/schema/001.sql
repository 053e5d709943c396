-- Energy is Wh, current mA, time UTC milliseconds of site time. Texts of others stand as they came.

CREATE TABLE meta (             -- gw, epoch, boot, newest_ms, next_local_id, simulation, last_readings
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

-- OCPP --------------------------------------------------------------------------------------------------------------

CREATE TABLE journal (          -- every transaction message, before it is answered or forwarded (design rule 1)
  entry INTEGER PRIMARY KEY AUTOINCREMENT,
  charger TEXT NOT NULL,
  at_ms INTEGER NOT NULL,       -- when it arrived
  ts_q TEXT NOT NULL,
  boot INTEGER NOT NULL,
  action TEXT NOT NULL,         -- StartTransaction, MeterValues, StopTransaction
  connector INTEGER,            -- where the message or its transaction says so
  transaction_id INTEGER,       -- the id toward the charger; a start gets it with its answer
  message_id TEXT NOT NULL,
  frame TEXT NOT NULL,          -- as received
  content_key TEXT,             -- equal for a start or stop that is sent again under another message id
  reading TEXT,                 -- the connector's meter, read when a start was handled (JSON of Reading)
  answer TEXT,                  -- the payload that the charger got
  answered_by TEXT,             -- csms, gateway
  state TEXT NOT NULL,          -- local (nobody to tell), pending, sent, done, parked
  attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT                    -- why it is parked
) STRICT;
CREATE INDEX journal_open ON journal (charger, entry, state) WHERE state IN ('pending', 'sent');
CREATE INDEX journal_parked ON journal (charger, entry) WHERE state = 'parked';
CREATE INDEX journal_unanswered ON journal (entry) WHERE action = 'StartTransaction' AND answer IS NULL;
CREATE INDEX journal_content ON journal (charger, content_key) WHERE content_key IS NOT NULL;
CREATE INDEX journal_prunable ON journal (entry)
  WHERE action = 'MeterValues' AND state IN ('done', 'local') AND instr(frame, 'SignedData') = 0;
CREATE INDEX journal_transaction ON journal (charger, transaction_id);
CREATE INDEX journal_message ON journal (charger, message_id);

CREATE TABLE transaction_map (  -- both ways, for ever
  charger TEXT NOT NULL,
  local_id INTEGER NOT NULL,    -- toward the charger
  csms_id INTEGER,              -- NULL until the CSMS has answered; -1 when it never will (E1.6 3.18)
  connector INTEGER NOT NULL,
  id_tag TEXT NOT NULL,
  start_entry INTEGER NOT NULL,
  start_ms INTEGER NOT NULL,
  stop_entry INTEGER,
  accepted INTEGER NOT NULL,    -- 0 when the charger was told that no car may charge: it has no stop
  most_wh INTEGER,              -- the charger's register at which it ends: nobody vouched for the card (offline_max_wh)
  to_stop INTEGER NOT NULL DEFAULT 0, -- 1 when the CSMS refused it after we had let it in: the charger must end it
  PRIMARY KEY (charger, local_id)
) STRICT;
CREATE INDEX transaction_running ON transaction_map (charger, connector) WHERE stop_entry IS NULL AND accepted = 1;
CREATE UNIQUE INDEX transaction_start ON transaction_map (charger, start_entry);

CREATE TABLE thinned (          -- MeterValues received and kept while the CSMS was away
  charger TEXT NOT NULL,
  transaction_id INTEGER NOT NULL,
  quarter INTEGER NOT NULL,
  received INTEGER NOT NULL,
  kept INTEGER NOT NULL,
  told INTEGER NOT NULL,        -- 1 when it stands in the event lane
  PRIMARY KEY (charger, transaction_id, quarter)
) STRICT;
CREATE INDEX thinned_untold ON thinned (charger) WHERE told = 0;

CREATE TABLE charger (
  id TEXT PRIMARY KEY,
  boot_payload TEXT,            -- the newest BootNotification
  boot_ms INTEGER,
  boot_told INTEGER NOT NULL DEFAULT 1, -- 0 when the charger booted and the CSMS does not know it
  accepted_ms INTEGER,          -- the CSMS (or we, where there is none) accepted this identity
  accepted_by TEXT,             -- the upstream's id, or 'gateway'
  heartbeat_s INTEGER,
  fallbacks TEXT NOT NULL DEFAULT '{}',     -- {connector: the TxDefaultProfile that the charger confirmed} (JSON)
  configuration TEXT NOT NULL DEFAULT '{}'  -- {key: [value, status]} that we wrote into the charger (JSON)
) STRICT;

CREATE TABLE connector_status (
  charger TEXT NOT NULL,
  connector INTEGER NOT NULL,
  payload TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  told INTEGER NOT NULL,        -- 1 when the CSMS has it
  PRIMARY KEY (charger, connector)
) STRICT;

CREATE TABLE csms_profile (     -- the CSMS's charging profiles, composed with ours
  charger TEXT NOT NULL,
  connector INTEGER NOT NULL,
  profile_id INTEGER NOT NULL,
  purpose TEXT NOT NULL,
  stack_level INTEGER NOT NULL,
  profile TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  PRIMARY KEY (charger, profile_id)
) STRICT;

CREATE TABLE id_tag (           -- what the CSMS said of a card: its local list, our cache of its answers
  charger TEXT NOT NULL,
  source TEXT NOT NULL,         -- list, cache
  id_tag TEXT NOT NULL COLLATE NOCASE,
  status TEXT NOT NULL,
  expiry_ms INTEGER,
  parent TEXT,
  learned_ms INTEGER NOT NULL,
  PRIMARY KEY (charger, source, id_tag)
) STRICT;

CREATE TABLE local_list (
  charger TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) STRICT;

-- Sessions ----------------------------------------------------------------------------------------------------------

CREATE TABLE cursor (           -- how far the sessions have read the journal
  name TEXT PRIMARY KEY,
  entry INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
  id TEXT PRIMARY KEY,          -- UUID
  charger TEXT NOT NULL,
  connector INTEGER NOT NULL,   -- 0 where nobody said which
  transaction_id INTEGER NOT NULL,
  state TEXT NOT NULL,          -- open, stopped (waits for its end register), ended
  id_tag TEXT NOT NULL,
  tenant TEXT,
  participant TEXT,
  authorised_by TEXT NOT NULL,  -- csms, gateway: who answered the start
  begin_ms INTEGER NOT NULL,
  begin_q TEXT NOT NULL,
  begin_wh INTEGER,             -- MID meter, or the charger's own value where provenance says so
  begin_provenance TEXT NOT NULL, -- meter, charger, none
  charger_begin_wh INTEGER,
  stop_ms INTEGER,              -- when it stopped: when the message came, or when the charger says where that is long ago
  stop_arrived_ms INTEGER,      -- when the message came: the end register is read after this
  end_ms INTEGER,
  end_q TEXT,
  end_wh INTEGER,
  end_provenance TEXT,
  charger_end_wh INTEGER,
  stop_reason TEXT,
  billable INTEGER NOT NULL DEFAULT 0,
  unbillable_reason TEXT,
  meter TEXT,
  meter_serial TEXT,
  split_version INTEGER NOT NULL DEFAULT 0,
  split TEXT                    -- the newest split.v1 (JSON), NULL until every interval of it is settled
) STRICT;
CREATE UNIQUE INDEX session_transaction ON session (charger, transaction_id) WHERE transaction_id NOT IN (0, -1);
CREATE INDEX session_open ON session (charger, connector) WHERE state <> 'ended';
CREATE INDEX session_meter ON session (meter, end_ms);

CREATE TABLE record (           -- signed texts, never changed
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  session TEXT NOT NULL,
  kind TEXT NOT NULL,           -- begin, end, begin_end
  signed_by TEXT NOT NULL,      -- gateway, charger, meter
  key_id TEXT NOT NULL,
  charge_point TEXT NOT NULL,
  pagination INTEGER,
  text TEXT NOT NULL,
  reading TEXT,                 -- JSON of the Reading it states
  prev TEXT NOT NULL,           -- sha256 of the record before it, 64 zeros first
  sha256 TEXT NOT NULL          -- SHA-256 over prev, LF, text
) STRICT;
CREATE UNIQUE INDEX record_pagination ON record (key_id, charge_point, pagination);
CREATE INDEX record_session ON record (session);

CREATE TABLE pagination (
  key_id TEXT NOT NULL,
  charge_point TEXT NOT NULL,
  next INTEGER NOT NULL,
  PRIMARY KEY (key_id, charge_point)
) STRICT;

CREATE TABLE kept_reading (     -- readings that are kept singly: begin, end, before and after a gap or a swap
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  meter TEXT NOT NULL,
  why TEXT NOT NULL,
  requested_ms INTEGER NOT NULL,
  reading TEXT NOT NULL
) STRICT;
CREATE INDEX kept_reading_meter ON kept_reading (meter, requested_ms);

CREATE TABLE interval (         -- one packed row per quarter hour
  k INTEGER PRIMARY KEY,        -- floor(unix / 900)
  state TEXT NOT NULL,          -- provisional, final, corrected, closed
  version INTEGER NOT NULL,     -- 0 until the interval is settled
  dirty INTEGER NOT NULL,       -- 1 when something that the split rests on came after it was settled
  late INTEGER NOT NULL DEFAULT 0, -- of a closed one: 1 something came late, 2 it would change the split (named, not applied)
  rules INTEGER,                -- what was in force when it began
  boundary TEXT NOT NULL,       -- {meter: Reading or null} at the START of the interval (JSON)
  result TEXT,                  -- the interval.v1 in force (JSON), NULL until the interval is settled
  handed TEXT                   -- carry and tanks that it received and that it hands on (JSON)
) STRICT;
CREATE INDEX interval_dirty ON interval (k) WHERE dirty = 1;
CREATE INDEX interval_late ON interval (k) WHERE late = 1;
CREATE INDEX interval_unsettled ON interval (k) WHERE version = 0;
CREATE INDEX interval_provisional ON interval (k) WHERE state = 'provisional';

CREATE TABLE rules (            -- balance, key, participants and tariff that were in force; a row for each change of them
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  sha256 TEXT NOT NULL,
  since_ms INTEGER NOT NULL,
  body TEXT NOT NULL            -- JSON
) STRICT;
CREATE UNIQUE INDEX rules_sha256 ON rules (sha256);

CREATE TABLE decision (         -- what a person decided about a session that is not billable: never changed, only followed
  session TEXT NOT NULL,
  version INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  bill INTEGER NOT NULL,
  begin_wh INTEGER,             -- registers that the person stands for
  end_wh INTEGER,
  basis TEXT NOT NULL,          -- meter (its energy is split), charger, none
  body TEXT NOT NULL,           -- the session.decision.v1 (JSON)
  PRIMARY KEY (session, version)
) STRICT;

CREATE TABLE period (           -- billing periods that a person closed or reopened: one row for each act
  name TEXT NOT NULL,           -- 2026-06, 2026-Q2, 2026
  version INTEGER NOT NULL,
  at_ms INTEGER NOT NULL,
  state TEXT NOT NULL,          -- closed, reopened
  first_k INTEGER NOT NULL,
  end_k INTEGER NOT NULL,
  body TEXT NOT NULL,           -- the period.v1 (JSON)
  PRIMARY KEY (name, version)
) STRICT;

CREATE TABLE imported (         -- series from outside, by quarter hour: what the community (LEG) gave, prices
  series TEXT NOT NULL,         -- leg, price
  k INTEGER NOT NULL,
  value TEXT NOT NULL,          -- leg: Wh; price: the class of the interval
  source TEXT NOT NULL,
  received_ms INTEGER NOT NULL,
  PRIMARY KEY (series, k)
) STRICT;

CREATE TABLE session_share (    -- one session in one interval, newest version
  session TEXT NOT NULL,
  k INTEGER NOT NULL,
  version INTEGER NOT NULL,
  energy_wh INTEGER NOT NULL,
  solar_wh INTEGER NOT NULL,
  grid_wh INTEGER NOT NULL,
  leg_wh INTEGER NOT NULL DEFAULT 0, -- of grid_wh: what the community (LEG) gave
  class TEXT NOT NULL,
  state TEXT NOT NULL,          -- provisional, final
  PRIMARY KEY (session, k)
) STRICT;
CREATE INDEX session_share_interval ON session_share (k);

CREATE TABLE carry (            -- the rounding rest of each participant, nano-Wh, as the newest settled interval left it
  participant TEXT PRIMARY KEY,
  nano_wh INTEGER NOT NULL,
  adjustment_nano_wh INTEGER NOT NULL -- what corrections add to it in the next interval
) STRICT;

CREATE TABLE tank (             -- what the battery holds by origin, as the newest settled interval left it
  origin TEXT PRIMARY KEY,      -- solar, grid
  wh INTEGER NOT NULL
) STRICT;

-- Cloud -------------------------------------------------------------------------------------------------------------

CREATE TABLE outbox (           -- billing and event lanes: gapless, chained, allocated with the business row
  lane TEXT NOT NULL,
  epoch TEXT NOT NULL,
  seq INTEGER NOT NULL,
  boot INTEGER NOT NULL,
  rid TEXT NOT NULL,
  ts TEXT NOT NULL,
  ts_q TEXT NOT NULL,
  schema TEXT NOT NULL,
  prev TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  body TEXT NOT NULL,
  supersedes TEXT,              -- "epoch seq sha256" of the row of an older epoch that this one repeats
  state TEXT NOT NULL,          -- waiting, acked, dead (the cloud refused it), superseded
  reason TEXT,                  -- of dead: the cloud's words
  PRIMARY KEY (lane, epoch, seq)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (lane, epoch, seq) WHERE state = 'waiting';
CREATE UNIQUE INDEX outbox_rid ON outbox (rid, epoch);

CREATE TABLE command (          -- what the cloud asked; stored before its PUBACK, idempotent by cid
  cid TEXT PRIMARY KEY,
  op TEXT NOT NULL,
  args TEXT NOT NULL,           -- JSON object
  actor TEXT NOT NULL,
  deadline_ms INTEGER NOT NULL,
  state TEXT NOT NULL,          -- accepted, running, done, failed
  reply TEXT NOT NULL,          -- the newest reply (JSON)
  told INTEGER NOT NULL,        -- 1 when the broker has taken the reply over; a lost one is asked for again by cid
  received_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX command_open ON command (received_ms) WHERE state IN ('accepted', 'running') OR told = 0;
