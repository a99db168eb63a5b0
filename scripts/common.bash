# Sourced by the scripts beside it.

die() {
    echo "${0##*/}: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "needs root or sudo for: $*"
    fi
}

# What apt says is only of interest when it fails.
apt_install() {
    local log
    log=$(mktemp)
    echo "installing by apt: $*" >&2
    if {
        as_root apt-get update -qq &&
            # RUNLEVEL: what a package would start, it starts in no runlevel that we are in.
            as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
                apt-get install -qq -y --no-install-recommends \
                -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
    } >"$log" 2>&1; then
        rm -f "$log"
        return
    fi
    cat "$log" >&2
    rm -f "$log"
    die "apt could not install: $*"
}
