"""HTTP: from a socket to a handler and back.

listener.py     serves an application on listening sockets, and stops without losing an answer
fast_lane.py    small ingest requests, answered without aiohttp; small_request.py parses them (pure),
                request_ends.py tells where those of aiohttp end (pure), laned.py connects both
connections.py  one connection: header timeout, too many connections, errors of the parser, orderly end
watches.py      whether a client is too slow (pure)
app.py          the application: headers of every answer, errors as JSON, CORS
spans.py        one span for each ingest or read request
responses.py    the form of errors
accept.py       the weights of a client's preferences (pure)
health.py       /health, /ready, /ready/ingest, /metrics

reads.py        the read routes, and the steps that all of them share
query.py        many questions in one request
slots.py        how many queries run at the same time, and which one is next
sending.py      large answers: encoded in slices, sent as fast as the client reads
unread.py       the memory of answers that clients have not read yet

streams.py      the routes whose answers are sent while they come; streaming.py has what they share
export.py       /export
saved.py        /queries
live.py         /live; live_hub.py asks for new events, live_window.py decides which are new (pure),
                live_stream.py is the connection of one client

compat.py       the routes of Segment's and PostHog's APIs, for their SDKs
admin.py        the admin routes; retention.py, usage.py, erasures.py and dead_letter.py are some of them

pages.py        the script of the charts, and the pages made of it
openapi.py      /openapi.json; openapi_schemas.py and openapi_errors.py describe its parts
"""
