"""A scenario that leaves something open, and builds that take no time, for tests of the user's choice."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import DpeError
from appliance.lifecycle import seed_builds
from appliance.seeds import recipe
from appliance.seeds.build import SeedFiles, SeedJob, load_files, seed_folder
from appliance.settings import Settings

SCENARIO = """\
name: studio
title: What you like
classes:
  studio:
    title: Studio
    os: debian-13
    roles: [base]
    size: {memory: 256, disk: 2}
    application: {port: 8080}
    policy: {buffer: 0, maximum: 20}
    lease: {minutes: 60}
    sequence: none
    fork: false
    readiness: running
    per_person: 2
    choice:
      os: [debian-12, debian-13]
      applications: [a, b]
      packages: true
      memory: 1024
      disk: 4
      lease: 240
"""


def write(folder: Path, text: str = SCENARIO) -> Path:
    """The scenario's folder, below this one."""
    made = folder / "studio"
    for role in ("base", "a", "b"):
        (made / "roles" / role / "tasks").mkdir(parents=True)
        (made / "roles" / role / "tasks/main.yml").write_text("- ansible.builtin.command: 'true'\n")
    (made / "scenario.yml").write_text(text)
    return made


@dataclass
class Builds:
    """In place of `seeds.build.build`: files of a few bytes; `jobs` are those that came, `fails` by role."""

    jobs: list[SeedJob] = field(default_factory=list)
    fails: dict[str, DpeError] = field(default_factory=dict)

    def __call__(self, job: SeedJob, settings: Settings, progress: Callable[..., None], *_: Any) -> SeedFiles:
        self.jobs.append(job)
        for role in job.spec.roles:
            if role in self.fails:
                raise self.fails[role]
        folder = seed_folder(job.class_name, job.version, settings)
        if folder.exists():
            return load_files(job.class_name, job.version, settings)  # as the real one, when it was cut off after it
        folder.mkdir(parents=True)
        files = {}
        for name in ("disk.qcow2", "vmlinuz", "initrd"):
            (folder / name).write_bytes(job.name.encode())
            files[name] = {"size": len(job.name), "sha256": ""}
        manifest = {"class": job.class_name, "version": job.version, "os": job.spec.os, "cmdline": "", "files": files}
        (folder / "seed.json").write_text(json.dumps({**manifest, "recipe": recipe.digest(job.spec, job.scenario.resolve())}))
        return load_files(job.class_name, job.version, settings)


def fake_builds(monkeypatch: Any) -> Builds:
    """Have every build be one of these."""
    made = Builds()
    monkeypatch.setattr(seed_builds, "build", made)
    return made
