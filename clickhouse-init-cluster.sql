-- The database and the tables of Nealytics on a ClickHouse cluster, as `nealytics schema apply --cluster '{cluster}'`
-- makes them with the default settings. Run it on any one member: ON CLUSTER carries it to the others. ClickHouse 24.8
-- or newer, ClickHouse Keeper, and on every member
--   - <remote_servers> with the cluster, its shards and replicas, and <internal_replication>true in each shard: an
--     insert goes to one replica, and that one hands it on
--   - <macros> with cluster, shard and replica, which the tables' paths in Keeper are made of
--   - <distributed_ddl>, which ON CLUSTER works by
-- Safe to run again: it changes nothing that exists (`nealytics schema apply` does). docs/scaling.md has the rest.

CREATE DATABASE IF NOT EXISTS `nealytics_core` ON CLUSTER '{cluster}';

-- What each shard keeps. Columns, order and indexes are those of clickhouse-init.sql, for the same reasons.
CREATE TABLE IF NOT EXISTS `nealytics_core`.global_events_local ON CLUSTER '{cluster}'
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
-- Replicated: every replica of a shard has every event, and a token that one replica has taken is known, through
-- Keeper, to the others. So a batch may move to another replica between two tries. The path has no {uuid}: a replica
-- that is created later must find the others. Replacing: as in clickhouse-init.sql, within a shard.
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{database}/{table}/{shard}', '{replica}')
-- Copies of an event carry the same timestamp, so they meet in one partition. Old months are dropped as a whole.
PARTITION BY toYYYYMM(timestamp)
-- Identity, and the order of the questions.
ORDER BY (project_id, tenant_id, event_type, timestamp, event_id)
-- clickhouse.retention_days; none with 0. Nealytics refuses what is older, because ClickHouse would drop it silently.
TTL toDateTime(timestamp) + INTERVAL 90 DAY DELETE
SETTINGS
    -- ClickHouse's default, written down so that no server profile changes it.
    index_granularity = 8192,
    -- Expired events go when their whole part is expired: deleting a file is cheap, rewriting it is not.
    ttl_only_drop_parts = 1,
    -- An insert that is repeated with its token is taken once, as long as the token is among so many of the shard, each
    -- a small node in Keeper, one per insert and partition. Every batch of every worker reaches every shard, so this is
    -- how many batches of the others may pass while one waits for its second try: with 100 workers, raise it.
    replicated_deduplication_window = 10000,
    -- And not older than 7 days. The default is an hour: a node that was cut off for a weekend, after ClickHouse had
    -- taken its batch and before it heard so, would store it twice. (Answers would stay right: reads use `final`.)
    replicated_deduplication_window_seconds = 604800,
    -- What was confirmed survives a power loss of all replicas at once, as in one rack. clickhouse-init.sql has the
    -- reasons of these six.
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1,
    min_compressed_bytes_to_fsync_after_merge = 1,
    old_parts_lifetime = 480,
    always_use_copy_instead_of_hardlinks = 0,
    -- A replica also syncs what it fetched from another one.
    min_compressed_bytes_to_fsync_after_fetch = 1,
    -- A read of a damaged part answers within a second (docs/decisions/0022-damaged-blocks.md). ClickHouse flips each bit
    -- of the compressed block to find the one that explains a wrong checksum: 10 to 60 s for a block of 130 KB. Compact
    -- parts have blocks of up to 1 MiB whatever the first of these says, so only small parts may be compact (the default
    -- is 10 MiB).
    max_compress_block_size = 16384,
    min_bytes_for_wide_part = 131072;

-- What Nealytics and its queries name. It holds nothing: an insert is cut by the sharding key and each part goes to
-- its shard, a query asks all shards.
--   - The sharding key is the tenant, and never rand(): copies of an event must meet in one shard, because merges and
--     `final` work within a shard only. A tenant's events also lie together, so its queries are one shard's work.
--   - Its name is that of the single table, so that no query knows about the cluster. `final` and
--     additional_table_filters reach the shards with the query; the filter is sent under the local table's name too,
--     and both are proven before the first read.
CREATE TABLE IF NOT EXISTS `nealytics_core`.global_events ON CLUSTER '{cluster}' AS `nealytics_core`.global_events_local
ENGINE = Distributed('{cluster}', `nealytics_core`, global_events_local, cityHash64(project_id, tenant_id));

-- Which events were erased (`nealytics erase`, docs/erasure.md): all nodes read it. The first erasure creates it. Every
-- host has all rows, so its path in Keeper is without the shard.
CREATE TABLE IF NOT EXISTS `nealytics_core`.erasures ON CLUSTER '{cluster}'
(
    id String,
    erasure String
)
ENGINE = ReplicatedReplacingMergeTree('/clickhouse/tables/{database}/{table}', '{shard}-{replica}')
ORDER BY id
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Nothing to run below: what Nealytics sends with every insert when clickhouse.cluster is set, beside the settings it
-- sends to a single server. Whoever inserts by other means should send the same.
--   distributed_foreground_insert = 1    The answer comes when the shards have the rows. The default, 0, confirms what
--                                        lies in a queue on the disk of the server that was asked, and is lost with it.
--                                        (Called insert_distributed_sync before ClickHouse 23.11.)
--   insert_deduplication_token           Travels to every shard with its part of the batch. The parts are the same at
--                                        every try, because key, shards and weights are: so an insert that reached one
--                                        shard of two is completed by its repetition. Therefore the shards and their
--                                        weights must not change while batches are under way (docs/scaling.md).
--   insert_deduplicate = 1               ClickHouse's default, pinned: a profile that sets 0 would make the token void.
--   insert_quorum = 'auto'               Confirmed when most replicas of the shard have it, so the loss of one server
--                                        loses nothing. With three replicas one may be down; with two none may, and
--                                        events wait in the log (clickhouse.insert_quorum = 1 accepts the risk instead).
--   insert_quorum_parallel = 1           Several workers insert at a time; with 0 all but one would be refused (286).
--   insert_quorum_timeout                Shorter than clickhouse.insert_timeout_s: "the quorum is not there" is then
--                                        ClickHouse's answer, and the repetition finds its token.
