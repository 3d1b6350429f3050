-- A ledger as version 3 of the schema wrote it.
BEGIN TRANSACTION;
CREATE TABLE events (
        id INTEGER PRIMARY KEY, query INTEGER NOT NULL REFERENCES queries(id),
        kind TEXT NOT NULL CHECK (kind IN ('answer', 'skip', 'unsure', 'ignore', 'draft', 'undo', 'note', 'lease', 'release', 'approve', 'reject', 'request')),
        labels BLOB CHECK ((kind IN ('answer', 'draft')) = (typeof(labels) = 'blob')
                           AND typeof(labels) IN ('blob', 'null')),
        taxonomy INTEGER NOT NULL DEFAULT 1 REFERENCES taxonomies(version),
        annotator TEXT NOT NULL,
        seconds REAL CHECK (typeof(seconds) IN ('real', 'null') AND seconds >= 0),
        clicks INTEGER CHECK (typeof(clicks) IN ('integer', 'null') AND clicks >= 0),
        proposal_accepted INTEGER CHECK (proposal_accepted IN (0, 1)),
        note TEXT CHECK (kind != 'note' OR note IS NOT NULL),
        supersedes INTEGER REFERENCES events(id)
            CHECK (kind NOT IN ('undo', 'reject', 'approve') OR supersedes IS NOT NULL),
        created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), action INTEGER REFERENCES events(id),
        ask TEXT CHECK ((kind = 'request') = (ask IS NOT NULL) AND ask IN ('overlap', 'repeat', 'again')),
        uid TEXT NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))), seal TEXT);
INSERT INTO "events" VALUES(1,1,'answer',X'0001',1,'ann',1.5,2,NULL,NULL,NULL,'2026-11-30T16:39:21.842Z',NULL,NULL,'19b21d565d5588c3-7e2aa84039de4112','d9f1c05f421fd423');
INSERT INTO "events" VALUES(2,1,'answer',X'0101',1,'bob',NULL,NULL,1,NULL,1,'2026-11-30T16:39:21.845Z',NULL,NULL,'05648b0fd0bd148a-ff6fa150cc7e36ac','14a5868c9aeeb9cf');
INSERT INTO "events" VALUES(3,2,'skip',NULL,1,'ann',NULL,NULL,NULL,NULL,NULL,'2026-11-30T16:39:21.849Z',NULL,NULL,'f4958058d6611fa1-2bcb1064473ad8bb','2aff179b61928a9a');
INSERT INTO "events" VALUES(4,2,'undo',NULL,1,'ann',NULL,NULL,NULL,NULL,3,'2026-11-30T16:39:21.853Z',NULL,NULL,'f0c573a41c836805-d4bb120a5d86bea4','2eae267f659348cf');
INSERT INTO "events" VALUES(5,3,'note',NULL,1,'ann',NULL,NULL,NULL,'behind a wall',NULL,'2026-11-30T16:39:21.857Z',NULL,NULL,'190fd33f841927f2-158c246cecbd70dc','d825fdbf2e97fa9f');
INSERT INTO "events" VALUES(6,1,'request',NULL,1,'ann',NULL,NULL,NULL,NULL,NULL,'2026-11-30T16:39:21.859Z',NULL,'overlap','6d98b969a2c76f8d-d76db3595ea91bc2','10dd36e24214a40c');
INSERT INTO "events" VALUES(7,3,'unsure',NULL,1,'tool',NULL,NULL,NULL,NULL,NULL,'2026-11-30T16:39:21.869Z',NULL,NULL,'436263a418a0fec3425a9e519d97d671',NULL);
CREATE TABLE meta (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL, seal TEXT);
INSERT INTO "meta" VALUES('voxel_size','0.25','855904e357b86fbb');
INSERT INTO "meta" VALUES('created_by','annotator3d 0.1.0','41c587cb7a6f9414');
INSERT INTO "meta" VALUES('ledger_id','661645580f394770aea942098243b1d5','1b07d280279cc733');
INSERT INTO "meta" VALUES('round_1_decision','3 of 5 voxels for 1 h','025ef6ffda4d05a8');
INSERT INTO "meta" VALUES('round_1_closed','2026-11-30T16:39:21.865Z ann','391089e7b6ac11e0');
CREATE TABLE queries (
        id INTEGER PRIMARY KEY, round INTEGER NOT NULL REFERENCES rounds(round),
        position INTEGER NOT NULL CHECK (typeof(position) = 'integer' AND position >= 0),
        scan TEXT NOT NULL REFERENCES scans(id),
        x INTEGER NOT NULL CHECK (typeof(x) = 'integer'),
        y INTEGER NOT NULL CHECK (typeof(y) = 'integer'),
        z INTEGER NOT NULL CHECK (typeof(z) = 'integer'),
        rank INTEGER NOT NULL CHECK (typeof(rank) = 'integer' AND rank >= 0),
        score REAL NOT NULL CHECK (typeof(score) = 'real'),
        num_points INTEGER NOT NULL CHECK (typeof(num_points) = 'integer' AND num_points >= 1),
        asked_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), seal TEXT,
        UNIQUE (round, position), UNIQUE (round, scan, rank));
