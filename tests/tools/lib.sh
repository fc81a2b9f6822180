# Sourced by the demo and by the scripts that build Go programs: progress, processes, and the cache of builds.

# One live line on a terminal; elsewhere a line for what takes 5 s, then one every 12 s, to keep logs short.
if [ -t 2 ] && [ -z "${CI:-}" ] && [ "${TERM:-dumb}" != dumb ]; then live=1; else live=; fi
shown=-7

show() { # TEXT
    # A caller of several builds shows them in one line: it names a file for each to write to.
    if [ -n "${PROGRESS:-}" ]; then
        printf '%s\n' "$1" >"$PROGRESS.new"
        mv "$PROGRESS.new" "$PROGRESS"
    elif [ -n "$live" ]; then
        local width
        width=$(stty size <&2 2>/dev/null | cut -d ' ' -f 2) || true
        [ "${width:-0}" -gt 20 ] || width=80
        printf '\r\033[K%.*s' $((width - 1)) "$1" >&2
    elif [ $((SECONDS - shown)) -ge 12 ]; then
        shown=$SECONDS
        printf '%s\n' "$1" >&2
    fi
}

unshow() { # clears the live line
    shown=$((SECONDS - 7))
    [ -z "$live" ] || [ -n "${PROGRESS:-}" ] || printf '\r\033[K' >&2
}

say() { unshow; printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

elapsed() { printf '%d:%02d' $((SECONDS / 60)) $((SECONDS % 60)); }

# A separate process group, so that `end` reaches the compilers too. Sets `started`.
start() { # COMMAND…
    set -m
    "$@" </dev/null 8>&- 9>&- &
    started=$!
    set +m
}

end() { # PID…: ends what `start` began, the newest first, and waits for it
    local i
    for ((i = $#; i > 0; i--)); do
        kill -TERM -- "-${!i}" 2>/dev/null || true
        wait "${!i}" 2>/dev/null || true
    done
}

watch() { # PID FUNCTION: shows what the function prints until the process ends, and returns its exit status
    while kill -0 "$1" 2>/dev/null; do
        show "$("$2")"
        sleep 0.5
    done
    unshow
    wait "$1" 2>/dev/null
}

# A build is kept in $bin, named after all it depends on: go.mod, go.sum and build.sh. The functions below print
# that directory and exit as soon as it exists. The script defines `complete DIR`, which checks it.

given() { # VARIABLE WHAT: the directory that the variable names, if it is set
    local dir=${!1:-}
    [ -n "$dir" ] || return 0
    complete "$dir" || die "$1=$dir lacks $2"
    printf '%s\n' "$dir"
    exit 0
}

cache_of() { printf '%s' "${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/token-exposure/$1"; } # NAME

cached() { # NAME VERSION [--if-cached]
    cache=$(cache_of "$1")
    bin=$cache/$2-$(cat go.mod go.sum build.sh | sha256sum | cut -c 1-16)
    if complete "$bin"; then printf '%s\n' "$bin"; exit 0; fi
    [ "${3:-}" != --if-cached ] || exit 1
}

# From here on no other process builds the same; sets `partial`, a directory that is removed if it is interrupted.
begin() { # NAME WHAT
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    until flock -w 1 9; do show "$1: another run is building it, wait"; done
    unshow
    if complete "$bin"; then printf '%s\n' "$bin"; exit 0; fi
    rm -rf "$cache"/partial.* # of runs that were killed
    partial=$(mktemp -d "$cache/partial.XXXXXX")
    started=
    trap '[ -z "$started" ] || end "$started"; rm -rf "$partial" "$partial.log" "$partial.deps"' EXIT
    trap 'exit 130' INT TERM HUP
    [ -n "${PROGRESS:-}" ] || say "$2"
}

# `go build -v` prints each package that it compiles, `go list -deps` all packages.
go_build() { # NAME FLAG… -- PACKAGE…
    local name=$1 log=$partial.log deps=$partial.deps flags=() total
    shift
    while [ "$1" != -- ]; do flags+=("$1"); shift; done
    shift
    fetching() { printf '%s: looking for its modules, %d downloaded' "$name" "$(grep -c '^go: downloading ' "$log")"; }
    compiling() {
        local done
        done=$(grep -cv '^go: ' "$log")
        if [ "$done" -lt $((total - 5)) ]; then printf '%s: %d of %d packages' "$name" "$done" "$total"; else printf '%s: linking' "$name"; fi
    }
    list() { exec go list -deps "$@" >"$deps" 2>"$log"; }
    build() { exec go build -v "${flags[@]}" "$@" >"$log" 2>&1; }
    failed() {
        grep -vxFf "$deps" "$log" | grep -v '^go: downloading ' | tail -n 20 >&2
        die "$name: $1"
    }
    : >"$log"
    start list "$@"
    watch "$started" fetching || failed 'the modules could not be downloaded'
    total=$(wc -l <"$deps")
    : >"$log"
    start build "$@"
    watch "$started" compiling || failed 'the build failed'
    started=
}

keep() { # renames the finished directory to the result
    chmod -R u=rwX,go=rX "$partial"
    rm -rf "$bin"
    mv "$partial" "$bin"
    printf '%s\n' "$bin"
}
