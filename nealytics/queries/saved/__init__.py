"""Saved queries: SQL of the operator, which tenants run over their own events.

    head.py       a file → what it declares (pure)
    values.py     a query string → values of the declared parameters (pure)
    tree.py       what the SQL may contain: the second fence (pure)
    functions.py  the functions that it may call (pure)
    reader.py     ClickHouse, as a user of its own: the first fence, and the canary
    catalog.py    the directory of files, checked and ready to run

Three fences, so that no mistake in one file shows a tenant another's events: ClickHouse's own
(`clickhouse.saved_reader`), the check of the parsed SQL, and a canary at load and before each query.
"""