INSERT INTO "queries" VALUES(1,1,0,'00/0',0,0,0,0,1.0,2,'2026-11-30T16:39:21.837Z','a0aaf068ca2f6676');
INSERT INTO "queries" VALUES(2,1,1,'00/0',1,0,0,1,0.5,3,'2026-11-30T16:39:21.837Z','ce967cd332145383');
INSERT INTO "queries" VALUES(3,1,2,'00/0',2,0,0,2,0.25,1,'2026-11-30T16:39:21.837Z','5700ec1f6094b2fa');
CREATE TABLE rounds (
        round INTEGER PRIMARY KEY, strategy TEXT NOT NULL,
        seed INTEGER NOT NULL CHECK (typeof(seed) = 'integer'),
        budget INTEGER NOT NULL CHECK (typeof(budget) = 'integer' AND budget >= 1),
        max_queries INTEGER CHECK (typeof(max_queries) IN ('integer', 'null')),
        num_queries INTEGER NOT NULL CHECK (num_queries >= 0),
        epoch INTEGER NOT NULL CHECK (typeof(epoch) = 'integer' AND epoch >= 0),
        source TEXT NOT NULL, created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), seal TEXT,
        CHECK (max_queries IS NULL OR num_queries <= max_queries));
INSERT INTO "rounds" VALUES(1,'vcd',7,3,3,3,0,'none','2026-11-30T16:39:21.837Z','9d0f3dcea61faca6');
CREATE TABLE scans (
        id TEXT PRIMARY KEY NOT NULL, fingerprint TEXT NOT NULL,
        num_points INTEGER NOT NULL CHECK (typeof(num_points) = 'integer' AND num_points >= 0),
        created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), seal TEXT);
INSERT INTO "scans" VALUES('00/0','f',9,'2026-11-30T16:39:21.825Z','96768cb2cd1bb1df');
CREATE TABLE taxonomies (
        version INTEGER PRIMARY KEY, digest TEXT NOT NULL, classes TEXT NOT NULL,
        mapping BLOB, created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), seal TEXT,
        CHECK ((version = 1) = (mapping IS NULL)));
