"""Which Debian package brings each program that the code and its tests start, and the tests that start those of packages-test once."""

from appliance.settings import REPOSITORY

# What is there on a bare Debian with git and make.
BASE = {
    "apt",
    "bash",
    "coreutils",
    "dash",
    "dpkg",
    "e2fsprogs",
    "git",
    "grep",
    "make",
    "mount",
    "passwd",
    "perl-base",
    "sed",
    "tar",
    "util-linux",
}

PROGRAMS = {
    "apparmor_parser": "apparmor",
    "apt-cache": "apt",
    "apt-get": "apt",
    "base64": "coreutils",
    "bash": "bash",
    "blkdiscard": "util-linux",
    "blkid": "util-linux",
    "bwrap": "bubblewrap",
    "cat": "coreutils",
    "chmod": "coreutils",
    "chromium-headless-shell": "chromium-headless-shell",
    "chroot": "coreutils",
    "cp": "coreutils",
    "curl": "curl",
    "debugfs": "e2fsprogs",
    "df": "coreutils",
    "du": "coreutils",
    "dpkg": "dpkg",
    "e2fsck": "e2fsprogs",
    "e2image": "e2fsprogs",
    "env": "coreutils",
    "fallocate": "util-linux",
    "findmnt": "util-linux",
    "fish": "fish",
    "git": "git",
    "gpg": "gpg",
    "gpgconf": "gpgconf",
    "grub-editenv": "grub-common",
    "haproxy": "haproxy",
    "id": "coreutils",
    "ionice": "util-linux",
    "ip": "iproute2",
    "journalctl": "systemd",
    "kill": "procps",
    "libvirtd": "libvirt-daemon",
    "losetup": "mount",
    "ls": "coreutils",
    "lsblk": "util-linux",
    "lscpu": "util-linux",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "mkfifo": "coreutils",
    "mkfs.ext4": "e2fsprogs",
    "mkswap": "util-linux",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "mv": "coreutils",
    "networkctl": "systemd",
    "nft": "nftables",
    "nginx": "nginx",
    "nice": "coreutils",
    "nsenter": "util-linux",
    "perl": "perl-base",
    "ps": "procps",
    "python3": "python3-venv",
    "qemu-img": "qemu-utils",
    "qemu-io": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "rauc": "rauc",
    "restic": "restic",
    "rm": "coreutils",
    "runuser": "util-linux",
    "setpriv": "util-linux",
    "setsid": "util-linux",
    "sfdisk": "fdisk",
    "sh": "dash",
    "slapadd": "slapd",
    "slapd": "slapd",
    "sleep": "coreutils",
    "ss": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "ssh-keyscan": "openssh-client",
    "sshd": "openssh-server",
    "stat": "coreutils",
    "sync": "coreutils",
    "systemctl": "systemd",
    "systemd-analyze": "systemd",
    "systemd-run": "systemd",
    "tar": "tar",
    "tc": "iproute2",
    "timedatectl": "systemd",
    "tini": "tini",
    "truncate": "coreutils",
    "tune2fs": "e2fsprogs",
    "udevadm": "udev",
    "umount": "mount",
    "unshare": "util-linux",
    "useradd": "passwd",
    "virsh": "libvirt-clients",
    "virt-clone": "virtinst",
    "virt-xml-validate": "libvirt-clients",
    "wipefs": "util-linux",
    "zsh": "zsh",
}

# What is started inside seeds, or by `make image` in a tree that packages-tools fills, or by nobody.
ELSEWHERE = {
    "dpe",
    "dpkg-query",
    "linux-version",
    "ln",
    "mktirfs",
    "zstd",
    "echo",
    "false",
    "host",
    "login",
    "no-such-program",
    "test",
    "true",
}

# What a machine's own shell is asked for.
IN_MACHINES = {"systemctl"}

# Of packages that tests need besides: a test that starts what they bring. The tier fresh runs all of these on a bare Debian.
STARTED_BY = {
    "apparmor": "tests/unit/repository/test_units.py::test_the_profile_of_machines_is_read_and_names_no_secret_of_ours",
    "chromium-headless-shell": "tests/browser/test_pages.py::test_signing_in_and_out",
    "curl": "tests/integration/test_door.py::test_over_http2_many_cookies_are_no_trouble_and_too_many_are_answered_in_our_words[None]",
    **{
        shell: f"tests/integration/programs/test_command.py::test_a_shell_completes_commands_options_and_names_of_machines[{shell}]"
        for shell in ("fish", "zsh")
    },
    **dict.fromkeys(("gpg", "gpg-agent", "gpgconf"), "tests/integration/programs/test_packages.py"),
    "openssh-server": "tests/integration/test_backup.py::test_over_ssh_with_a_key_of_the_appliance_and_a_server_that_was_confirmed",
    "slapd": "tests/integration/test_directory.py::test_people_sign_in_over_every_encryption[starttls]",
    "systemd": "tests/unit/repository/test_units.py::test_systemd_has_nothing_to_object_to",
}
# Fonts are seen, not started; firmware is for the image's tests, and virt-clone for a benchmark, which take too long.
NOT_STARTED = {"fonts-dejavu-core", "fonts-liberation", "ovmf", "virtinst"}

# One test more for each of the appliance's own programs that tests start by themselves.
ALSO = (
    "tests/unit/repository/test_docs.py::test_make_help_tells_every_target_and_is_what_make_does_alone",
    "tests/unit/repository/test_units.py::test_the_firewall_is_read_by_nft_and_opens_the_doors_alone",
    "tests/integration/programs/test_run.py",
    "tests/integration/test_hypervisor_daemon.py::test_it_sees_only_its_own",
)


def listed(name: str) -> set[str]:
    """The packages of one of image-build's lists."""
    return {line for line in (REPOSITORY / "image-build" / name).read_text().splitlines() if line and not line.startswith("#")}


def brought() -> set[str]:
    """What `make setup-test` installs."""
    return listed("packages") | listed("packages-test")
