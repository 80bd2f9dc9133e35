"""`nealytics import`: a file of events → the batch route of a running server, every row counted once.

    source.py      bytes → lines, unpacked, in constant memory
    csv_record.py  lines → one CSV record, strictly
    rows.py        lines → rows with their offsets: NDJSON, CSV, a JSON array
    times.py       what a file calls a time → what the server takes
    mapping.py     row → event: which column is which field, what joins the metadata, and the event's identity
    sender.py      batches → HTTP, a few at a time, retried without a limit while that can help
    state.py       how far everything is acknowledged, and what was rejected; a second run goes on there
    run.py         the loop over all of it, and the check that every record is accounted for

Counted once, because a row's event is the same event every time it is sent: its `eventId` is made of the
file's first two rows, the row's number and the row's bytes. So a batch whose answer was lost is sent again,
a run that was killed is started again, and a lost state file costs only the time to send everything again.
The one exception: a row without a timestamp gets the time at which the import began, which only the state
file remembers. Give `--timestamp` for such a file, and it needs no exception.
"""
