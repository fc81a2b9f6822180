#!/usr/bin/env bash
# Prints the folder that holds etcd, kube-apiserver, kube-controller-manager and kubectl, which are built once.
#
#   KUBERNETES=1.30.14      those of this version; default: the version of go.mod
#   and what build.sh takes
#
# build.sh builds every version, in its own folder with its own go.mod and go.sum. For another version than that of
# go.mod, both are made here from those of Kubernetes itself: it gets the dependencies that it was released with, etcd
# among them. versions.sum has what those lack: the hashes of Kubernetes and of the modules released with it.
# Where it has none, Go's checksum database alone says that nothing was changed; to add those of 1.34.4, run this and
#
#   grep -h '^k8s\.io/.* v[01]\.34\.4[ /]' ~/.cache/token-exposure/control-plane/module-v1.34.4-*/control-plane/go.sum
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../tools/lib.sh

if [ -z "${KUBERNETES:-}" ] || [ -n "${CONTROL_PLANE_BIN:-}" ]; then exec ./build.sh "$@"; fi
[[ $KUBERNETES =~ ^v?1\.([0-9]+)\.([0-9]+)$ ]] || die "control plane: KUBERNETES=$KUBERNETES is no version such as 1.30.14"
release=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}
version=v1.$release
if grep -qE "k8s.io/kubernetes $version( |\$)" go.mod; then exec ./build.sh "$@"; fi

cache=$(cache_of control-plane)
module=$cache/module-$version-$(cat programs.sh versions.sum build.sh ../tools/lib.sh | sha256sum | cut -c 1-16)
if [ ! -d "$module" ]; then
    [ "${1:-}" != --if-cached ] || exit 1
    command -v go >/dev/null || die "control plane: needs \`go\` to build Kubernetes $version: install it, or set CONTROL_PLANE_BIN"
    mkdir -p "$cache"
    made=$(mktemp -d "$cache/partial-module.XXXXXX")
    trap 'rm -rf "$made"' EXIT
    mkdir "$made/control-plane" "$made/tools"
    cp build.sh "$made/control-plane/"
    cp ../tools/lib.sh "$made/tools/"
    pinned=1
    grep -E "^k8s\.io/.* v[01]\.$release[ /]" versions.sum >"$made/control-plane/go.sum" || pinned=
    cd "$made/control-plane"

    printf 'module token-exposure.test/control-plane\n' >go.mod
    go mod download "k8s.io/kubernetes@$version" || die "control plane: Kubernetes $version could not be downloaded"
    released=$(go env GOMODCACHE)/k8s.io/kubernetes@$version
    cat "$released/"go{.work,}.sum >>go.sum
    sed -e 's|^module .*|module token-exposure.test/control-plane|' -e "s| v0\.0\.0$| v0.$release|" \
        -e "s|=> \./staging/src/\(.*\)|=> \1 v0.$release|" "$released/go.mod" >go.mod
    printf 'require k8s.io/kubernetes %s\n' "$version" >>go.mod
    if [ -z "$pinned" ]; then
        say "control plane: versions.sum does not pin Kubernetes $version: its modules are downloaded and looked up"
        go list -mod=mod -deps go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube{-apiserver,-controller-manager,ctl} >/dev/null 2>log ||
            { tail -n 20 log >&2; die "control plane: the modules of Kubernetes $version could not be downloaded"; }
    fi
    LC_ALL=C sort -u -o go.sum go.sum
    mv -T "$made" "$module" 2>/dev/null || rm -rf "$made" # another run was faster
fi
exec "$module/control-plane/build.sh" "$@"
