-- What the cost and budget trackers of a host report, as entries of the journal.
ALTER TABLE agent_events ADD COLUMN
    report TEXT;                         -- JSON, money in billionths of a dollar; of no agent: ''
