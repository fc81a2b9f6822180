#!/usr/bin/env bash
# Builds the pinned helm (go.mod, go.sum) once, fetches the pinned CustomResourceDefinitions of the
# Prometheus operator, and prints the folder that holds `helm` and `monitoring-crds/`. Progress goes
# to stderr.
#
#   TOOLS_BIN=DIR           use the helm and the monitoring-crds in DIR instead
#   XDG_CACHE_HOME          where the result is kept (default ~/.cache)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

operator=github.com/prometheus-operator/prometheus-operator@v0.85.0
operator_sum=h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=
kinds=(podmonitors servicemonitors prometheusrules)
say() { printf 'tools: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

complete() { # DIR
    local kind
    [ -x "$1/helm" ] || return 1
    for kind in "${kinds[@]}"; do [ -f "$1/monitoring-crds/$kind.yaml" ] || return 1; done
}

if [ -n "${TOOLS_BIN:-}" ]; then
    complete "$TOOLS_BIN" || die "TOOLS_BIN=$TOOLS_BIN lacks helm or one of monitoring-crds/{podmonitors,servicemonitors,prometheusrules}.yaml"
    printf '%s\n' "$TOOLS_BIN"
    exit 0
fi

version=$(awk '$1 == "helm.sh/helm/v4" { print $2 }' go.mod)
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME}/.cache}/token-exposure/tools
bin=$cache/helm-$version-$(cat go.mod go.sum build.sh | sha256sum | cut -c 1-16)
if complete "$bin"; then
    printf '%s\n' "$bin"
    exit 0
fi

command -v go >/dev/null || die "needs \`go\` 1.26 or newer to build helm $version: install it, or set TOOLS_BIN to a folder with helm and monitoring-crds"
mkdir -p "$cache"
exec 9>"$cache/lock"
flock -n 9 || { say "another build is under way; waiting for it"; flock 9; }
if complete "$bin"; then
    printf '%s\n' "$bin"
    exit 0
fi
partial=$(mktemp -d "$cache/partial.XXXXXX")
trap 'rm -rf "$partial"' EXIT

say "building helm $version: once, some minutes"
quietly() { grep -v '^go: downloading ' >&2 || true; }
flags="-s -w -X helm.sh/helm/v4/internal/version.version=$version"
CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$partial/helm" helm.sh/helm/v4/cmd/helm 2> >(quietly) ||
    die "the build failed (see above)"

# The definitions are files of the operator's module: its hash pins them.
module=$(go mod download -json "$operator") || die "$operator could not be downloaded: $module"
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\$/\1/p" <<<"$module"; }
[ "$(field Sum)" = "$operator_sum" ] || die "$operator is not what was pinned: $(field Sum) instead of $operator_sum"
mkdir "$partial/monitoring-crds"
for kind in "${kinds[@]}"; do
    cp "$(field Dir)/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$partial/monitoring-crds/$kind.yaml"
done
chmod -R u=rwX,go=rX "$partial"
rm -rf "$bin"
mv "$partial" "$bin"
printf '%s\n' "$bin"
