"""From the log to ClickHouse, exactly once.

`committer` owns the way of a batch: cut, intent, insert, cursor. `backoff` says how long to wait,
`dead_letter` keeps the rows that ClickHouse refuses for their content. Rows are opaque here but for one
thing: their timestamp, because a batch is bounded by the partitions it touches.
"""
