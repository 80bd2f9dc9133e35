"""Which `[[retention]]` rule an event falls under, and whether new rules keep less than old ones. Pure.

A rule is for the events that equal it in each field that it gives. Of the rules for an event the most
specific one counts, in this order:

    project, tenant, event_type
    project, tenant
    project, event_type
    project

`days = 0` keeps events for as long as the table does, so such a rule is an exception to a wider one. No rule
keeps an event for longer than the table.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import inf

from nealytics.config import RetentionRule
from nealytics.timestamps import DAY_MS


class Rules:
    """All rules, by project."""

    def __init__(self, rules: Iterable[RetentionRule] = ()) -> None:
        self.all = tuple(rules)
        self._of: dict[str, dict[tuple[str, str], RetentionRule]] = {}
        for rule in self.all:
            self._of.setdefault(rule.project, {})[rule.tenant, rule.event_type] = rule

    def __bool__(self) -> bool:
        return bool(self.all)

    @property
    def projects(self) -> frozenset[str]:
        return frozenset(self._of)

    def of_project(self, project: str) -> list[RetentionRule]:
        """The rules of a project, the most specific first."""
        rules = self._of.get(project, {}).values()
        return sorted(rules, key=lambda rule: (not rule.tenant, not rule.event_type))

    def find(self, project: str, tenant: str, event_type: str) -> RetentionRule | None:
        """The rule for an event; `""` is a tenant, or a type, that no rule names."""
        rules = self._of.get(project)
        if rules is None:
            return None
        return (
            rules.get((tenant, event_type))
            or rules.get((tenant, ""))
            or rules.get(("", event_type))
            or rules.get(("", ""))
        )

    def days(self, project: str, tenant: str, event_type: str) -> float:
        rule = self.find(project, tenant, event_type)
        return inf if rule is None else days_of(rule)


def days_of(rule: RetentionRule) -> float:
    return rule.days or inf


def expired_rule(
    rules: Rules, project: str, tenant: str, event_type: str, age_ms: int
) -> RetentionRule | None:
    """The rule that does not keep an event of this age; None if it is kept."""
    rule = rules.find(project, tenant, event_type)
    return rule if rule is not None and rule.days and age_ms > rule.days * DAY_MS else None


def shortened(promised: Sequence[Rules], new: Rules) -> list[tuple[RetentionRule, float]]:
    """For which events `new` keeps less than the longest of `promised`: as rules with the days of `new`, and
    the days that were promised. A rule without a tenant is for the tenants that no rule names."""
    every = [*promised, new]
    found = []
    for project, tenant, event_type in _cells(every):
        days = new.days(project, tenant, event_type)
        before = max((rules.days(project, tenant, event_type) for rules in promised), default=inf)
        if days < before:
            found.append(
                (RetentionRule(project=project, tenant=tenant, event_type=event_type, days=int(days)), before)
            )
    return found


def promise(promised: Sequence[Rules], new: Rules) -> list[Rules]:
    """What is promised from now on: an event is deleted only when all of these say so.

    Rules that keep nothing shorter replace the others. Rules that keep something shorter are added, and wait
    until a person applies them.
    """
    if not shortened(promised, new):
        return [new]
    return [*promised, *([] if any(rules.all == new.all for rules in promised) else [new])]


def described(rule: RetentionRule) -> str:
    """As in the configuration file."""
    fields = [("project", rule.project), ("tenant", rule.tenant), ("event_type", rule.event_type)]
    named = [f'{name} = "{value}"' for name, value in fields if value]
    return f"[[retention]] {', '.join([*named, f'days = {rule.days}'])}"


def _cells(every: Sequence[Rules]) -> Iterator[tuple[str, str, str]]:
    """One event for each combination that any of the rules may treat differently."""
    for project in sorted(frozenset().union(*(rules.projects for rules in every))):
        rules_of = [rule for rules in every for rule in rules.of_project(project)]
        tenants = {"", *(rule.tenant for rule in rules_of)}
        types = {"", *(rule.event_type for rule in rules_of)}
        for tenant, event_type in product(sorted(tenants), sorted(types)):
            yield project, tenant, event_type
