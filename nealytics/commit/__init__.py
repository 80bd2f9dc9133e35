"""From the log to ClickHouse, exactly once.

`loop` owns the way of a batch: intent, insert, cursor. `plan` decides which rows are next and what a refusal
means, `gather` when rows are due, `sender` retries, `delivery` makes one attempt and verifies it. `backoff`
says how long to wait, `dead_letter` keeps the rows that ClickHouse refuses for their content, `problem` says
why nothing moves. Rows are opaque here but for one thing: their timestamp, because a batch is bounded by the
partitions it touches.
"""
