"""From the log to ClickHouse, exactly once.

    plan         decides which rows are next and what a refusal means
    loop         does it: reads the log, sends, stores the cursor
    gather       when queued rows are due as a batch
    sender       one batch, retried; `delivery` makes one attempt and verifies it; `backoff` has the pauses
    dead_letter  rows that ClickHouse refuses for their content
    erased       rows that are left out because an erasure covers them
    persist      writes that are retried while the disk refuses them
    problem      why nothing is committed; `progress` wakes those who wait for a commit

Rows are opaque here except for their timestamp, because a batch is bounded by the partitions it touches.
"""
