#!/bin/sh
# Makes a plain Debian 12 or 13 ready for `make run`, or with the argument "test" for `make test`: packages, users,
# Python. Only what is missing is done, so that a second run takes no time.
set -eu

tier=${1:-run}
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1

say() { printf '%s\n' "$*"; }
die() {
    printf 'make setup: %s\n' "$*" >&2
    exit 1
}

[ "$(id -u)" = 0 ] || die "this needs root: it installs packages and makes users. Run it with sudo, or as root."
command -v apt-get >/dev/null || die "this needs Debian 12 or 13: there is no apt-get here."

wanted=$(grep -hv '^#' image-build/packages)
[ "$tier" = run ] || wanted="$wanted $(grep -hv '^#' image-build/packages-test)"

is_installed() { [ "$(dpkg-query -Wf '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Packages start their services when they are installed; the appliance runs its own copies, and a libvirt or nginx that
# is already at work here must not be restarted under its users. This file is Debian's way to say so.
policy=/usr/sbin/policy-rc.d
mark="# made by the appliance's setup; may be deleted"
leave_services_alone() {
    if [ -e "$policy" ] && ! grep -qxF "$mark" "$policy"; then return; fi
    trap 'rm -f "$policy"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

apt() { apt-get -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" </dev/null; }

install_packages() {
    missing=
    for package in $wanted; do is_installed "$package" || missing="$missing $package"; done
    [ -n "$missing" ] || return 0
    say "Installing Debian packages:$missing"
    # Units that were here before stay as they are; those that come with our packages must not start at the next boot.
    units_before=$(own_units)
    leave_services_alone
    for attempt in 1 2 3; do
        if apt update; then break; fi
        [ "$attempt" = 3 ] || sleep $((attempt * 5))
    done
    # Only the program is wanted: with a directory of its own, Debian's slapd would start at every boot.
    case "$missing " in *" slapd "*) echo slapd slapd/no_configuration boolean true | debconf-set-selections ;; esac
    # shellcheck disable=SC2086
    apt install --yes --no-remove --no-install-recommends $missing ||
        die "the packages could not be installed. Look at the lines above: no network, no space, or packages held back."
    command -v systemctl >/dev/null || return 0
    for unit in $(own_units); do
        case " $(echo $units_before) " in *" $unit "*) ;; *) systemctl --quiet disable "$unit" 2>/dev/null || : ;; esac
    done
}

own_units() {
    for file in /lib/systemd/system/nginx.service /lib/systemd/system/libvirt*.service /lib/systemd/system/libvirt*.socket \
        /lib/systemd/system/virt*d*.service /lib/systemd/system/virt*d*.socket; do
        if [ -e "$file" ]; then basename "$file"; fi
    done
}

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

install_python() {
    if [ "$(cat ".venv/.ready-$tier" 2>/dev/null)" = "$(python_state "$tier")" ]; then return; fi
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "$python is too old: the appliance needs Debian 12 or 13."
    say "Installing Python packages into .venv"
    if [ "$(.venv/bin/python --version 2>/dev/null)" != "$("$python" --version)" ]; then "$python" -m venv --clear .venv; fi
    pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore .venv/bin/python -m pip install --quiet"
    $pip --require-hashes -r requirements-build.lock
    # Without isolation, because an isolated build fetches its tools with no hash to check them by.
    if [ "$tier" = run ]; then lock=requirements.lock; else lock=requirements-dev.lock; fi
    $pip --require-hashes --no-build-isolation -r "$lock" ||
        die "the Python packages could not be installed. Look at the lines above; running it again goes on from here."
    $pip --no-deps --no-build-isolation --no-index --editable .
    python_state run >.venv/.ready-run
    if [ "$tier" != run ]; then python_state "$tier" >".venv/.ready-$tier"; fi
}

install_packages
make_user dpe-web
make_user dpe-rescue
make_user dpe-qemu
make_libvirt_user
if getent group kvm >/dev/null && ! id -nG dpe-qemu | grep -qw kvm; then usermod --append --groups kvm dpe-qemu; fi
install_python
