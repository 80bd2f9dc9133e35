"""Backups of the embedded engine and the logs: `nealytics backup`, `nealytics restore`, `nealytics backups`.

A backup is a directory, of a disk or of a bucket:

    table/          ClickHouse's BACKUP of the database
    wal/<worker>/   the log of each worker: what had not reached ClickHouse yet
    wal/…           dead letters, logs that were quarantined, and what a C# engine left
    state/          files of the data directory: usage, retention, erasures, the register of backups
    manifest.json   written last; without it the backup is not complete

    register.py     which backups exist
    manifest.py     what a backup says of itself, and what is wrong with it (pure)
    rotation.py     which backups may go (pure)
    store.py        a backup in a directory
    s3.py           a backup in a bucket, and the signed requests for it
    content.py      the part that is not the table: collected from a node, and put back
    run.py          make, verify, restore

The logs are copied before the table. What reaches ClickHouse between the two is in both, with one identity.
"""
