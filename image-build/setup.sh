#!/bin/sh
# Makes a plain Debian 12 or 13 ready for `make run`, or with the argument "test" for `make test`: packages, users,
# Python. Only what is missing is done, so that a second run takes no time.
set -eu

tier=${1:-run}
state=$(realpath --canonicalize-missing "${DPE_STATE:-/var/lib/dpe}")
cd "$(dirname "$0")/.."
# The shell that started us may lack root's folders of programs, have a locale that was never made, or keep new files to itself.
export PATH="$PATH:/usr/sbin:/sbin" LC_ALL=C.UTF-8 LANGUAGE= DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
umask 022

say() { printf '%s\n' "$*"; }
die() {
    printf 'make setup: %s\n' "$*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || die "this needs root: it installs packages and makes users. Run it with sudo, or as root."
command -v apt-get >/dev/null || die "this needs Debian 12 or 13: there is no apt-get here."

# What README.md says that is needed, in MiB.
needs_memory=4096
needs_disk=10240

# Said before anything is downloaded, and only until the appliance is there: what runs is not kept from starting again.
check_size() {
    if [ "$tier" != run ] || [ "${UNDERSIZED:-}" = yes ] || [ -e "$state/catalog/catalog.db" ]; then return; fi
    memory=$(awk '/^MemTotal:/ { print int($2 / 1024) }' /proc/meminfo)
    limit=$(cat /sys/fs/cgroup/memory.max 2>/dev/null || echo max) # a container's
    if [ "$limit" != max ] && [ $((limit >> 20)) -lt "$memory" ]; then memory=$((limit >> 20)); fi
    # The kernel keeps some for itself: a machine of 4 GiB shows an eighth less at worst.
    if [ "$memory" -lt $((needs_memory * 7 / 8)) ]; then
        too_small "$memory MiB of memory are here, and $needs_memory MiB are needed."
    fi
    there=$state
    while [ ! -d "$there" ]; do there=$(dirname "$there"); done
    disk=$(df -Pm "$there" | awk 'NR == 2 { print $4 }')
    if [ "$disk" -lt "$needs_disk" ]; then
        too_small "$disk MiB are free in $there, and $needs_disk MiB are needed. \`make run STATE=DIRECTORY\` keeps the appliance on another disk."
    fi
}

too_small() { die "$1 To go on all the same, with fewer or smaller machines, add UNDERSIZED=yes."; }

wanted=$(grep -hv '^#' image-build/packages)
[ "$tier" = run ] || wanted="$wanted $(grep -hv '^#' image-build/packages-test)"

is_installed() { [ "$(dpkg-query -Wf '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

apt() { apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null; }

# Packages start their services when they are installed, and at every boot from then on. The appliance runs its own copies, and a libvirt
# or nginx that is already at work here must not be restarted under its users. This file is Debian's way to say so.
policy=/usr/sbin/policy-rc.d
mark="# made by the appliance's setup; may be deleted"
leave_services_alone() {
    if [ -e "$policy" ] && ! grep -qxF "$mark" "$policy"; then return; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

# What starts at the next boot: links to units, and to scripts of packages that have no unit.
boot_links() { find /etc/systemd/system /etc/rc[2-5S].d -type l ! -name 'K*' ! -lname /dev/null 2>/dev/null | sort; }

# Take away what came since, but for the units of the first process itself. What was there before stays as it is; an update of a package
# finds its service switched off, and leaves it so.
leave_boot_alone() {
    of_systemd=$(dpkg-query --listfiles systemd systemd-sysv udev 2>/dev/null || :)
    for link in $(boot_links); do
        case " $(echo $links_before) " in *" $link "*) continue ;; esac
        unit=$(basename "$(readlink "$link")")
        case "$link" in
        /etc/rc*) if [ -L "$link" ]; then update-rc.d "$unit" disable >/dev/null 2>&1 || rm -f "$link"; fi ;;
        *) printf '%s\n' "$of_systemd" | grep -q "/$unit\$" || rm -f "$link" ;;
        esac
    done
    if [ -d /run/systemd/system ]; then systemctl daemon-reload || :; fi
}

# In a shell of its own, so that what is to be done in the end is done however it ends.
install_packages() (
    missing=
    for package in $wanted; do is_installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0
    say "Installing Debian packages:$missing"
    links_before=$(boot_links)
    trap 'leave_boot_alone; if grep -qsxF "$mark" "$policy"; then rm -f "$policy"; fi' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    leave_services_alone
    for attempt in 1 2 3; do
        if apt update; then break; fi
        [ "$attempt" = 3 ] || sleep $((attempt * 5))
    done
    # Only the program is wanted, no directory of its own.
    case "$missing " in *" slapd "*) echo slapd slapd/no_configuration boolean true | debconf-set-selections ;; esac
    # shellcheck disable=SC2086
    apt install --yes --no-remove --no-install-recommends $missing ||
        die "the packages could not be installed. Look at the lines above: no network, no space, or packages held back."
)

