"""Every verb of the pages has its twin in the API, over the same permission, or stands here with the reason why it does not yet."""

import pytest
from flask import Flask

pytestmark = pytest.mark.api

# What changes something on a page, and the call that does the same.
TWINS = {
    "accounts.bulk": "enable_account",
    "accounts.change": "put_account",
    "accounts.enabled": "disable_account",
    "accounts.delete": "delete_account",
    "accounts.new": "new_account",
    "console.ticket": "console",
    "backups.run": "back_up",
    "backups.test_restore": "test_restore",
    "backups.verify": "verify_backups",
    "calendar.delete": "put_policy",
    "calendar.move": "put_policy",
    "calendar.one_off": "put_policy",
    "calendar.window": "put_policy",
    "job_queue.again": "retry_job",
    "job_queue.cancel": "cancel_job",
    "job_queue.submit": "submit_jobs",
    "rules.delete": "put_policy",
    "rules.save": "put_policy",
    "choices.ask": "claim",
    "classes.build": "build_seed",
    "classes.enabled": "enable_class",
    "classes.fork_again": "fork_again",
    "classes.life": "put_policy",
    "classes.making": "put_policy",
    "classes.policy": "put_policy",
    "classes.reset": "put_policy",
    "classes.retry": "retry_class",
    "classes.use_shipped": "use_shipped",
    "disks.back_up": "back_up_data_disk",
    "disks.bring_back": "restore_retained_disk",
    "disks.delete": "delete_data_disk",
    "disks.forget": "delete_retained_disk",
    "disks.rename": "rename_data_disk",
    "disks.try_again": "retry_data_disk",
    "events.check": "check_events",
    "grants.give": "put_grant",
    "grants.remove_quota": "delete_quota",
    "grants.set_quota": "put_quota",
    "grants.take": "delete_grant",
    "groups.add": "put_members",
    "groups.bulk": "delete_group",
    "groups.nest": "put_members",
    "groups.new": "new_group",
    "groups.remove": "delete_group",
    "groups.take_out": "put_members",
    "machines.bulk": "admin_reclaim",
    "own_applications.offer": "offer_application",
    "own_applications.remove": "remove_application",
    "own_applications.take": "upload_application",
    "own_applications.withdraw": "withdraw_application",
    "packages.refresh": "refresh_packages",
    "portal.ask": "claim",
    "portal.cancel": "cancel_request",
    "portal.dismiss": "dismiss_request",
    "portal.extend": "extend",
    "portal.extend_together": "extend_together",
    "portal.move": "move",
    "portal.release": "release",
    "portal.release_together": "release_together",
    "portal.still_here": "still_here",
    "portal.transfer": "transfer",
    "runs.bulk": "cancel_run",
    "runs.cancel": "cancel_run",
    "runs.retry": "retry_run",
    "runs.skip": "skip_run",
    "seeds.bulk": "delete_seed",
    "seeds.cancel": "cancel_seed",
    "seeds.promote": "promote_seed",
    "seeds.remove": "delete_seed",
    "sequences.create": "put_sequence",
    "sequences.delete": "delete_sequence",
    "sequences.discard": "discard_draft",
    "sequences.import_file": "put_sequence",
    "sequences.import_new": "put_sequence",
    "sequences.promote": "promote_sequence",
    "sequences.put_back": "put_sequence",
    "sequences.remove": "put_sequence",
    "sequences.roll_back": "roll_back_sequence",
    "sequences.save_activity": "put_sequence",
    "sequences.shift": "put_sequence",
    "signins.invite": "invite_account",
    "signins.password": "set_password",
    "signins.withdraw": "withdraw_invitation",
    "todo.answer": "answer_todo",
    "updates.fetch": "fetch_update",
    "updates.install": "install_update",
    "updates.restart": "restart_into_update",
    "units.bulk": "delete_unit",
    "units.change": "put_unit",
    "units.move": "move_accounts",
    "units.new": "new_unit",
    "units.remove": "delete_unit",
    "webhooks.bulk": "send_again",
    "webhooks.change": "put_webhook",
    "webhooks.create": "new_webhook",
    "webhooks.delete": "delete_webhook",
    "webhooks.new_secret": "new_webhook_secret",
    "webhooks.ping": "ping_webhook",
    "webhooks.send_dead_again": "send_dead_again",
}  # fmt: skip

# Where the permission of the page is another, and why.
OWN = "the scope machines reaches the account's own alone, and always did"
OTHER_PERMISSION = {
    "extend": f"{OWN}; admin_extend is for others'",
    "move": f"{OWN}; admin_move is for others'",
    "release": f"{OWN}; admin_reclaim is for others'",
    "back_up_data_disk": f"{OWN}; for others' there is none yet",
    "delete_data_disk": f"{OWN}; for others' there is none yet",
    "restore_retained_disk": f"{OWN}; for others' there is none yet",
    "rename_data_disk": f"{OWN}; for others' there is none yet",
    "retry_data_disk": f"{OWN}; for others' there is none yet",
    "delete_retained_disk": f"{OWN}; for others' there is none yet",
    "still_here": f"{OWN}; for others' there is none yet",
}

