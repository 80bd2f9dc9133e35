"""From a request to rows in the log.

handlers.py        the three routes: key, rate limit, size; then body → events → admission → answer
intake.py          what every request with events takes: permits, body, rows, counts
connection.py      what a handler may ask of its client's connection
permits.py         the limits of a request together
ratelimit.py       requests per key, subject or address and window, for the whole node
body.py            the bytes of a request, within limits of size and time
decompression.py   the same for compressed bodies
slices.py          long work, without delaying other requests
parser.py          bytes → events and refusals
admission.py       events → rows → log; the only part that uses `wal`
tracker_reports.py the clock of a tracker, and whose events it sends
takeover.py        the log that a C# engine left
"""
