-- Tier 1, which is also the part of the journal that holds executions. `seq` numbers the entries
-- of the journal without a gap, over this table and agent_events together.
CREATE TABLE tier1_raw_metrics (
    seq INTEGER PRIMARY KEY,
    execution_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    agent_id TEXT NOT NULL,
    tool_name TEXT NOT NULL,
    finished_at REAL NOT NULL,           -- Unix seconds
    duration_seconds REAL NOT NULL,
    success INTEGER NOT NULL,            -- 0 or 1, as is browser_used
    cost_actual REAL NOT NULL,           -- US dollars, as is cost_estimate
    cost_estimate REAL NOT NULL,
    tokens_used INTEGER NOT NULL,
    human_effort_level TEXT NOT NULL,
    browser_used INTEGER NOT NULL,
    error_type TEXT,
    recorded_at REAL NOT NULL            -- Unix seconds, by the daemon's clock
) STRICT;

-- Serves retention and the listing of executions, newest first.
CREATE INDEX tier1_by_finish ON tier1_raw_metrics (finished_at);

-- The other entries of the journal: starts of tasks and heartbeats.
CREATE TABLE agent_events (
    seq INTEGER PRIMARY KEY,
    recorded_at REAL NOT NULL,
    agent_id TEXT NOT NULL,
    task_id TEXT,                        -- of a start, as are tool_name and started_at
    tool_name TEXT,
    started_at REAL,
    queue_depth INTEGER,                 -- of a heartbeat, as are status and concurrency
    status TEXT,
    concurrency INTEGER
) STRICT;

-- The ids of accepted executions. One that is a UUID is kept as its 16 bytes, any other as text.
CREATE TABLE execution_ids (
    id ANY PRIMARY KEY,
    recorded_hour INTEGER NOT NULL       -- hours since the epoch
) STRICT, WITHOUT ROWID;

-- The names that are counted under themselves, from the entry `since_seq` on.
CREATE TABLE counted_names (
    kind TEXT NOT NULL,                  -- agent or tool
    name TEXT NOT NULL,
    since_seq INTEGER NOT NULL,
    last_day INTEGER NOT NULL,           -- days since the epoch
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE tier2_hourly_summaries (
    hour TEXT PRIMARY KEY,               -- RFC 3339
    total_tasks INTEGER NOT NULL,
    successful_tasks INTEGER NOT NULL,
    failed_tasks INTEGER NOT NULL,
    total_cost REAL NOT NULL,
    total_tokens INTEGER NOT NULL,
    avg_task_duration REAL NOT NULL,
    avg_cost_per_task REAL NOT NULL,
    tool_execution_counts TEXT NOT NULL  -- JSON: name to number
) STRICT, WITHOUT ROWID;

CREATE TABLE tier3_tool_profiles (
    tool_name TEXT PRIMARY KEY,
    total_executions INTEGER NOT NULL,
    successful_executions INTEGER NOT NULL,
    failed_executions INTEGER NOT NULL,
    success_rate REAL NOT NULL,
    success_rate_low REAL NOT NULL,
    success_rate_high REAL NOT NULL,
    avg_duration REAL NOT NULL,
    avg_cost REAL NOT NULL,
    avg_tokens REAL NOT NULL,
    confidence_level TEXT NOT NULL,
    level_probability REAL NOT NULL,
    trend TEXT NOT NULL,
    last_execution TEXT NOT NULL         -- RFC 3339
) STRICT, WITHOUT ROWID;

-- How far each projection has folded the journal. What it writes elsewhere, it writes in the same
-- transaction as this number.
CREATE TABLE projection_checkpoints (
    projection TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE projection_states (
    projection TEXT NOT NULL,
    part TEXT NOT NULL,
    key ANY NOT NULL,
    state BLOB NOT NULL,                 -- MessagePack
    PRIMARY KEY (projection, part, key)
) STRICT, WITHOUT ROWID;
