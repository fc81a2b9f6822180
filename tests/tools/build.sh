#!/usr/bin/env bash
# Builds the pinned helm (go.mod, go.sum) once, fetches the pinned CustomResourceDefinitions of the
# Prometheus operator, and prints the folder that holds `helm` and `monitoring-crds/`. Progress goes
# to stderr.
#
#   --if-cached             print the folder if it is there, else fail: build nothing
#   TOOLS_BIN=DIR           use the helm and the monitoring-crds in DIR instead
#   XDG_CACHE_HOME          where the result is kept (default ~/.cache)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./lib.sh

operator=github.com/prometheus-operator/prometheus-operator@v0.85.0
operator_sum=h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=
kinds=(podmonitors servicemonitors prometheusrules)
complete() { # DIR
    local kind
    [ -x "$1/helm" ] || return 1
    for kind in "${kinds[@]}"; do [ -f "$1/monitoring-crds/$kind.yaml" ] || return 1; done
}
given TOOLS_BIN 'helm or one of monitoring-crds/{podmonitors,servicemonitors,prometheusrules}.yaml'

version=$(awk '$1 == "helm.sh/helm/v4" { print $2 }' go.mod)
cached tools "helm-$version" "$@"
command -v go >/dev/null || die "tools: needs \`go\` 1.26 or newer to build helm $version: install it, or set TOOLS_BIN to a folder with helm and monitoring-crds"
begin helm "helm: building $version, once: some minutes"

export CGO_ENABLED=0
go_build helm -trimpath -ldflags "-s -w -X helm.sh/helm/v4/internal/version.version=$version" -gcflags all=-dwarf=false \
    -o "$partial/helm" -- helm.sh/helm/v4/cmd/helm

# The definitions are files of the operator's module: its hash pins them.
module=$(go mod download -json "$operator") || die "tools: $operator could not be downloaded: $module"
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\$/\1/p" <<<"$module"; }
[ "$(field Sum)" = "$operator_sum" ] || die "tools: $operator is not what was pinned: $(field Sum) instead of $operator_sum"
mkdir "$partial/monitoring-crds"
for kind in "${kinds[@]}"; do
    cp "$(field Dir)/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$partial/monitoring-crds/$kind.yaml"
done
keep