INSERT INTO "taxonomies" VALUES(1,'d1g357','["road", "car"]',NULL,'2026-11-30T16:39:21.781Z','bf9d6862b81e1e48');
CREATE INDEX queries_cell ON queries(scan, x, y, z);
CREATE INDEX events_query ON events(query, kind);
CREATE INDEX events_supersedes ON events(supersedes);
CREATE TRIGGER meta_no_update BEFORE UPDATE ON meta WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of meta is never changed or removed'); END;
CREATE TRIGGER meta_no_delete BEFORE DELETE ON meta WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of meta is never changed or removed'); END;
CREATE TRIGGER meta_no_replace BEFORE INSERT ON meta WHEN EXISTS (SELECT 1 FROM meta WHERE key = NEW.key) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of meta is never changed or removed'); END;
CREATE TRIGGER taxonomies_no_update BEFORE UPDATE ON taxonomies WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of taxonomies is never changed or removed'); END;
CREATE TRIGGER taxonomies_no_delete BEFORE DELETE ON taxonomies WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of taxonomies is never changed or removed'); END;
CREATE TRIGGER taxonomies_no_replace BEFORE INSERT ON taxonomies WHEN EXISTS (SELECT 1 FROM taxonomies WHERE version = NEW.version) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of taxonomies is never changed or removed'); END;
CREATE TRIGGER scans_no_update BEFORE UPDATE ON scans WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of scans is never changed or removed'); END;
CREATE TRIGGER scans_no_delete BEFORE DELETE ON scans WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of scans is never changed or removed'); END;
CREATE TRIGGER scans_no_replace BEFORE INSERT ON scans WHEN EXISTS (SELECT 1 FROM scans WHERE id = NEW.id) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of scans is never changed or removed'); END;
CREATE TRIGGER rounds_no_update BEFORE UPDATE ON rounds WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of rounds is never changed or removed'); END;
CREATE TRIGGER rounds_no_delete BEFORE DELETE ON rounds WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of rounds is never changed or removed'); END;
CREATE TRIGGER rounds_no_replace BEFORE INSERT ON rounds WHEN EXISTS (SELECT 1 FROM rounds WHERE round = NEW.round) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of rounds is never changed or removed'); END;
CREATE TRIGGER queries_no_update BEFORE UPDATE ON queries WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of queries is never changed or removed'); END;
CREATE TRIGGER queries_no_delete BEFORE DELETE ON queries WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of queries is never changed or removed'); END;
CREATE TRIGGER queries_no_replace BEFORE INSERT ON queries WHEN EXISTS (SELECT 1 FROM queries WHERE id = NEW.id OR (round = NEW.round AND (position = NEW.position OR (scan = NEW.scan AND rank = NEW.rank)))) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of queries is never changed or removed'); END;
CREATE TRIGGER events_no_update BEFORE UPDATE ON events WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of events is never changed or removed'); END;
CREATE TRIGGER events_no_delete BEFORE DELETE ON events WHEN 1 BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of events is never changed or removed'); END;
CREATE TRIGGER events_no_replace BEFORE INSERT ON events WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id OR uid = NEW.uid) BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: a row of events is never changed or removed'); END;
CREATE TRIGGER taxonomies_in_turn BEFORE INSERT ON taxonomies WHEN NEW.version IS NOT (SELECT COALESCE(MAX(version), 0) + 1 FROM taxonomies) OR (NEW.version > 1 AND length(NEW.mapping) != 256) BEGIN SELECT RAISE(ABORT, 'class lists are numbered from 1 without a gap, each with a map of 256 ids from the last'); END;
CREATE TRIGGER rounds_in_turn BEFORE INSERT ON rounds WHEN NEW.round IS NOT (SELECT COALESCE(MAX(round), 0) + 1 FROM rounds) BEGIN SELECT RAISE(ABORT, 'rounds are numbered from 1 without a gap, and each is written once'); END;
CREATE TRIGGER rounds_epoch BEFORE INSERT ON rounds WHEN NEW.epoch < (SELECT MAX(epoch) FROM rounds) BEGIN SELECT RAISE(ABORT, 'a round is never scheduled at an earlier epoch than the round before it'); END;
CREATE TRIGGER queries_whole BEFORE INSERT ON queries WHEN NEW.position >= (SELECT num_queries FROM rounds WHERE round = NEW.round) BEGIN SELECT RAISE(ABORT, 'this round is complete and takes no more queries'); END;
CREATE TRIGGER queries_budget BEFORE INSERT ON queries WHEN NEW.rank >= (SELECT budget FROM rounds WHERE round = NEW.round) BEGIN SELECT RAISE(ABORT, 'more queries for one scan than the budget of the round'); END;
CREATE TRIGGER queries_once BEFORE INSERT ON queries WHEN EXISTS (SELECT 1 FROM queries q WHERE q.scan = NEW.scan AND q.x = NEW.x AND q.y = NEW.y AND q.z = NEW.z AND NOT EXISTS (SELECT 1 FROM events r WHERE r.query = q.id AND r.kind = 'release')) BEGIN SELECT RAISE(ABORT, 'this voxel was asked before; a voxel is never asked twice'); END;
CREATE TRIGGER events_released BEFORE INSERT ON events WHEN NEW.kind != 'note' AND EXISTS (SELECT 1 FROM events r WHERE r.query = NEW.query AND r.kind = 'release') BEGIN SELECT RAISE(ABORT, 'this query was released and takes no answer'); END;
CREATE TRIGGER events_release BEFORE INSERT ON events WHEN NEW.kind = 'release' AND EXISTS (SELECT 1 FROM events e WHERE e.query = NEW.query AND e.kind IN ('answer', 'skip', 'unsure', 'ignore')) BEGIN SELECT RAISE(ABORT, 'somebody has answered this query; only one that nobody has answered can be released'); END;
CREATE TRIGGER events_length BEFORE INSERT ON events WHEN NEW.kind IN ('answer', 'draft') AND length(NEW.labels) != (SELECT num_points FROM queries WHERE id = NEW.query) BEGIN SELECT RAISE(ABORT, 'an answer has one label per point of the voxel'); END;
CREATE TRIGGER events_supersedes BEFORE INSERT ON events WHEN NEW.supersedes IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = NEW.supersedes AND e.query = NEW.query) BEGIN SELECT RAISE(ABORT, 'an event supersedes an earlier event of the same query'); END;
CREATE TRIGGER events_undo BEFORE INSERT ON events WHEN NEW.kind = 'undo' AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = NEW.supersedes AND e.kind IN ('answer', 'skip', 'unsure', 'ignore', 'draft', 'approve', 'reject', 'request') AND NOT EXISTS (SELECT 1 FROM events u WHERE u.supersedes = e.id AND u.kind = 'undo')) BEGIN SELECT RAISE(ABORT, 'only a response, a draft, a review or a request can be undone, and only once'); END;
CREATE TRIGGER events_action BEFORE INSERT ON events WHEN NEW.action IS NOT NULL AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = NEW.action AND e.annotator = NEW.annotator) BEGIN SELECT RAISE(ABORT, 'a bulk action is named by its first event, of the same annotator'); END;
COMMIT;
PRAGMA application_id = 1093880903;
PRAGMA user_version = 3;
