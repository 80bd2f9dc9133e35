"""Everything that knows ClickHouse: the client, the rows it receives, the table, and the embedded engine.

There is one client and one protocol, ClickHouse's HTTP interface. An embedded engine speaks it too, from a
child process on loopback, so nothing above this package knows which of the two it talks to.
"""
