"""Erasures: the events of a tenant or a user disappear from reads at once, and from the disk within a day.

    jobs.py        an erasure, its job with the receipt, and when it runs; pure
    tombstones.py  which encoded rows erasures cover; pure
    store.py       the jobs of a node: one file each in <server.data_dir>/erasures, durable
    announcements.py  the erasures of all nodes, in a table of ClickHouse
    known.py       whether this process knows all of them
    table.py       what is left in the table of events, the mutation, the replaced parts
    requests.py    a request for an erasure, by the route or the command
    logs.py        removes the rows from the logs of one worker
    leftovers.py   removes them from what lies beside the logs
    rejects.py     removes rejected events, and keeps none that an erasure covers
    running.py     carries out the jobs of a node, one step at a time; any step may be repeated

An erasure covers events with a timestamp earlier than its `before`. It is kept for ever, as a *tombstone*: an
event that it covers and that comes back is dropped, on admission or from a batch
(`commit.erased`), or where kept rows are compared with the table (`commit.resend`).

A job's states:

    pending    reads hide the events; the logs are being cleaned; the job waits for the mutation of the day
    running    the mutation of the table runs
    removing   the table's parts have no such event; the replaced parts are still on disk
    done       the replaced parts are gone

ClickHouse has the table `erasures`, which all nodes read every second: each node does the same for its
own logs and dead letter, and has its own receipt. A user is named in it, and in everything that stays, by a
hash only.
"""
