"""Every kind of event there is: one line each, from which come the filters of the page, the table in EVENTS.md and the message ids of syslog.

The names are stored and sent on, so they stay as they are; what an event says in words is written where it happens.
"""

from enum import StrEnum

from appliance.catalog.models import Level


class Area(StrEnum):
    """What events are about: a filter of the page. `words` are what its kinds begin with, up to a point or an underscore."""

    about: str
    words: tuple[str, ...]

    def __new__(cls, word: str, about: str = "", *more: str) -> "Area":
        area = str.__new__(cls, word)
        area._value_, area.about, area.words = word, about, (word, *more)
        return area

    MACHINE = "machine", "Machines"
    LEASE = "lease", "Leases"
    REQUEST = "request", "Requests"
    SEED = "seed", "Seeds"
    SNAPSHOT = "snapshot", "Snapshots"
    CLASS = "class", "Classes"
    SERVICE = "service", "Services", "replica"
    JOB = "job", "Jobs"
    SCENARIO = "scenario", "Scenario"
    PACKAGES = "packages", "Packages"
    SIGN = "sign", "Sign-ins"
    ACCOUNT = "account", "Accounts"
    GROUP = "group", "Groups"
    ORG = "org", "Org units", "unit"
    GRANT = "grant", "Grants"
    QUOTA = "quota", "Quotas"
    DIRECTORY = "directory", "Directory"
    RUN = "run", "Runs"
    STEP = "step", "Steps of runs"
    TODO = "todo", "Approvals and tasks"
    SEQUENCE = "sequence", "Sequences"
    ACTIVITIES = "activities", "Kinds of activity"
    DATA = "data", "Data disks"
    KEPT = "kept", "Retained disks"
    ASIDE = "aside", "Orphans"
    MAIL = "mail", "E-mail"
    WEBHOOKS = "webhooks", "Webhooks"
    HYPERVISOR = "hypervisor", "Hypervisor"
    SETUP = "setup", "Set-up"
    APPLIANCE = "appliance", "The appliance"
    HOST = "host", "The server"
    NETWORK = "network", "Network"
    CERTIFICATE = "certificate", "Certificate"
    PROXIES = "proxies", "Reverse proxies"
    CLOCK = "clock", "Clock"
    POWER = "power", "Restarts"
    STORAGE = "storage", "Storage"
    DISK = "disk", "Disks of the server"
    UPDATE = "update", "Updates"
    BACKUP = "backup", "Backups"
    CATALOG = "catalog", "Catalog"
    READINGS = "readings", "Readings"
    SUPPORT = "support", "Support"
    SETTINGS = "settings", "Settings"
    AUDIT = "audit", "This record"


AREAS = {word: area for area in Area for word in area.words}
INFO, WARNING, ERROR = Level.INFO, Level.WARNING, Level.ERROR
CHANGE = ("before", "after")


