"""SQL for rules: which rule an event falls under, and whether it is expired. Pure."""

from collections.abc import Callable, Sequence

from nealytics.clickhouse.schema.definition import on_cluster
from nealytics.clickhouse.sql import LOCAL_TABLE, TABLE, quoted, table_name
from nealytics.clickhouse.table_state import RETENTION_MARK
from nealytics.config import RetentionRule
from nealytics.retention import Rules
from nealytics.timestamps import DAY_MS

# Earlier than any event.
_NEVER = "fromUnixTimestamp64Milli(0, 'UTC')"


def expired(promised: Sequence[Rules], now_ms: int) -> str | None:
    """A condition for the events that none of these rule sets keeps; None if there can be none."""
    projects = frozenset.intersection(*(rules.projects for rules in promised)) if promised else frozenset()
    shortest = [
        min((rule.days for rule in rules.all if rule.days and rule.project in projects), default=0)
        for rules in promised
    ]
    if not projects or not all(shortest):
        return None
    limits = ", ".join(_oldest_kept(rules, now_ms) for rules in promised)
    oldest = f"least({limits})" if len(promised) > 1 else limits
    # The project and the constant time let ClickHouse skip parts and granules; the third decides.
    return (
        f"project_id IN ({_listed(projects)}) AND timestamp < {_before(now_ms, max(shortest))} "
        f"AND timestamp < {oldest}"
    )


def rule_index(rules: Rules) -> str:
    """The place of an event's rule in `rules.all`; -1 if it has none."""
    places = {id(rule): str(place) for place, rule in enumerate(rules.all)}
    return _by_rule(rules, lambda rule: places[id(rule)], "-1")


def count_statement(database: str, rules: Rules, next_run: str | None, if_applied: str | None) -> str:
    """For each rule: the events, and those that the next run and the next run after `apply` would delete."""
    columns = ["count()", "min(timestamp)"]
    for condition in (next_run or "0", if_applied or "0"):
        columns += [f"countIf({condition})", f"minIf(timestamp, {condition})"]
    return (
        f"SELECT {rule_index(rules)} AS rule, {', '.join(columns)} FROM {table_name(database)} "
        f"WHERE project_id IN ({_listed(rules.projects)}) GROUP BY rule ORDER BY rule FORMAT TabSeparated"
    )


def delete_statement(database: str, cluster: str, condition: str) -> str:
    name = table_name(database, LOCAL_TABLE if cluster else TABLE) + on_cluster(cluster)
    return f"ALTER TABLE {name} DELETE WHERE {quoted(RETENTION_MARK)} != '' AND {condition}"


def _oldest_kept(rules: Rules, now_ms: int) -> str:
    """The time since which an event's rule keeps events."""
    return _by_rule(rules, lambda rule: _before(now_ms, rule.days) if rule.days else _NEVER, _NEVER)


def _by_rule(rules: Rules, value: Callable[[RetentionRule], str], otherwise: str) -> str:
    """`value` of the rule that an event falls under."""
    cases = []
    for project in sorted(rules.projects):
        inner = [f"{_matches(rule)}, {value(rule)}" for rule in rules.of_project(project)]
        cases.append(f"project_id = {quoted(project)}, multiIf({', '.join(inner)}, {otherwise})")
    return f"multiIf({', '.join(cases)}, {otherwise})"


def _matches(rule: RetentionRule) -> str:
    conditions = [
        f"{column} = {quoted(value)}"
        for column, value in (("tenant_id", rule.tenant), ("event_type", rule.event_type))
        if value
    ]
    return " AND ".join(conditions) or "1"


def _before(now_ms: int, days: float) -> str:
    return f"fromUnixTimestamp64Milli({now_ms - int(days * DAY_MS)}, 'UTC')"


def _listed(values: frozenset[str]) -> str:
    return ", ".join(quoted(value) for value in sorted(values))
