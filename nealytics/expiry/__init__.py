"""Deletes stored events that their `[[retention]]` rule no longer keeps. Decision 0032 has the reasons.

    statements.py   the SQL (pure)
    promise.py      which rules a person has applied, in a file of the data directory
    run.py          counts and deletes

Nothing is deleted sooner than every rule set says that was in force since a person last ran `nealytics
retention apply`. Rules that keep events longer take effect at once; shorter ones wait.
"""
