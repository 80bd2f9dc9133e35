"""HTTP: from a socket to a handler and back.

connections.py   the server: header timeout, too many connections, errors of the parser, orderly end
app.py           the application: headers of every answer, errors as JSON, CORS
responses.py     the form of errors
reads.py         the read routes
query.py         many questions in one request
pages.py         the script of the charts, and the pages made of it
health.py        /health, /ready, /ready/ingest, /metrics
"""
