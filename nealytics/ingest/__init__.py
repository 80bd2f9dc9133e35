"""From a request to rows in the log.

handlers.py        the three routes: who may, how often, how much; then body → events → admission → answer
ratelimit.py       requests per key and window, for the whole node
body.py            the bytes of a request, within limits of size and time
decompression.py   the same for compressed bodies
parser.py          bytes → events and refusals
admission.py       events → rows → log; the only door to `wal` here
"""
