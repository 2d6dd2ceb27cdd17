# Run as root: installs the packages named as arguments, and keeps them from starting a service or, for
# PostgreSQL, creating a cluster. Says what it does on stderr.
set -eu
exec 1>&2

# One at a time; apt's own lock is waited for as well, in case the machine is updating itself.
exec 9>/run/bloodbank-testbed-install.lock
flock 9

mark='# Made by bloodbank testbed for the time of one installation'
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d

# Also removes what an installation that was killed has left.
clean_up() {
    for file in "$policy" "$clusters/bloodbank-testbed.conf"; do
        if grep -qsF "$mark" "$file"; then rm -f "$file"; fi
    done
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

clean_up
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
fi
# Where postgresql-common is there already, whether to create clusters is its administrator's choice.
if [ ! -e /etc/postgresql-common ]; then
    mkdir -p "$clusters"
    printf '%s\ncreate_main_cluster = false\n' "$mark" >"$clusters/bloodbank-testbed.conf"
fi

export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
refresh() { apt-get -o DPkg::Lock::Timeout=300 update 9>&-; }
install() { apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@" 9>&-; }

# The lists may be missing, as in a fresh container, or older than what the mirror still holds.
apt-cache show "$@" >/dev/null 2>&1 || refresh
install "$@" || { refresh && install "$@"; }
