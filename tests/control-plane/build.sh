#!/usr/bin/env bash
# Builds the pinned etcd, kube-apiserver, kube-controller-manager and kubectl (go.mod, go.sum) once
# and prints the folder that holds them. Progress goes to stderr.
#
#   CONTROL_PLANE_BIN=DIR   use the four programs in DIR instead of building them
#   XDG_CACHE_HOME          where the result is kept (default ~/.cache)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

programs=(etcd kube-apiserver kube-controller-manager kubectl)
say() { printf 'control plane: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

complete() { # DIR
    local program
    for program in "${programs[@]}"; do [ -x "$1/$program" ] || return 1; done
}

if [ -n "${CONTROL_PLANE_BIN:-}" ]; then
    complete "$CONTROL_PLANE_BIN" || die "CONTROL_PLANE_BIN=$CONTROL_PLANE_BIN lacks one of: ${programs[*]}"
    printf '%s\n' "$CONTROL_PLANE_BIN"
    exit 0
fi

version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }
               $1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' go.mod | head -n 1)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/token-exposure/control-plane
bin=$cache/$version-$(cat go.mod go.sum build.sh | sha256sum | cut -c 1-16)
if complete "$bin"; then
    printf '%s\n' "$bin"
    exit 0
fi

command -v go >/dev/null || die "needs \`go\` 1.26 or newer to build Kubernetes $version: install it, or set CONTROL_PLANE_BIN to a folder with ${programs[*]}"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || { say "another build is under way; waiting for it"; flock 9; }
if complete "$bin"; then
    printf '%s\n' "$bin"
    exit 0
fi

IFS=. read -r major minor _ <<<"${version#v}"
packages=(go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver
    k8s.io/kubernetes/cmd/kube-controller-manager k8s.io/kubernetes/cmd/kubectl)
info=k8s.io/component-base/version
flags="-s -w -X $info.gitVersion=$version -X $info.gitMajor=$major -X $info.gitMinor=$minor"
partial=$(mktemp -d "$cache/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT

say "building Kubernetes $version and etcd: once, about 10 minutes on 2 cores"
export CGO_ENABLED=0
quietly() { grep -v '^go: downloading ' >&2 || true; }
total=$(go list -deps "${packages[@]}" 2> >(quietly) | wc -l) || die "the modules could not be downloaded (see above)"
# `go build -v` names each package that it compiles: every five hundredth becomes a line of progress.
go build -v -trimpath -ldflags "$flags" -o "$partial/" "${packages[@]}" 2> >(awk -v total="$total" '
    /^[a-z0-9._~\/-]+$/ { if (++n % 500 == 0) { printf "control plane: %d of at most %d packages\n", n, total; fflush() } next }
    !/^go: downloading / { print }' >&2) || die "the build failed (see above)"
mv "$partial/server" "$partial/etcd"
chmod 755 "$partial"
rm -rf "$bin"
mv "$partial" "$bin"
printf '%s\n' "$bin"