PERSONAL = "it is what a person shows they are with, which a token must not be able to change"
SESSION = "it is about the browser itself"
HOST = "it is dpe-host's, and most of it takes the network or the server away: it comes with operations as things of the API"
FILE = "it is an upload of hundreds of MB, or a folder: it comes with uploads in the API"
LATER = "not yet: a small verb for which nobody asked so far"
NOT_YET = {
    "auth.code": SESSION,
    "auth.end_others": SESSION,
    "auth.end_session": SESSION,
    "auth.sign_in": SESSION,
    "auth.sign_out": SESSION,
    "auth.keys": PERSONAL,
    "auth.remove_key": PERSONAL,
    "auth.password": PERSONAL,
    "security.*": PERSONAL,
    "auth.new_password": PERSONAL,
    "password_links.*": "it is for who has no session and no token",
    "signins.codes_off": PERSONAL,
    "signins.end_session": PERSONAL,
    "signins.end_token": PERSONAL,
    "setup.machines": "before set-up there is nobody whose token it could be",
    "setup.wizard": "before set-up there is nobody whose token it could be",
    "setup_restore.begin": "before set-up there is nobody whose token it could be",
    "device.approve": PERSONAL,
    "device.deny": PERSONAL,
    "device.begin": "it is a call for programs already, of those that have no token yet",
    "device.collect": "it is a call for programs already, of those that have no token yet",
    "hooks.answer": "it is a call for programs already, with a token of its own in its address",
    **{f"backups.{verb}": HOST for verb in ("configure", "copies", "noted", "plan", "restore", "show_key", "stop", "test")},
    "logs.*": HOST,
    "server.*": HOST,
    "storage.*": HOST,
    **{f"updates.{verb}": HOST for verb in ("back", "discard", "source", "stay")},
    "updates.take": FILE,
    "importing.index": FILE,
    "aside.*": LATER,
    "data_disks.*": LATER,
    "auth.language": "it is about how a person reads pages; the API is in English",
    "choices.look": "it shows what a form comes to and changes nothing",
    "choices.keep": "it is about how a person fills in a form",
    "choices.drop": "it is about how a person fills in a form",
    "directory.*": LATER,
    "events.forwarding": LATER,
    "own_applications.discard": "nothing waits of what a program sends: it is taken or refused",
    "own_applications.make": "it shows what a form comes to; a program sends the zip",
    "own_applications.send": "it shows what was sent; a program has it taken at once",
    "rules.preview": "it is asked of a form and changes nothing",
    "forecast.what_if": "it is asked of a form and changes nothing; who may read a class's forecast by API comes with charts in the API",
    "outside.*": LATER,
    "preferences.*": LATER,
    "recovery.bring_back": LATER,
    "saved_views.*": "it is about how a person looks at pages",
    "scenario.*": FILE,
    "class_form.*": "it makes a version of the scenario, whose calls come together",
    "sequences.check_activity": "it looks at a form while it is filled in; a PUT of a sequence says what is wrong",
    "sequences.describe": LATER,
    "sequences.try_draft": LATER,
}


def verbs(app: Flask) -> set[str]:
    """The endpoints of pages that change something."""
    found = {rule.endpoint for rule in app.url_map.iter_rules() if {"POST", "PUT", "DELETE"} & (rule.methods or set())}
    return {name for name in found if not name.startswith(("api.", "moved."))}


def reason(name: str) -> str:
    return NOT_YET.get(name) or NOT_YET.get(f"{name.split('.')[0]}.*") or ""


def test_every_verb_of_the_pages_has_a_twin_or_a_reason(app: Flask) -> None:
    found = verbs(app)
    assert {name for name in found if name not in TWINS and not reason(name)} == set()
    assert {name for name in TWINS if reason(name)} == set(), "it is there now"
    assert set(TWINS) <= found
    assert {name for name in NOT_YET if not any(name in (one, f"{one.split('.')[0]}.*") for one in found)} == set(), (
        "no page does that any more"
    )


def test_a_twin_asks_for_the_same_permission(app: Flask) -> None:
    other: dict[str, tuple[str, str]] = {}
    for page, call in TWINS.items():
        theirs, ours = (app.view_functions[name].need for name in (page, f"api.{call}"))  # type: ignore[attr-defined]
        if theirs.permission != ours.permission:
            other[call] = (theirs.permission, ours.permission)
    assert other.keys() == OTHER_PERMISSION.keys()
