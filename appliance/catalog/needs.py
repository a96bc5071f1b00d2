"""What of the catalog's own state needs somebody, asked by every page of who can mend it: a statement for classes and what belongs to them,
and one for the appliance as a whole. What is to be done about it says services/needs.py."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.grants import Location
from appliance.catalog.models import now, stamp

OPTIONS = ("mail", "directory", "undecided", "trends", "machine_names")


class Fact(NamedTuple):
    """Something that is so, of a kind of services/needs.py: about which thing, called how, how many there are, and what went wrong.

    `class_name` and `unit` say where it is, for who reaches no more than that.
    """

    kind: str
    class_name: str | None
    unit: int | None
    id: str
    name: str
    number: int
    why: str

    @property
    def location(self) -> Location:
        return Location(
            frozenset() if self.unit is None else frozenset({self.unit}),
            frozenset() if self.class_name is None else frozenset({self.class_name}),
        )


_TITLE = "json_extract(class.spec, '$.title')"
# Machines and disks are counted by class and unit of their owners, however many they are. Of a class without a seed the number is 0.
_FACTS = f"""
    SELECT 'seed', class.name, NULL, cast(seed.id AS TEXT), {_TITLE},
        (SELECT count(*) FROM seed AS used WHERE used.class_name = class.name AND used.promoted = 1), seed.problem
    FROM seed JOIN class ON class.name = seed.class_name
    WHERE seed.state = 'failed' AND NOT EXISTS (
        SELECT 1 FROM seed AS later WHERE later.class_name = seed.class_name AND later.version > seed.version AND later.state <> 'cancelled')
    UNION ALL
    SELECT iif(machine.state = 'failed', 'machine', 'quarantine'), machine.class_name, account.org_unit_id,
        min(machine.id), min(machine.name), count(*), max(machine.problem)
    FROM machine LEFT JOIN account ON account.id = machine.owner_id
    WHERE machine.state <> 'retired' AND machine.state IN ('failed', 'quarantined')
    GROUP BY machine.state, machine.class_name, account.org_unit_id
    UNION ALL
    SELECT 'class', name, NULL, name, {_TITLE}, failures, problem FROM class WHERE problem <> ''
    UNION ALL
    SELECT 'handover', class.name, NULL, class.name, {_TITLE}, sum(in_a_row), max(handover.problem)
    FROM handover JOIN class ON class.name = handover.class_name WHERE in_a_row > 0 GROUP BY class.name
    UNION ALL
    SELECT 'snapshot', class.name, NULL, class.name, {_TITLE}, snapshot.attempts, snapshot.problem
    FROM snapshot JOIN seed ON seed.id = snapshot.seed_id AND seed.promoted = 1 JOIN class ON class.name = seed.class_name AND class.fork = 1
    WHERE snapshot.state = 'failed'
    UNION ALL
    SELECT 'offer', class.name, NULL, class.name, {_TITLE}, 1, ''
    FROM option JOIN json_each(option.value) AS offered JOIN class ON class.name = offered.key WHERE option.name = 'offered_seeds'
    UNION ALL
    SELECT 'disk', data_disk.class_name, account.org_unit_id, min(data_disk.id), min(data_disk.name), count(*), max(data_disk.problem)
    FROM data_disk LEFT JOIN account ON account.id = data_disk.account_id
    WHERE data_disk.state = 'troubled' GROUP BY data_disk.class_name, account.org_unit_id
"""  # noqa: S608 - constants


def facts() -> list[Fact]:
    """What needs somebody of classes, seeds, machines and data disks."""
    return [Fact(*row) for row in rows(_FACTS)]


@dataclass(frozen=True)
class Appliance:
    """The appliance as a whole: how many machines and disks of people are set aside, why the last synchronisation with the directory failed (empty when
    it did not), who holds everything, how many may sign in (no more than two are counted), whether any class has a seed, whether a newer scenario came that
    nobody decided about; how many webhooks have events that were given up; and OPTIONS."""

    orphans: int
    directory_problem: str
    owners: int
    people: int
    has_seed: bool
    scenario_offered: bool
    webhooks: int
    options: dict[str, Any]


_APPLIANCE = f"""
    SELECT
        (SELECT count(*) FROM aside WHERE kind IN ('machine', 'data_disk', 'kept_disk')),
        coalesce((SELECT iif(state = 'failed', problem, '') FROM directory_run WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT 1), ''),
        (SELECT count(*) FROM (
            SELECT DISTINCT account_id, group_id, permit.org_unit_id FROM permit LEFT JOIN account ON account.id = permit.account_id
            WHERE role = 'owner' AND over_unit_id IS NULL AND over_class IS NULL AND coalesce(account.disabled, 0) = 0
            AND (starts_at IS NULL OR starts_at <= ?1) AND (ends_at IS NULL OR ends_at > ?1))),
        (SELECT count(*) FROM (SELECT 1 FROM account WHERE disabled = 0 LIMIT 2)),
        EXISTS (SELECT 1 FROM seed WHERE promoted = 1),
        EXISTS (SELECT 1 FROM scenario_version WHERE state = 'offered'),
        (SELECT count(*) FROM webhook WHERE EXISTS (SELECT 1 FROM webhook_delivery WHERE webhook_id = webhook.id AND state = 'dead')),
        (SELECT json_group_object(name, json(value)) FROM option WHERE name IN ({", ".join(f"'{name}'" for name in OPTIONS)}))
"""  # noqa: S608 - constants


def appliance() -> Appliance:
    """How the appliance as a whole stands."""
    orphans, directory, owners, people, has_seed, offered, webhooks, options = rows(_APPLIANCE, (stamp(now()),))[0]
    known = {name: {} for name in OPTIONS} | json.loads(options)
    return Appliance(orphans, directory, owners, people, bool(has_seed), bool(offered), webhooks, known)
