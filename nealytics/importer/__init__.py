"""`nealytics import`: a file of events → the batch route of a running server, every row counted once.

    options.py     the options of an import
    source.py      bytes → lines, decompressed, in constant memory
    csv_record.py  lines → one CSV record, strictly
    rows.py        lines → rows with their offsets: NDJSON, CSV, a JSON array
    convert.py     Parquet and Native → NDJSON, by ClickHouse itself
    times.py       what a file calls a time → what the server accepts
    mapping.py     row → event: which column is which field, what joins the metadata, and the event's id
    sender.py      batches → HTTP, a few at a time, retried as long as a retry can help
    state.py       how far everything is acknowledged, and what was rejected; a second run resumes there
    checks.py      what is wrong with all rows of a file; whether every record is accounted for
    run.py         the loop over all of it

A row is counted once, because its event is the same each time it is sent: its `eventId` is derived from the
file's first two rows, the row's number and the row's bytes. So a batch whose answer was lost is sent again,
a run that was killed is started again, and a lost state file costs only the time to send everything again.
The one exception: a row without a timestamp gets the time at which the import began, which only the state
file has. `--timestamp` for such a file removes the exception.
"""