class EventKind(StrEnum):
    """A kind of event: its name, what happened in a sentence, how bad it is unless the call says otherwise, and the fields of its data."""

    text: str
    level: Level
    fields: tuple[str, ...]

    def __new__(cls, name: str, text: str = "", level: Level = INFO, *fields: str) -> "EventKind":
        kind = str.__new__(cls, name)
        kind._value_, kind.text, kind.level, kind.fields = name, text, level, fields
        return kind

    @property
    def area(self) -> Area:
        return AREAS[self.partition(".")[0].partition("_")[0]]

    # -- machines: the states that it comes to, and what else happens to it --
    MACHINE_PLANNED = "machine.planned", "A machine is going to be made."
    MACHINE_CREATING = "machine.creating", "A machine is being made."
    MACHINE_READY = "machine.ready", "A machine waits in the buffer.", INFO, "seconds", "forked"
    MACHINE_ASSIGNED = "machine.assigned", "Somebody got a machine; `hit`: at once.", INFO, "hit"
    MACHINE_IN_USE = "machine.in_use", "A machine is handed over, or is in use again."
    MACHINE_STOPPED = "machine.stopped", "A machine was switched off."
    MACHINE_SUSPENDED = "machine.suspended", "A machine's memory was saved to disk and freed."
    MACHINE_REPROVISIONING = "machine.reprovisioning", "A machine is made anew for whoever holds it."
    MACHINE_RECLAIMING = "machine.reclaiming", "A machine is taken back.", INFO, "hint"
    MACHINE_RETIRED = "machine.retired", "Nothing is left of a machine but its history."
    MACHINE_FAILED = "machine.failed", "A machine could not be made or handed over.", ERROR, "hint"
    MACHINE_QUARANTINED = "machine.quarantined", "A machine is not as it should be, and is left alone.", ERROR
    MACHINE_STOP_ASKED = "machine.stop_asked", "Somebody stops a machine.", INFO, "run"
    MACHINE_START_ASKED = "machine.start_asked", "Somebody starts a machine.", INFO, "run"
    MACHINE_SUSPEND_ASKED = "machine.suspend_asked", "Somebody suspends a machine.", INFO, "run"
    MACHINE_RESUME_ASKED = "machine.resume_asked", "Somebody lets a suspended machine go on.", INFO, "run"
    MACHINE_REPROVISION_ASKED = "machine.reprovision_asked", "Somebody wants a clean machine in place of theirs.", INFO, "run"
    MACHINE_TRANSFER_ASKED = "machine.transfer_asked", "Somebody passes a machine on.", INFO, "run"
    MACHINE_STOP_FAILED = "machine.stop_failed", "A machine could not be stopped.", WARNING, "hint", "run"
    MACHINE_START_FAILED = "machine.start_failed", "A machine could not be started.", WARNING, "hint", "run"
    MACHINE_SUSPEND_FAILED = "machine.suspend_failed", "A machine could not be suspended.", WARNING, "hint", "run"
    MACHINE_RESUME_FAILED = "machine.resume_failed", "A suspended machine could not go on.", WARNING, "hint", "run"
    MACHINE_REPROVISION_FAILED = "machine.reprovision_failed", "A machine could not be made anew.", WARNING, "hint", "run"
    MACHINE_TRANSFER_FAILED = "machine.transfer_failed", "A machine could not be passed on.", WARNING, "hint", "run"
    MACHINE_TRANSFERRED = "machine.transferred", "A machine has another owner.", INFO, *CHANGE
    MACHINE_ENTERED = "machine.entered", "An admin opened the application of somebody's machine.", WARNING
    MACHINE_WATCHED = "machine.watched", "Somebody looks at the screen or serial line of a machine that is not theirs.", WARNING
    MACHINE_TAKEN_OVER = "machine.taken_over", "Somebody can type at the screen or serial line of a machine that is not theirs.", WARNING
    MACHINE_IDLE = "machine.idle", "A machine that nobody used is suspended."
    MACHINE_LEFTOVER = "machine.leftover", "What an interrupted run left was removed.", WARNING
    MACHINE_NOT_FORKED = "machine.not_forked", "A machine could not be forked, and is booted instead.", WARNING, "hint"
    MACHINE_RECOVER = "machine.recover", "A kept disk or a copy becomes a machine again.", INFO, "run"
    MACHINE_RESTORED = "machine.restored", "What became of a machine when a backup was put back."
    MACHINE_RESTS = "machine.rests", "A machine ran that should not, and is off again."
    MACHINE_REVIVED = "machine.revived", "A machine that had gone runs again."
    MACHINE_STALLED = "machine.stalled", "A machine stands still: the appliance's disk is full.", ERROR, "hint"

    MACHINE_RATES = "machine.rates", "Somebody said how fast one machine is at most.", INFO, *CHANGE
    MACHINE_LIMITED = "machine.limited", "Other rates are in force for a machine.", INFO, *CHANGE
    MACHINE_NOT_LIMITED = "machine.not_limited", "A machine is faster than it is to be: the server cannot limit it.", ERROR, "hint"

    LEASE_EXTENDED = "lease.extended", "Somebody extended a lease."
    LEASE_IDLE = "lease.idle", "The owner is warned that nobody seems to use the machine.", WARNING
    LEASE_KEPT = "lease.kept", "The owner still uses a machine that was taken for idle."
    LEASE_KEPT_BUSY = "lease.kept_busy", "A lease has ended, and the machine is kept while it is busy.", WARNING
    LEASE_WARNING = "lease.warning", "The owner is told that the lease ends.", WARNING

    REQUEST_PENDING = "request.pending", "Somebody asks for a machine; others have to agree.", INFO, "hit"
    REQUEST_WAITING = "request.waiting", "Somebody waits for a machine: none is ready.", INFO, "hit"
    REQUEST_CANCELLED = "request.cancelled", "Somebody does not want a machine any more."

    # -- seeds, snapshots, classes --
    SEED_QUEUED = "seed.queued", "A seed is going to be built."
    SEED_BUILDING = "seed.building", "A seed is being built."
    SEED_PROMOTED = "seed.promoted", "New machines are made from this seed."
    SEED_FAILED = "seed.failed", "A seed could not be built.", ERROR, "hint"
    SEED_CANCELLED = "seed.cancelled", "The building of a seed was called off.", INFO, "hint"
    SEED_OFFERED = "seed.offered", "The image brought a newer seed.", INFO, "hint"
    SEED_ADOPTED = "seed.adopted", "A seed that is here is known again."
    SEED_REMOVED = "seed.removed", "The files of a seed were deleted."

    SNAPSHOT_BUILDING = "snapshot.building", "The snapshot of a seed is being taken."
    SNAPSHOT_READY = (
        "snapshot.ready",
        "Machines are forked from a snapshot from now on.",
        INFO,
        "hypervisor",
        "acceleration",
        "machine",
        "cpu",
        "memory",
        "domain",
        "size",
    )
    SNAPSHOT_FAILED = "snapshot.failed", "A snapshot could not be taken; machines are booted.", ERROR, "hint"
    SNAPSHOT_STALE = "snapshot.stale", "A snapshot is no longer used; another is taken.", WARNING

    CLASS_POLICY = "class.policy", "Somebody changed the policy of a class.", INFO, *CHANGE
    CLASS_MAKING = "class.making", "Somebody changed how machines of a class are made.", INFO, *CHANGE
    CLASS_LIFE = "class.life", "Somebody changed the life of machines of a class.", INFO, *CHANGE
    CLASS_CALENDAR = "class.calendar", "Somebody changed the calendar of a class.", INFO, *CHANGE
    CLASS_HOLDS = "class.holds", "Other numbers hold for the pools of a class, by its calendar.", INFO, *CHANGE
    CLASS_FORECAST = "class.forecast", "It was forecast for a week how many machines of a class to keep ready.", INFO, "after"
    CLASS_RULES = "class.rules", "Somebody changed the rules of a class.", INFO, *CHANGE
    CLASS_SCALED = "class.scaled", "A rule made a number of a class's pools another one.", INFO, *CHANGE
    CLASS_NOT_SCALED = "class.not_scaled", "What a rule decided is not carried out.", INFO, *CHANGE
    MACHINE_MEMORY = "machine.memory", "A machine is given memory, or asked to give some back, by its need.", INFO, *CHANGE
    MACHINE_MEMORY_HELD = "machine.memory_held", "A machine's memory is not changed though it should be, or nobody knows.", INFO, *CHANGE
    JOB_SUBMITTED = "job.submitted", "Somebody put jobs into the queue of a class.", INFO, "after"
    JOB_DEAD = "job.dead", "A job is given up: none of its tries came through.", ERROR, "hint"
    JOB_CANCELLED = "job.cancelled", "Somebody took a job out of the queue."
    JOB_AGAIN = "job.again", "Somebody has a job tried again."

    CLASS_ENABLED = "class.enabled", "A class was opened."
    CLASS_DISABLED = "class.disabled", "A class was closed."
    CLASS_DELETED = "class.deleted", "A class was deleted, with its history."
    CLASS_RETRY = "class.retry", "Somebody asked to try at once what failed for a class."
    CLASS_FORK_AGAIN = "class.fork_again", "Somebody asked to try forking a class again."
    CLASS_BOOTED = "class.booted", "Machines of a class are booted for now: forks failed in a row.", ERROR
    CLASS_NOT_HANDED_OVER = (
        "class.not_handed_over",
        "Machines of a class are handed over one at a time: none of the last came through.",
        ERROR,
        "hint",
    )
    CLASS_NO_SEQUENCE = "class.no_sequence", "A class follows no sequence: there is none of that name.", WARNING, "hint"

    # -- services, and the replicas that requests are sent to --
    SERVICE_REFUSED = "service.refused", "A service cannot have the name or path that it is to have.", ERROR, "hint"
    REPLICA_SERVING = "replica.serving", "Requests are sent to a replica."
    REPLICA_DRAINING = "replica.draining", "A replica that is to go gets no new requests."
    REPLICA_DRAINED = "replica.drained", "A replica that was to go serves no longer, and its machine is taken away."
    REPLICA_DOWN = "replica.down", "A replica does not answer: nothing is sent to it.", WARNING
    REPLICA_UP = "replica.up", "A replica answers again."
    REPLICA_REPLACED = (
        "replica.replaced",
        "A replica did not answer for too long: its machine is taken away, and another takes its place.",
        WARNING,
    )
    REPLICA_LOST = "replica.lost", "A replica serves no longer, because its machine went.", WARNING

    # -- people, and what they may --
    SIGN_IN = "sign_in", "Somebody signed in."
    SIGN_IN_FAILED = "sign_in.failed", "Somebody did not get in.", WARNING
    SIGN_IN_SWAPPED = "sign_in.swapped", "A browser was given a session that is not its own.", WARNING, "hint"
    SIGN_OUT = "sign_out", "A session was ended."

    ACCOUNT_CREATED = "account.created", "An account was made.", INFO, "after"
    ACCOUNT_IMPORTED = "account.imported", "Many accounts were made from a table."
    ACCOUNT_CHANGED = "account.changed", "An account was changed.", INFO, *CHANGE
    ACCOUNT_MOVED = "account.moved", "An account belongs to another org unit.", INFO, *CHANGE
    ACCOUNT_PASSWORD = "account.password", "An account has another password."
    ACCOUNT_INVITED = "account.invited", "Somebody was invited to set a password of their own."
    ACCOUNT_RESET_ASKED = "account.reset_asked", "Somebody asked for a way in because they forgot their password."
    ACCOUNT_CODES = "account.codes", "One-time codes of an account were set up or removed."
    ACCOUNT_TOKEN = "account.token", "An API token was made or ended.", INFO, "after"
    ACCOUNT_DEVICE = "account.device", "Somebody approved or denied a program that asked to sign in.", INFO, "after"
    ACCOUNT_DISABLED = "account.disabled", "An account may not sign in any more."
    ACCOUNT_ENABLED = "account.enabled", "An account may sign in again."
    ACCOUNT_DELETED = "account.deleted", "An account was deleted.", INFO, "before"

    GROUP_CREATED = "group.created", "A group was made."
    GROUP_CHANGED = "group.changed", "The directory changed a group.", INFO, *CHANGE
    GROUP_JOINED = "group.joined", "Somebody, or a group, was put into a group."
    GROUP_LEFT = "group.left", "Somebody, or a group, was taken out of a group."
    GROUP_MEMBERS = "group.members", "The directory changed who is in a group.", INFO, "came", "left"
    GROUP_REMOVED = "group.removed", "A group was removed."
    GROUP_DELETED = "group.deleted", "The directory no longer has a group."

    ORG_UNIT_CREATED = "org_unit.created", "An org unit was made."
    ORG_UNIT_CHANGED = "org_unit.changed", "An org unit was renamed or moved.", INFO, *CHANGE
    ORG_UNIT_REMOVED = "org_unit.removed", "An org unit was removed."
    UNIT_CREATED = "unit.created", "The directory brought an org unit."
    UNIT_CHANGED = "unit.changed", "The directory changed an org unit.", INFO, *CHANGE
    UNIT_DELETED = "unit.deleted", "The directory no longer has an org unit."

    GRANT_GIVEN = "grant.given", "Somebody was given a role.", INFO, "after"
    GRANT_TAKEN = "grant.taken", "A role was taken away.", INFO, "before"
    QUOTA_SET = "quota.set", "A quota was set.", INFO, "after"
    QUOTA_REMOVED = "quota.removed", "A quota was removed."

    DIRECTORY_ON = "directory.on", "The directory was switched on."
    DIRECTORY_OFF = "directory.off", "The directory was switched off."
    DIRECTORY_NONE = "directory.none", "Somebody said that there is no directory."
    DIRECTORY_CHANGED = "directory.changed", "The directory is reached in another way.", INFO, *CHANGE
    DIRECTORY_ASKED = "directory.asked", "Somebody asked for a synchronisation.", INFO, "force"
    DIRECTORY_FAILED = "directory.failed", "The directory could not be synchronised.", WARNING, "hint"

    # -- workflow --
    RUN_FAILED = "run.failed", "A run has failed.", WARNING, "hint", "run"
    RUN_CANCELLED = "run.cancelled", "Somebody cancelled a run.", INFO, "run"
    RUN_RETRIED = "run.retried", "Somebody has a run tried again.", INFO, "failed", "run"
    STEP_DONE = "step.done", "An activity is done.", INFO, "run"
    STEP_FAILED = "step.failed", "An activity failed, and was passed over.", WARNING, "hint", "run"
    STEP_NOT_UNDONE = "step.not_undone", "An activity could not be undone.", ERROR, "hint", "run"
    STEP_PASSED_OVER = "step.passed_over", "Somebody passed over an activity that failed.", WARNING, "failed", "run"
    STEP_ANSWERED = "step.answered", "The receiver of a webhook answered.", INFO, "run"

    TODO_OPEN = "todo.open", "Somebody is asked to approve or do something.", INFO, "run"
    TODO_DONE = "todo.done", "Somebody said yes, or has done it.", INFO, "run"
    TODO_REFUSED = "todo.refused", "Somebody said no, or could not do it.", INFO, "run"
    TODO_ESCALATED = "todo.escalated", "Others are asked, because nobody answered or can.", WARNING, "run"

    SEQUENCE_CREATED = "sequence.created", "A sequence was made."
    SEQUENCE_SHIPPED = "sequence.shipped", "The appliance or the scenario brought a sequence, or a newer version."
    SEQUENCE_UNREADABLE = "sequence.unreadable", "A shipped sequence cannot be used.", ERROR
    SEQUENCE_DESCRIBED = "sequence.described", "A sequence has another title or description.", INFO, *CHANGE
    SEQUENCE_EDITED = "sequence.edited", "The draft of a sequence was edited.", INFO, "changes", "seen"
    SEQUENCE_DISCARDED = "sequence.discarded", "A draft was discarded."
    SEQUENCE_TRIED = "sequence.tried", "A draft is tried on a machine."
    SEQUENCE_PROMOTED = "sequence.promoted", "New runs go by this version of a sequence.", INFO, "comment", "changes"
    SEQUENCE_DELETED = "sequence.deleted", "A sequence was deleted."
    ACTIVITIES_MISSING = "activities.missing", "A kind of activity that a package brings cannot be used.", ERROR, "hint"

    SCENARIO_CHANGED = "scenario.changed", "There is another version of the scenario, which counts from now on.", INFO, "comment", "changes"
    SCENARIO_IMPORTED = "scenario.imported", "Somebody sent a scenario; it is not in use yet."
    SCENARIO_DISCARDED = "scenario.discarded", "What was sent was discarded."
    SCENARIO_APPLICATION_WITHDRAWN = "scenario.application_withdrawn", "An application is offered to new classes no more."
    SCENARIO_APPLICATION_OFFERED = "scenario.application_offered", "An application that was withdrawn is offered again."
    SCENARIO_APPLICATION_HIDDEN = (
        "scenario.application_hidden", "One that came with the appliance is called like one of the scenario's, which counts.", INFO, "hint",
    )  # fmt: skip
    SCENARIO_OFFERED = "scenario.offered", "A newer scenario came, and the one here was changed: somebody decides.", INFO, "hint"
    SCENARIO_UNREADABLE = "scenario.unreadable", "A scenario cannot be used; the one before counts on.", ERROR, "hint"

    PACKAGES_ASKED = "packages.asked", "Somebody had the package index of a release read anew."
    PACKAGES_READ = "packages.read", "The package index of a release was read."
    PACKAGES_FAILED = "packages.failed", "The package index of a release could not be read.", WARNING, "hint"

    # -- disks --
    DATA_DISK_MADE = "data_disk.made", "A data disk is made."
    DATA_DISK_ATTACHED = "data_disk.attached", "A machine has a data disk."
    DATA_DISK_FOLLOWED = "data_disk.followed", "A data disk belongs to the owner of what was adopted."
    DATA_DISK_RENAMED = "data_disk.renamed", "A data disk has another name.", INFO, *CHANGE
    DATA_DISK_TROUBLED = "data_disk.troubled", "A data disk could not be used, and is left as it is.", ERROR, "hint"
    DATA_DISK_TRIED_AGAIN = "data_disk.tried_again", "Somebody asked to try a data disk again."
    DATA_DISK_GROWS = "data_disk.grows", "A data disk that fills is made larger, by rule.", INFO, *CHANGE
    DATA_DISK_NOT_GROWN = "data_disk.not_grown", "A data disk that fills is not made larger.", WARNING, *CHANGE
    DATA_DISK_BACKUP_ASKED = "data_disk.backup_asked", "Somebody asked for a copy of a data disk."
    DATA_DISK_COPIED = "data_disk.copied", "A data disk was copied."
    DATA_DISK_NOT_COPIED = "data_disk.not_copied", "A data disk could not be copied.", ERROR, "hint"
    DATA_DISK_RESTORING = "data_disk.restoring", "A data disk is restored from a copy."
    DATA_DISK_NOT_RESTORED = "data_disk.not_restored", "A data disk was not restored."
    DATA_DISK_HANDED_OVER = "data_disk.handed_over", "A data disk became somebody else's, as its owner was deleted."
    DATA_DISK_DELETED = "data_disk.deleted", "Somebody deleted a data disk."
    DATA_DISK_REMOVED = "data_disk.removed", "Nothing is left of a data disk."
    KEPT_DISK_KEPT = "kept_disk.kept", "The disk of a machine that is gone is kept for a while."
    KEPT_DISK_DELETED = "kept_disk.deleted", "Somebody deleted a kept disk."
    KEPT_DISK_REMOVED = "kept_disk.removed", "A kept disk is removed."

    ASIDE_FOUND = "aside.found", "Something is here that the catalog does not know.", WARNING
    ASIDE_ADOPTED = "aside.adopted", "What was set aside belongs to somebody."
    ASIDE_REMOVE_ASKED = "aside.remove_asked", "Somebody has what was set aside removed."
    ASIDE_REMOVED = "aside.removed", "What was set aside is removed.", WARNING

    # -- what it speaks with --
    MAIL_ON = "mail.on", "E-mail was switched on."
    MAIL_OFF = "mail.off", "E-mail was switched off."
    MAIL_CHANGED = "mail.changed", "Mail is sent in another way.", INFO, *CHANGE
    MAIL_REFUSED = "mail.refused", "A mail was not sent.", WARNING, "hint"
    WEBHOOKS_SECRET = "webhooks.secret", "Webhooks of activities, or one of events, are signed with a new secret."
    WEBHOOKS_AUTHORITY = "webhooks.authority", "Webhooks trust other certificates.", INFO, *CHANGE
    WEBHOOKS_CREATED = "webhooks.created", "Another product is told of events from now on.", INFO, "after"
    WEBHOOKS_CHANGED = "webhooks.changed", "A webhook was changed.", INFO, *CHANGE
    WEBHOOKS_DELETED = "webhooks.deleted", "A webhook was deleted."
    WEBHOOKS_DEAD = "webhooks.dead", "Events could not be delivered to a webhook, and are no longer tried.", WARNING, "hint"
    WEBHOOKS_GONE = "webhooks.gone", "The receiver of a webhook wants no more events; the webhook is disabled.", WARNING, "hint"
    WEBHOOKS_SENT_AGAIN = "webhooks.sent_again", "Somebody has an event delivered to a webhook once more."
    HYPERVISOR_AWAY = "hypervisor.away", "The hypervisor does not answer.", ERROR
    HYPERVISOR_BACK = "hypervisor.back", "The hypervisor answers again."

    # -- the appliance and its server --
    SETUP_DONE = "setup.done", "The appliance was set up."
    APPLIANCE_RESTORED = "appliance.restored", "A backup was put in the place of what was here.", WARNING, "hint"
    SETTINGS_CHANGED = "settings.changed", "Settings were changed.", INFO, *CHANGE

    HOST_NAME = "host.name", "The server has another name.", INFO, "hint"
    HOST_SHELL = "host.shell", "Somebody opened or ended a root shell at the screen.", WARNING, "hint"
    NETWORK_CHANGED = "network.changed", "The network settings are others.", INFO, "hint"
    NETWORK_BACK = "network.back", "The old network settings are in use again.", WARNING, "hint"
    CERTIFICATE_CHANGED = "certificate.changed", "The page is served with another certificate.", WARNING, "hint"
    CERTIFICATE_REMOVED = "certificate.removed", "The page is served with the appliance's own certificate again.", WARNING, "hint"
    PROXIES_CHANGED = "proxies.changed", "Other reverse proxies are believed.", WARNING, "hint"
    CLOCK_SERVERS = "clock.servers", "The clock is set by other servers, or by none.", INFO, "hint"
    CLOCK_SET = "clock.set", "The clock was set by hand.", INFO, "hint"
    POWER_RESTART = "power.restart", "The server restarts.", INFO, "hint"
    POWER_OFF = "power.off", "The server is switched off.", INFO, "hint"

    STORAGE_FULL = "storage.full", "The disk is full, or nearly.", ERROR, "hint"
    STORAGE_ROOM = "storage.room", "There is room on the disk again.", INFO, "hint"
    STORAGE_CLEANED = "storage.cleaned", "Downloads for building seeds were deleted."
    STORAGE_USE = "storage.use", "Somebody gives a disk to data."
    STORAGE_MOVING = "storage.moving", "The data moves to another disk.", INFO, "hint"
    DISK_FAILING = "disk.failing", "A disk of the server says that it fails.", ERROR, "hint"

    UPDATE_TAKEN = "update.taken", "Somebody sent an update."
    UPDATE_REFUSED = "update.refused", "An update that was sent is not good."
    UPDATE_SOURCE = "update.source", "Updates are fetched from elsewhere, or not at all."
    UPDATE_FETCHED = "update.fetched", "An update was fetched.", INFO, "hint"
    UPDATE_DISCARDED = "update.discarded", "An update was thrown away."
    UPDATE_BEGUN = "update.begun", "An update is being written."
    UPDATE_INSTALLED = "update.installed", "An update is written; it takes effect with the restart.", INFO, "hint"
    UPDATE_PLANNED = "update.planned", "The appliance is going to restart."
    UPDATE_STAYS = "update.stays", "The restart was called off."
    UPDATE_RESTART = "update.restart", "The appliance restarts into another version.", INFO, "hint"
    UPDATE_NO_RESTART = "update.no_restart", "The restart into another version did not come.", ERROR, "hint"
    UPDATE_UPDATED = "update.updated", "The appliance was updated.", INFO, "hint"
    UPDATE_WENT_BACK = "update.went_back", "The appliance went back to the version before, as somebody wanted.", WARNING, "hint"
    UPDATE_ROLLED_BACK = "update.rolled_back", "An update was not good; the appliance went back by itself.", ERROR, "hint"

    BACKUP_CONFIGURED = "backup.configured", "Backups go somewhere else."
    BACKUP_KEY_NOTED = "backup.key_noted", "Somebody wrote the recovery key down."
    BACKUP_PLANNED = "backup.planned", "Backups are made at other times."
    BACKUP_STOPPED = "backup.stopped", "Backups were switched off.", WARNING
    BACKUP_MADE = "backup.made", "A backup was made; a warning when something is missing in it.", INFO, "hint"
    BACKUP_FAILED = "backup.failed", "A backup failed.", ERROR, "hint"
    BACKUP_CHECKED = "backup.checked", "The backups are whole.", INFO, "hint"
    BACKUP_DAMAGED = "backup.damaged", "The check of the backups failed.", ERROR, "hint"
    BACKUP_RESTORE = "backup.restore", "Somebody puts a backup in the place of what is here.", WARNING
    BACKUP_RESTORE_TESTED = "backup.restore_tested", "The newest backup could be restored, as a test."
    BACKUP_NOT_RESTORABLE = "backup.not_restorable", "The restore test failed.", ERROR, "hint"
    BACKUP_COPIES = "backup.copies", "Copies of data disks were fetched from a backup.", INFO, "hint"

    CATALOG_UNDECIDED = (
        "catalog.undecided",
        "The catalog is not the one that was worked with last; somebody has to decide.",
        ERROR,
        "noted",
        "generation",
    )
    CATALOG_DECIDED = "catalog.decided", "Somebody decided what becomes of what is here.", WARNING, "hint"
    CATALOG_PUT_BACK = "catalog.put_back", "A copy of the catalog was put back.", INFO, "hint"
    READINGS_LOST = "readings.lost", "The file of readings was damaged, and another one was begun.", WARNING, "hint"
    SUPPORT_BUNDLE = "support.bundle", "Somebody made a support bundle."

    AUDIT_VERIFIED = "audit.verified", "Somebody had the record checked; an error when it is not as it was written."
    AUDIT_EXPORTED = "audit.exported", "Somebody exported events."
    AUDIT_FORWARDING = "audit.forwarding", "Events are sent on elsewhere, or cannot be.", INFO, *CHANGE
