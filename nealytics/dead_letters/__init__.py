"""The dead letter as a person sees it: the events that ClickHouse refused after they were accepted, and those
that a route rejected.

entries.py    both kinds in one form: listed, selected, counted
actions.py    retry and drop
"""
