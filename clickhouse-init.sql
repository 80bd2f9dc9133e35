-- The database and the table of Nealytics, as `nealytics schema apply` makes them with the default settings.
-- Needed by hand only where the server's user may not create tables; otherwise the server does it at its start.
-- ClickHouse 24.8 or newer. Safe to run again: it changes nothing that exists (`nealytics schema apply` does).

CREATE DATABASE IF NOT EXISTS `nealytics_core`;

CREATE TABLE IF NOT EXISTS `nealytics_core`.global_events
(
    -- The client's, or a UUIDv7 of ours. Part of the identity: a repeated event has the same one.
    event_id UUID,
    -- A few distinct values each, so a dictionary makes them small and quick to filter.
    project_id LowCardinality(String),
    -- Tenants and sessions can be millions; a dictionary of them would cost more than it saves.
    tenant_id String,
    session_id String,
    -- Absent is NULL, not '': an empty id would look like one user who does everything.
    user_id Nullable(String),
    event_type LowCardinality(String),
    item_id Nullable(String),
    -- JSON as it came, compressed harder than the default LZ4: it is most of the bytes and seldom read.
    metadata_json String CODEC(ZSTD(1)),
    -- When it happened, in UTC, by the client's clock or ours.
    timestamp DateTime64(3, 'UTC'),
    -- When Nealytics took it. Events of before this column have no better guess than `timestamp`.
    received_at DateTime64(3, 'UTC') DEFAULT timestamp,
    -- When ClickHouse took it. Never sent, so that the same batch is the same bytes at every try.
    inserted_at DateTime64(3, 'UTC') DEFAULT now64(3),
    -- For `telemetry/live`, which asks every second what is new. 8 million events, a tenant with 400,000: 12 instead of
    -- 68 ms for the tenant, 13 instead of 80 ms for its project. The index itself is a few bytes per 8,192 rows.
    INDEX inserted_at_minmax inserted_at TYPE minmax GRANULARITY 1,
    -- For the events of one session and of one user, which lie in a few granules of their tenant: 30 instead of 310 ms
    -- for a session of a tenant with 2.8 million events. An insert takes 3 to 6 % longer, the table 1.4 % more disk.
    INDEX session_id_bloom session_id TYPE bloom_filter(0.01) GRANULARITY 1,
    INDEX user_id_bloom user_id TYPE bloom_filter(0.01) GRANULARITY 1
)
-- Rows with the same sorting key are one event; merges, and reads with `final = 1`, leave one of them. This holds
-- for ever, also where the deduplication of inserts (below) has forgotten.
ENGINE = ReplacingMergeTree
-- Copies of an event carry the same timestamp, so they meet in one partition. Old months are dropped as a whole.
PARTITION BY toYYYYMM(timestamp)
-- Identity, and the order of the questions: one tenant of one project, an event type, a span of time. A read of one
-- tenant touches that tenant's granules only.
ORDER BY (project_id, tenant_id, event_type, timestamp, event_id)
-- clickhouse.retention_days; none with 0. Nealytics refuses what is older, because ClickHouse would drop it silently.
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS
    -- ClickHouse's default, written down so that no server profile changes it.
    index_granularity = 8192,
    -- Expired events go when their whole part is expired: deleting a file is cheap, rewriting it is not.
    ttl_only_drop_parts = 1,
    -- An insert that is repeated with its token is taken once. The default, 0, would ignore the token. Each insert
    -- uses one entry per partition; 10,000 is cheap, and far more than can be under way.
    non_replicated_deduplication_window = 10000,
    -- What was confirmed survives a power loss (docs/decisions/0012-power-loss.md). Without these two ClickHouse
    -- confirms what only the page cache holds, and remembers the token, so that the repetition is dropped too.
    -- Measured: 17 ms instead of 10 ms an insert.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    -- A merged part replaces parts that were synced, and it is not synced itself unless one of these is 1: it then
    -- loses, of any day, all that was merged in the last half minute. The same two hold for mutations and TTL merges.
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    -- The replaced parts stay for 8 minutes. If the merged one turns out to be broken at a start, ClickHouse reads them
    -- instead. ClickHouse's default on a server; it is 0 in the embedded engine.
    old_parts_lifetime = 480,
    -- A mutation takes over the files that it does not change by hard links. As copies (1) they would not be synced.
    always_use_copy_instead_of_hardlinks = 0,
    -- A read of a damaged part answers within a second (docs/decisions/0022-damaged-blocks.md). ClickHouse flips each bit
    -- of the compressed block to find the one that explains a wrong checksum: 10 to 60 s for a block of 130 KB. Compact
    -- parts have blocks of up to 1 MiB whatever the first of these says, so only small parts may be compact (the default
    -- is 10 MiB).
    max_compress_block_size = 16384,
    min_bytes_for_wide_part = 131072;

-- Which events were erased (`nealytics erase`, docs/erasure.md): all nodes read it. The first erasure creates it; without
-- erasures it is not needed. A user is in it as a hash. It has two settings of the table above, for the same reason.
CREATE TABLE IF NOT EXISTS `nealytics_core`.erasures
(
    id String,
    erasure String
)
ENGINE = ReplacingMergeTree
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;
