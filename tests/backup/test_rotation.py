"""Which backups go and which stay."""

import random

from nealytics.backup.rotation import DAY_MS, Found, base_for, expired, keep_until_ms

NOW = 100 * DAY_MS


def found(age_days: float, base_age: float | None = None, *, complete: bool = True) -> Found:
    base = None if base_age is None else f"{1000 - base_age:08.3f}"
    return Found(f"{1000 - age_days:08.3f}", NOW - round(age_days * DAY_MS), complete, base)


def ages(backups: list[Found]) -> list[float]:
    return [(NOW - backup.began_ms) / DAY_MS for backup in backups]


def test_the_base_is_the_newest_whole_backup_while_it_is_young():
    backups = [found(9), found(3), found(1, 3), found(2, complete=False)]
    assert base_for(backups, NOW, 7) == found(3)
    assert base_for(backups, NOW, 3) is None
    assert base_for([], NOW, 7) is None


def test_a_base_stays_as_long_as_a_backup_that_needs_it():
    backups = [found(40), found(34, 40), found(33), found(32, 33), found(28, 33), found(0)]
    # The whole one of 33 days ago is needed by the one of 28 days ago.
    assert ages(expired(backups, NOW, 30)) == [34, 32, 40]


def test_the_base_of_a_backup_elsewhere_stays():
    backups = [found(50), found(40), found(0)]
    assert ages(expired(backups, NOW, 30, needed=[backups[0].name])) == [40]


def test_the_newest_complete_backup_is_never_deleted():
    assert expired([found(90)], NOW, 30) == []
    assert expired([found(95), found(90, 95)], NOW, 30) == []
    assert ages(expired([found(90), found(40, complete=False)], NOW, 30)) == [40]


def test_a_backup_that_is_not_complete_goes_after_a_day():
    backups = [found(0), found(0.5, complete=False), found(2, complete=False)]
    assert ages(expired(backups, NOW, 30)) == [2]


def test_whatever_is_there_no_kept_backup_lacks_its_base():
    chance = random.Random(12)
    for _ in range(500):
        whole = [found(chance.randrange(1, 90)) for _ in range(chance.randrange(1, 6))]
        more = []
        for base in chance.choices(whole, k=8):
            age = chance.uniform(0, ages([base])[0])
            more.append(found(age)._replace(base=base.name, complete=chance.random() > 0.2))
        backups = [*whole, *more]
        gone = {backup.name for backup in expired(backups, NOW, chance.randrange(1, 60))}
        kept = [backup for backup in backups if backup.name not in gone and backup.complete]
        assert kept
        assert not gone & {backup.base for backup in kept}


def test_a_whole_backup_is_kept_until_the_last_that_may_need_it_goes():
    assert keep_until_ms(0, 30, 7, full=True) == 37 * DAY_MS
    assert keep_until_ms(0, 30, 7, full=False) == 30 * DAY_MS
    # A base is younger than `full_days` when the last backup is based on it.
    assert base_for([found(7)], NOW, 7) is None