make_user() {
    id "$1" >/dev/null 2>&1 || useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$1"
}

# libvirt 9 looks this user up before it reads our qemu.conf, and Debian 12 makes it only with packages that are not wanted here. It is
# made exactly as Debian's own package would, which keeps whatever it finds: a libvirt that is installed later works as ever.
make_libvirt_user() {
    id libvirt-qemu >/dev/null 2>&1 && return
    getent group kvm >/dev/null || groupadd --system kvm
    if ! getent group libvirt-qemu >/dev/null; then
        if getent group 64055 >/dev/null; then groupadd --system libvirt-qemu; else groupadd --system --gid 64055 libvirt-qemu; fi
    fi
    uid=--uid=64055
    if getent passwd 64055 >/dev/null; then uid=; fi
    # shellcheck disable=SC2086
    useradd --system $uid --gid kvm --groups libvirt-qemu --no-create-home --home-dir /var/lib/libvirt \
        --comment "Libvirt Qemu" --shell /usr/sbin/nologin libvirt-qemu
}

python=/usr/bin/python3

# What the installed Python packages of a tier depend on, in one word.
python_state() {
    locks="requirements-build.lock requirements.lock"
    [ "$1" = run ] || locks="$locks requirements-dev.lock"
    # shellcheck disable=SC2086
    { "$python" --version && pwd && cat $locks pyproject.toml image-build/setup.sh; } | sha256sum
}

# A command that takes its time, with a line every few seconds that says where it is. All that it says is shown when it fails.
attended() (
    log=$(mktemp)
    seconds=0
    while sleep 3 >/dev/null 2>&1; do
        seconds=$((seconds + 3))
        line=$(tail -n 1 "$log" | cut -c 1-100 | sed 's/^ *//')
        printf '%5s s  %s\n' "$seconds" "${line:-...}"
    done &
    trap "kill $!; rm -f '$log'" EXIT
    "$@" >"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        exit 1
    }
)

pip() { attended env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_PROGRESS_BAR=off .venv/bin/python -m pip install "$@"; }

# The web process, which is not root, reads the code, and so does that of an image. A clone that was made under a strict umask lets nobody.
# The command for other computers, which the web page offers; made in a copy, so that nothing is left beside its sources.
make_client() {
    made=.venv/share/dpe
    state=$(find appliance/client -type f ! -name '*.pyc' -exec sha256sum {} + | sort | sha256sum)
    if [ "$(cat "$made/.made" 2>/dev/null)" = "$state" ]; then return; fi
    rm -rf "$made" .venv/client
    cp -R appliance/client .venv/client
    attended env PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir "$made" .venv/client
    rm -rf .venv/client
    printf '%s\n' "$state" >"$made/.made"
}

make_readable() {
    chmod o+x .
    find appliance webui playbooks image-build \( ! -perm -o+r -o -type d ! -perm -o+x \) -exec chmod o+rX {} +
}

install_python() {
    if [ "$(cat ".venv/.ready-$tier" 2>/dev/null)" = "$(python_state "$tier")" ]; then return; fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is too old: the appliance needs Debian 12 or 13."
    say "Installing Python packages into .venv; some of them are compiled"
    if [ "$(.venv/bin/python --version 2>/dev/null)" != "$("$python" --version)" ]; then attended "$python" -m venv --clear .venv; fi
    pip --require-hashes -r requirements-build.lock
    # Without isolation, because an isolated build fetches its tools with no hash to check them by.
    if [ "$tier" = run ]; then lock=requirements.lock; else lock=requirements-dev.lock; fi
    pip --require-hashes --no-build-isolation -r "$lock" ||
        die "the Python packages could not be installed. Look at the lines above; running it again goes on from here."
    pip --no-deps --no-build-isolation --no-index --editable .
    python_state run >.venv/.ready-run
    if [ "$tier" != run ]; then python_state "$tier" >".venv/.ready-$tier"; fi
}

check_size
install_packages
make_user dpe-web
make_user dpe-rescue
make_user dpe-jump
make_user dpe-qemu
make_libvirt_user
if getent group kvm >/dev/null && ! id -nG dpe-qemu | grep -qw kvm; then usermod --append --groups kvm dpe-qemu; fi
install_python
make_client
make_readable
