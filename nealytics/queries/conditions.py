"""Conditions on events, combined: what `filter` and `any` accept.

    condition = <filter>                     a comparison, see `filters`
              | not:<condition>              events that do not match it
              | <segment>                    what its user or session did, see `segments`
    tree      = condition
              | {"and": [tree, …]} | {"or": [tree, …]} | {"not": tree}     in JSON only

`any=<condition>` is a group of conditions, of which an event must match one; `any=2:<condition>` belongs to
another group. NOT is the complement: `not:user_id:eq:ada` matches events without a user.

`Conditions` reads those of one question and limits what they cost together.
"""

import re
from collections.abc import Sequence
from typing import Any, Final

from nealytics.config import SegmentRule
from nealytics.errors import Refused
from nealytics.queries.filters import Bind, Condition, Filter, check_text, parse_filter
from nealytics.queries.invalid import invalid, shown
from nealytics.queries.segments import DAY_MS, SAVED, Saved, Within, is_segment, parse_segment

NODES_MAX: Final = 100
ANY_MAX: Final = 50
DEPTH_MAX: Final = 8
SEGMENTS_MAX: Final = 5
PATTERNS_MAX: Final = 10
GROUPS_MAX: Final = 10

NOT: Final = "not:"
_GROUPED = re.compile(rf"(?:(?P<group>[1-9]|{GROUPS_MAX}):)?(?P<condition>.*)", re.DOTALL)
_NUMBERED = re.compile("[0-9]+:")
_HOW_TREE = (
    'Write "<field>:<op>:<value>", {"and": […]}, {"or": […]} or {"not": …}; each list has at least one entry.'
)


class All(Condition, frozen=True):
    of: tuple[Condition, ...]

    def sql(self, bind: Bind) -> str:
        return f"({' AND '.join(one.sql(bind) for one in self.of)})"


class Either(Condition, frozen=True):
    of: tuple[Condition, ...]

    def sql(self, bind: Bind) -> str:
        return f"({' OR '.join(one.sql(bind) for one in self.of)})"


class Not(Condition, frozen=True):
    of: Condition

    def sql(self, bind: Bind) -> str:
        return f"(NOT {self.of.sql(bind)})"


class Conditions:
    """The conditions of one question. Each method raises `Refused` (400) for the field `name`.

    Without `within`, segments are refused.
    """

    def __init__(self, within: Within | None = None, saved: Saved | None = None, now_ms: int = 0) -> None:
        self._within = within
        self._saved = saved or {}
        self._now_ms = now_ms
        self._counts: dict[str, int] = {}
        self._in_saved = False
        self._in_brackets = False

    def of_text(self, name: str, text: str) -> Condition:
        check_text(name, text)
        self._count(name, "conditions", NODES_MAX, text)
        negated = 0
        while text.startswith(NOT):
            negated, text = negated + 1, text[len(NOT) :]
            self._check_depth(name, negated)
        found = self._segment(name, text) if is_segment(text) else parse_filter(name, text)
        if isinstance(found, Filter) and found.op == "matches":
            self._count(name, "regular expressions", PATTERNS_MAX, text)
        return Not(found) if negated % 2 else found

    def of_tree(self, name: str, tree: Any, depth: int = 1) -> Condition:
        if isinstance(tree, str):
            return self.of_text(name, tree)
        self._check_depth(name, depth)
        if not isinstance(tree, dict) or len(tree) != 1:
            raise invalid(name, f"{name} has {shown(str(tree))}, which is not a condition", _HOW_TREE)
        ((operator, inner),) = tree.items()
        if operator == "not":
            self._count(name, "conditions", NODES_MAX, operator)
            return Not(self.of_tree(name, inner, depth + 1))
        if operator not in ("and", "or") or not isinstance(inner, list) or not inner:
            raise invalid(name, f"{name} has {shown(str(tree))}, which is not a condition", _HOW_TREE)
        self._count(name, "conditions", NODES_MAX, operator)
        of = tuple(self.of_tree(name, one, depth + 1) for one in inner)
        return All(of) if operator == "and" else Either(of)

    def of_groups(self, name: str, texts: Sequence[str]) -> list[Condition]:
        """One condition for each group."""
        groups: dict[str, list[Condition]] = {}
        for text in texts:
            parts = _GROUPED.fullmatch(text)
            assert parts is not None, "it matches every text"
            if parts["group"] is None and _NUMBERED.match(text):
                raise invalid(
                    name,
                    f"{name} is {shown(text)}, and there is no such group",
                    f"Write {name}=<group>:<field>:<op>:<value>, with a group from 1 to {GROUPS_MAX}.",
                )
            groups.setdefault(parts["group"] or "1", []).append(self.of_text(name, parts["condition"]))
        return [Either(tuple(group)) for group in groups.values()]

    def of_rule(self, name: str, rule: SegmentRule) -> Condition:
        """A saved segment."""
        return All((*(self.of_text(name, text) for text in rule.filter), *self.of_groups(name, rule.any)))

    def _segment(self, name: str, text: str) -> Condition:
        if self._within is None:
            raise invalid(
                name,
                f"{name} is {shown(text)}, and {name} accepts no segment"
                + (" in the brackets of another one" if self._in_brackets else ""),
                "Write <field>:<op>:<value> there, or two filters."
                if self._in_brackets
                else "Use filter=… for a segment.",
            )
        if not text.startswith(f"{SAVED}("):  # of which the segments inside count
            self._count(name, "segments", SEGMENTS_MAX, text)
        return parse_segment(
            name, text, self._within, self._now_ms, lambda inner: self._inside(name, inner), self._named(name)
        )

    def _inside(self, name: str, text: str) -> Condition:
        """The condition of a segment, which has no segments itself."""
        within, self._within, self._in_brackets = self._within, None, True
        try:
            return self.of_text(name, text)
        finally:
            self._within, self._in_brackets = within, False

    def _named(self, name: str) -> Any:
        def saved(called: str) -> Condition:
            rule = self._saved.get(called)
            if rule is None or self._in_saved:
                raise invalid(
                    name,
                    f"{name} names the segment {shown(called)}, which "
                    + ("is inside of another saved one" if self._in_saved else "is not saved"),
                    (
                        f"Saved are {', '.join(sorted(self._saved)[:20])}."
                        if self._saved
                        else "No segments are saved for this project."
                    )
                    + " The operator saves segments under [[segment]] in the configuration.",
                )
            self._in_saved = True
            try:
                return self.of_rule(name, rule)
            except Refused as refused:
                # Its conditions are not what the client wrote.
                problem = f"in the segment {shown(called)}, {refused.message}"
                raise invalid(name, problem, refused.detail) from refused
            finally:
                self._in_saved = False

        return saved

    def _count(self, name: str, what: str, most: int, text: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1
        if self._counts[what] > most:
            raise invalid(
                name,
                f"{name} has more than {most} {what}; the next is {shown(text)}",
                f"Write at most {most} {what} in one question.",
            )

    def _check_depth(self, name: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise invalid(
                name, f"{name} is nested {depth} deep", f"Nest conditions at most {DEPTH_MAX} deep."
            )


def problems(rules: Sequence[SegmentRule]) -> list[str]:
    """What is wrong with saved segments, for the operator."""
    found = []
    for place, rule in enumerate(rules):
        try:
            Conditions(Within(0, DAY_MS)).of_rule(f"segment[{place}]", rule)
        except Refused as refused:
            found.append(f"config: {refused.message}. {refused.detail}")
    return found


def parse_condition(name: str, text: str) -> Condition:
    """A condition without segments. Raises `Refused` (400) for the field `name`."""
    return Conditions().of_text(name, text)
