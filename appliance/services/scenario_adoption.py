"""The classes of the catalog, brought in line with the scenario."""

from appliance import catalog
from appliance.catalog import Class, Level, options, record, sequences
from appliance.scenario.load import Loaded


def adopt_scenario(loaded: Loaded) -> None:
    """Bring the catalog's classes in line with the scenario: new ones are added, policies an admin changed are kept, missing ones are withdrawn."""
    scenario = loaded.scenario
    with catalog.write():
        there = {sequence.name for sequence in sequences.all()}
        options.put("scenario", {"name": scenario.name, "title": scenario.title, "description": scenario.description})
        for name, described in scenario.classes.items():
            dumped = described.model_dump(mode="json")
            policy, lease, wanted = described.policy, described.lease, described.sequence or described.kind
            if described.sequence not in ("", "none", *there) and not Class.select().where(Class.name == name).exists():
                message = f"{name} follows no sequence: there is no {described.sequence}."
                record("class.no_sequence", message, level=Level.WARNING, class_name=name, hint="Pick another on its page.")
            Class.insert(
                name=name,
                spec=dumped,
                minimum=policy.minimum,
                maximum=policy.maximum,
                buffer=policy.buffer,
                lease_minutes=lease.minutes,
                extend_minutes=lease.extend,
                extensions=lease.extensions,
                per_person=described.per_person,
                fork=described.fork,
                readiness=described.readiness,
                data_disk=described.size.data,
                sequence=wanted if wanted in there else "",
                at_once=described.at_once,
                together_minutes=described.together,
                idle_minutes=lease.idle.minutes,
                idle_grace=lease.idle.warning,
                idle_then=lease.idle.then,
                connect_minutes=lease.connect,
                warn_first=lease.warnings.first,
                warn_last=lease.warnings.last,
                busy_grace=lease.busy,
            ).on_conflict(conflict_target=[Class.name], update={Class.spec: dumped}).execute()
        Class.update(enabled=False).where(Class.name.not_in(list(scenario.classes))).execute()
