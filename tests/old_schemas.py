"""Schemas that released programs made, as the SQL that they ran; and rows as they wrote them."""

JOURNAL_1_SQLITE = (
    "CREATE TABLE intent_events ( seq INTEGER NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64)"
    ' NOT NULL, row_hash VARCHAR(64) NOT NULL, "key" TEXT NOT NULL, leg_key TEXT NOT NULL, state VARC'
    "HAR(10) NOT NULL, chain_id INTEGER NOT NULL, sender VARCHAR(42) NOT NULL, nonce INTEGER NOT NULL"
    ", at_s FLOAT NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash) )",
    'CREATE INDEX intent_events_by_key ON intent_events ("key", state)',
    "CREATE INDEX intent_events_by_leg ON intent_events (leg_key)",
    "CREATE INDEX intent_events_by_nonce ON intent_events (chain_id, sender, nonce)",
    "CREATE TABLE leg_events ( seq INTEGER NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) NO"
    'T NULL, row_hash VARCHAR(64) NOT NULL, "key" TEXT NOT NULL, hedge_group TEXT NOT NULL, layer TEX'
    "T NOT NULL, kind VARCHAR(10) NOT NULL, at_s FLOAT NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash)"
    " )",
    'CREATE INDEX leg_events_by_key ON leg_events ("key", kind)',
    "CREATE INDEX leg_events_by_layer ON leg_events (hedge_group, layer)",
    'CREATE TABLE meta ( "key" VARCHAR(40) NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key") )',
    "CREATE TABLE steps ( seq INTEGER NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) NOT NUL"
    "L, row_hash VARCHAR(64) NOT NULL, sequence INTEGER NOT NULL, at_s FLOAT NOT NULL, is_heartbeat B"
    "OOLEAN NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash), UNIQUE (sequence) )",
    "CREATE INDEX steps_by_time ON steps (at_s)",
    "CREATE TRIGGER intent_events_no_update BEFORE UPDATE ON intent_events BEGIN SELECT RAISE(ABORT, "
    "'the journal is append-only'); END",
    "CREATE TRIGGER intent_events_no_delete BEFORE DELETE ON intent_events BEGIN SELECT RAISE(ABORT, "
    "'the journal is append-only'); END",
    "CREATE TRIGGER leg_events_no_update BEFORE UPDATE ON leg_events BEGIN SELECT RAISE(ABORT, 'the j"
    "ournal is append-only'); END",
    "CREATE TRIGGER leg_events_no_delete BEFORE DELETE ON leg_events BEGIN SELECT RAISE(ABORT, 'the j"
    "ournal is append-only'); END",
    "CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta BEGIN SELECT RAISE(ABORT, 'the journal is ap"
    "pend-only'); END",
    "CREATE TRIGGER meta_no_delete BEFORE DELETE ON meta BEGIN SELECT RAISE(ABORT, 'the journal is ap"
    "pend-only'); END",
    "CREATE TRIGGER steps_no_update BEFORE UPDATE ON steps BEGIN SELECT RAISE(ABORT, 'the journal is "
    "append-only'); END",
    "CREATE TRIGGER steps_no_delete BEFORE DELETE ON steps BEGIN SELECT RAISE(ABORT, 'the journal is "
    "append-only'); END",
    "CREATE TRIGGER leg_events_rules BEFORE INSERT ON leg_events BEGIN SELECT RAISE(ABORT, 'the leg i"
    "s in the journal already; a leg is executed once') WHERE NEW.kind = 'opened' AND EXISTS (SELECT "
    "1 FROM leg_events AS o WHERE o.key = NEW.key); SELECT RAISE(ABORT, 'another leg of the same grou"
    "p and layer is still open') WHERE NEW.kind = 'opened' AND EXISTS (SELECT 1 FROM leg_events AS o "
    "WHERE o.kind = 'opened' AND o.hedge_group = NEW.hedge_group AND o.layer = NEW.layer AND NOT EXIS"
    "TS (SELECT 1 FROM leg_events AS c WHERE c.key = o.key AND c.kind = 'closed')); SELECT RAISE(ABOR"
    "T, 'the leg is not open in the journal') WHERE NEW.kind <> 'opened' AND NOT EXISTS (SELECT 1 FRO"
    "M leg_events AS o WHERE o.kind = 'opened' AND o.key = NEW.key AND NOT EXISTS (SELECT 1 FROM leg_"
    "events AS c WHERE c.key = o.key AND c.kind = 'closed')); SELECT RAISE(ABORT, 'a transaction of t"
    "he leg is still open, so its outcome is not known') WHERE NEW.kind = 'closed' AND EXISTS (SELECT"
    " 1 FROM intent_events AS o WHERE o.state = 'reserved' AND o.leg_key = NEW.key AND NOT EXISTS (SE"
    "LECT 1 FROM intent_events AS c WHERE c.key = o.key AND c.state IN ('cancelled', 'final', 'lost',"
    " 'released', 'reverted'))); END",
    "CREATE TRIGGER intent_events_rules BEFORE INSERT ON intent_events BEGIN SELECT RAISE(ABORT, 'an "
    "intent begins, once, with a reserved nonce') WHERE (NEW.state = 'reserved') = EXISTS (SELECT 1 F"
    "ROM intent_events AS o WHERE o.key = NEW.key); SELECT RAISE(ABORT, 'the intent is closed') WHERE"
    " EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key AND o.state IN ('cancelled', 'fi"
    "nal', 'lost', 'released', 'reverted')); SELECT RAISE(ABORT, 'the intent holds another nonce, acc"
    "ount or leg') WHERE EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key AND (o.chain_"
    "id <> NEW.chain_id OR o.sender <> NEW.sender OR o.nonce <> NEW.nonce OR o.leg_key <> NEW.leg_key"
    ")); SELECT RAISE(ABORT, 'the nonce belongs to another intent') WHERE NEW.state = 'reserved' AND "
    "EXISTS (SELECT 1 FROM intent_events AS o WHERE o.state = 'reserved' AND o.chain_id = NEW.chain_i"
    "d AND o.sender = NEW.sender AND o.nonce = NEW.nonce AND NOT EXISTS (SELECT 1 FROM intent_events "
    "AS c WHERE c.key = o.key AND c.state = 'released')); SELECT RAISE(ABORT, 'another transaction of"
    " the same account is still open') WHERE NEW.state = 'reserved' AND EXISTS (SELECT 1 FROM intent_"
    "events AS o WHERE o.state = 'reserved' AND o.chain_id = NEW.chain_id AND o.sender = NEW.sender A"
    "ND NOT EXISTS (SELECT 1 FROM intent_events AS c WHERE c.key = o.key AND c.state IN ('cancelled',"
    " 'final', 'lost', 'released', 'reverted'))); SELECT RAISE(ABORT, 'its leg is not open in the jou"
    "rnal; the budget is reserved before the nonce') WHERE NEW.state = 'reserved' AND NOT EXISTS (SEL"
    "ECT 1 FROM leg_events AS o WHERE o.kind = 'opened' AND o.key = NEW.leg_key AND NOT EXISTS (SELEC"
    "T 1 FROM leg_events AS c WHERE c.key = o.key AND c.kind = 'closed')); END",
    "CREATE TRIGGER steps_rules BEFORE INSERT ON steps BEGIN SELECT RAISE(ABORT, 'a later step is in "
    "the journal already') WHERE EXISTS (SELECT 1 FROM steps AS o WHERE o.sequence >= NEW.sequence); "
    "END",
)
JOURNAL_1_POSTGRESQL = (
    "CREATE TABLE intent_events ( seq BIGINT NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) "
    "NOT NULL, row_hash VARCHAR(64) NOT NULL, key TEXT NOT NULL, leg_key TEXT NOT NULL, state VARCHAR"
    "(10) NOT NULL, chain_id BIGINT NOT NULL, sender VARCHAR(42) NOT NULL, nonce BIGINT NOT NULL, at_"
    "s FLOAT(53) NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash) )",
    "CREATE INDEX intent_events_by_key ON intent_events (key, state)",
    "CREATE INDEX intent_events_by_leg ON intent_events (leg_key)",
    "CREATE INDEX intent_events_by_nonce ON intent_events (chain_id, sender, nonce)",
    "CREATE TABLE leg_events ( seq BIGINT NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) NOT"
    " NULL, row_hash VARCHAR(64) NOT NULL, key TEXT NOT NULL, hedge_group TEXT NOT NULL, layer TEXT N"
    "OT NULL, kind VARCHAR(10) NOT NULL, at_s FLOAT(53) NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash"
    ") )",
    "CREATE INDEX leg_events_by_key ON leg_events (key, kind)",
    "CREATE INDEX leg_events_by_layer ON leg_events (hedge_group, layer)",
    "CREATE TABLE meta ( key VARCHAR(40) NOT NULL, value TEXT NOT NULL, PRIMARY KEY (key) )",
    "CREATE TABLE steps ( seq BIGINT NOT NULL, body TEXT NOT NULL, previous_hash VARCHAR(64) NOT NULL"
    ", row_hash VARCHAR(64) NOT NULL, sequence BIGINT NOT NULL, at_s FLOAT(53) NOT NULL, is_heartbeat"
    " BOOLEAN NOT NULL, PRIMARY KEY (seq), UNIQUE (row_hash), UNIQUE (sequence) )",
    "CREATE INDEX steps_by_time ON steps (at_s)",
    "CREATE FUNCTION journal_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTI"
    "ON 'the journal is append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    "CREATE TRIGGER intent_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON intent_events FO"
    "R EACH STATEMENT EXECUTE FUNCTION journal_append_only()",
    "CREATE TRIGGER leg_events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON leg_events FOR EACH"
    " STATEMENT EXECUTE FUNCTION journal_append_only()",
    "CREATE TRIGGER meta_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON meta FOR EACH STATEMENT E"
    "XECUTE FUNCTION journal_append_only()",
    "CREATE TRIGGER steps_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON steps FOR EACH STATEMENT"
    " EXECUTE FUNCTION journal_append_only()",
    "CREATE FUNCTION leg_events_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.kind = 'o"
    "pened' AND EXISTS (SELECT 1 FROM leg_events AS o WHERE o.key = NEW.key) THEN RAISE EXCEPTION 'th"
    "e leg is in the journal already; a leg is executed once' USING ERRCODE = 'integrity_constraint_v"
    "iolation'; END IF; IF NEW.kind = 'opened' AND EXISTS (SELECT 1 FROM leg_events AS o WHERE o.kind"
    " = 'opened' AND o.hedge_group = NEW.hedge_group AND o.layer = NEW.layer AND NOT EXISTS (SELECT 1"
    " FROM leg_events AS c WHERE c.key = o.key AND c.kind = 'closed')) THEN RAISE EXCEPTION 'another "
    "leg of the same group and layer is still open' USING ERRCODE = 'integrity_constraint_violation';"
    " END IF; IF NEW.kind <> 'opened' AND NOT EXISTS (SELECT 1 FROM leg_events AS o WHERE o.kind = 'o"
    "pened' AND o.key = NEW.key AND NOT EXISTS (SELECT 1 FROM leg_events AS c WHERE c.key = o.key AND"
    " c.kind = 'closed')) THEN RAISE EXCEPTION 'the leg is not open in the journal' USING ERRCODE = '"
    "integrity_constraint_violation'; END IF; IF NEW.kind = 'closed' AND EXISTS (SELECT 1 FROM intent"
    "_events AS o WHERE o.state = 'reserved' AND o.leg_key = NEW.key AND NOT EXISTS (SELECT 1 FROM in"
    "tent_events AS c WHERE c.key = o.key AND c.state IN ('cancelled', 'final', 'lost', 'released', '"
    "reverted'))) THEN RAISE EXCEPTION 'a transaction of the leg is still open, so its outcome is not"
    " known' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$",
    "CREATE TRIGGER leg_events_rules BEFORE INSERT ON leg_events FOR EACH ROW EXECUTE FUNCTION leg_ev"
    "ents_rules()",
    "CREATE FUNCTION intent_events_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (NEW.state"
    " = 'reserved') = EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key) THEN RAISE EXCE"
    "PTION 'an intent begins, once, with a reserved nonce' USING ERRCODE = 'integrity_constraint_viol"
    "ation'; END IF; IF EXISTS (SELECT 1 FROM intent_events AS o WHERE o.key = NEW.key AND o.state IN"
    " ('cancelled', 'final', 'lost', 'released', 'reverted')) THEN RAISE EXCEPTION 'the intent is clo"
    "sed' USING ERRCODE = 'integrity_constraint_violation'; END IF; IF EXISTS (SELECT 1 FROM intent_e"
    "vents AS o WHERE o.key = NEW.key AND (o.chain_id <> NEW.chain_id OR o.sender <> NEW.sender OR o."
    "nonce <> NEW.nonce OR o.leg_key <> NEW.leg_key)) THEN RAISE EXCEPTION 'the intent holds another "
    "nonce, account or leg' USING ERRCODE = 'integrity_constraint_violation'; END IF; IF NEW.state = "
    "'reserved' AND EXISTS (SELECT 1 FROM intent_events AS o WHERE o.state = 'reserved' AND o.chain_i"
    "d = NEW.chain_id AND o.sender = NEW.sender AND o.nonce = NEW.nonce AND NOT EXISTS (SELECT 1 FROM"
    " intent_events AS c WHERE c.key = o.key AND c.state = 'released')) THEN RAISE EXCEPTION 'the non"
    "ce belongs to another intent' USING ERRCODE = 'integrity_constraint_violation'; END IF; IF NEW.s"
    "tate = 'reserved' AND EXISTS (SELECT 1 FROM intent_events AS o WHERE o.state = 'reserved' AND o."
    "chain_id = NEW.chain_id AND o.sender = NEW.sender AND NOT EXISTS (SELECT 1 FROM intent_events AS"
    " c WHERE c.key = o.key AND c.state IN ('cancelled', 'final', 'lost', 'released', 'reverted'))) T"
    "HEN RAISE EXCEPTION 'another transaction of the same account is still open' USING ERRCODE = 'int"
    "egrity_constraint_violation'; END IF; IF NEW.state = 'reserved' AND NOT EXISTS (SELECT 1 FROM le"
    "g_events AS o WHERE o.kind = 'opened' AND o.key = NEW.leg_key AND NOT EXISTS (SELECT 1 FROM leg_"
    "events AS c WHERE c.key = o.key AND c.kind = 'closed')) THEN RAISE EXCEPTION 'its leg is not ope"
    "n in the journal; the budget is reserved before the nonce' USING ERRCODE = 'integrity_constraint"
    "_violation'; END IF; RETURN NEW; END $$",
    "CREATE TRIGGER intent_events_rules BEFORE INSERT ON intent_events FOR EACH ROW EXECUTE FUNCTION "
    "intent_events_rules()",
    "CREATE FUNCTION steps_rules() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT 1 F"
    "ROM steps AS o WHERE o.sequence >= NEW.sequence) THEN RAISE EXCEPTION 'a later step is in the jo"
    "urnal already' USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NEW; END $$",
    "CREATE TRIGGER steps_rules BEFORE INSERT ON steps FOR EACH ROW EXECUTE FUNCTION steps_rules()",
)

