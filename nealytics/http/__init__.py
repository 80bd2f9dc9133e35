"""What stands between a socket and a handler.

connections.py   the server: header timeout, too many connections, errors of the parser, orderly end
app.py           the application: every answer's headers, errors as JSON, CORS
responses.py     how an error looks
reads.py         the read routes
query.py         many questions in one request
pages.py         the script of the charts, and the pages made of it
health.py        /health, /ready, /ready/ingest, /metrics
"""
