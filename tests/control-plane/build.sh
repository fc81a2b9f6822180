#!/usr/bin/env bash
# Builds the pinned etcd, kube-apiserver, kube-controller-manager and kubectl (go.mod, go.sum) once
# and prints the folder that holds them. Progress goes to stderr.
#
#   --if-cached             print the folder if it is there, else fail: build nothing
#   CONTROL_PLANE_BIN=DIR   use the four programs in DIR instead of building them
#   XDG_CACHE_HOME          where the result is kept (default ~/.cache)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ../tools/lib.sh

programs=(etcd kube-apiserver kube-controller-manager kubectl)
complete() { # DIR
    local program
    for program in "${programs[@]}"; do [ -x "$1/$program" ] || return 1; done
}
given CONTROL_PLANE_BIN "one of: ${programs[*]}"

version=$(awk '$1 == "k8s.io/kubernetes" { print $2 }
               $1 == "require" && $2 == "k8s.io/kubernetes" { print $3 }' go.mod | head -n 1)
cached control-plane "$version" "$@"
command -v go >/dev/null || die "control plane: needs \`go\` 1.26 or newer to build Kubernetes $version: install it, or set CONTROL_PLANE_BIN to a folder with ${programs[*]}"
begin 'control plane' "control plane: building Kubernetes $version and etcd, once: some 8 minutes on 2 cores"

IFS=. read -r major minor _ <<<"${version#v}"
info=k8s.io/component-base/version
link="-s -w -X $info.gitVersion=$version -X $info.gitMajor=$major -X $info.gitMinor=$minor"
export CGO_ENABLED=0
# Compiled for a short build: nobody debugs these programs (-dwarf=false), and functions are not inlined (-l) but in the
# standard library, where programs spend their time. The API server needs no more CPU for it, as far as can be measured.
go_build 'control plane' -trimpath -ldflags "$link" -gcflags 'all=-dwarf=false -l' -gcflags std=-dwarf=false -o "$partial/" -- \
    go.etcd.io/etcd/server/v3 k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager \
    k8s.io/kubernetes/cmd/kubectl
mv "$partial/server" "$partial/etcd"
keep