HISTORY_1 = (
    "CREATE TABLE observations (id INTEGER PRIMARY KEY, metric TEXT, subject TEXT, source TEXT, value REAL, "
    "observed_at_s REAL, read_at_s REAL, block_number INTEGER, why_unknown TEXT)",
)
HISTORY_2 = (
    """CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, metric TEXT NOT NULL, subject TEXT NOT NULL,
       source TEXT NOT NULL, UNIQUE (metric, subject, source))""",
    """CREATE TABLE IF NOT EXISTS observation (id INTEGER PRIMARY KEY, series_id INTEGER NOT NULL,
       observed_at_s REAL NOT NULL, value REAL, read_at_s REAL NOT NULL, block_number INTEGER,
       why_unknown TEXT NOT NULL, filled INTEGER NOT NULL, superseded INTEGER NOT NULL DEFAULT 0)""",
    "CREATE INDEX IF NOT EXISTS observation_of_series ON observation (series_id, observed_at_s)",
    """CREATE TABLE IF NOT EXISTS heads (chain_id INTEGER, number INTEGER, hash TEXT NOT NULL,
       parent_hash TEXT NOT NULL, timestamp_s INTEGER NOT NULL, PRIMARY KEY (chain_id, number))""",
    """CREATE TABLE IF NOT EXISTS gaps (chain_id INTEGER, from_number INTEGER, to_number INTEGER NOT NULL,
       from_s REAL, to_s REAL NOT NULL, why TEXT NOT NULL, PRIMARY KEY (chain_id, from_number, from_s))""",
    """CREATE TABLE IF NOT EXISTS halts (id INTEGER PRIMARY KEY, chain_id INTEGER NOT NULL,
       since_s REAL NOT NULL, why TEXT NOT NULL, released_at_s REAL)""",
    "PRAGMA user_version=2",
)
