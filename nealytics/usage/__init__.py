"""What each tenant used on each day, and the quotas that limit it.

    counts   the numbers, and how rows and queries change them; pure
    store    one directory of files per worker
    meter    counts what a worker does, and keeps its files
    node     what all workers used together, also of their quotas (`nealytics.quotas`)
    largest  the largest tenants at /metrics
    report   what people and programs read

Events are counted by the log: the file has the LSN up to which they are in it, and a start counts the rows
after that. So each accepted event is counted once, whatever is killed. Queries are in the file every few
seconds only; a killed worker forgets those of the last `meter.INTERVAL_S`.
"""
