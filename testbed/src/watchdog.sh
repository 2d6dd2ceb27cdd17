# Waits until the testbed's process is gone, then kills what that left running for directory $1 and,
# unless $2 is "keep", removes it. The pipe on stdin closes with the process, however it dies.
# The members are found as in process.rs: by their environment, or as postgres inside the directory.
trap '' HUP INT QUIT TERM
read -r word && [ "$word" = done ] && exit 0

members() {
    grep -lsaF -e "TESTBED_HOME=$1/" /proc/[0-9]*/environ
    find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$1/*" 2>/dev/null | while read -r cwd; do
        case $(readlink "${cwd%/cwd}/exe") in */postgres*) echo "$cwd" ;; esac
    done
}

segments=
rounds=0
while [ "$rounds" -lt 200 ]; do
    pids=$(members "$1" | cut -d/ -f3 | sort -u)
    [ -n "$pids" ] || break
    for pid in $pids; do
        # initdb's POSIX segments outlive it.
        segments="$segments $(grep -o '/dev/shm/PostgreSQL\.[0-9]*$' "/proc/$pid/maps" | sort -u)"
    done
    # shellcheck disable=SC2086
    kill -KILL $pids
    rounds=$((rounds + 1))
    sleep 0.05
done

# shellcheck disable=SC2086
[ -z "${segments# }" ] || rm -f $segments

# Postgres's System V segment outlives a killed server; the lock file's seventh line names it.
if [ -f "$1/data/postmaster.pid" ]; then
    segment=$(sed -n '7s/^ *[0-9]* *\([0-9]*\).*/\1/p' "$1/data/postmaster.pid")
    [ -z "$segment" ] || ipcrm -m "$segment"
fi
[ "$2" = keep ] || rm -rf -- "$1"
