#!/usr/bin/env bash
# Shows the product on a throwaway control plane: sample workloads, the controller with the rights
# that deploy/ ships, the reports, and one report that vanishes when its account gets a role.
#
#   KEEP=1   leave everything running, and say how to use and to stop it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

step() { printf '\n\033[1m▸ %s\033[0m\n' "$*"; }
[ -t 1 ] || step() { printf '\n▸ %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }

dir=$(mktemp -d "${TMPDIR:-/tmp}/token-exposure-demo.XXXXXX")
pids=()
finish() {
    trap - EXIT INT TERM
    # The controller first: it says good-bye to a server that still answers.
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        kill "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

await() { # WHAT SECONDS COMMAND…
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ $SECONDS -lt $deadline ] || die "$what did not happen; see $(tail -n 3 "$dir/controller.log" 2>/dev/null)"
        sleep 0.2
    done
}

command -v cargo >/dev/null || die "needs \`cargo\`: install Rust"
step "Build the programs (minutes the first time, then nothing)"
cargo build --quiet
bin=$(tests/control-plane/build.sh)
export PATH=$bin:$PATH

step "token-exposure scan tests/demo/sample.yaml --report-scope all: the samples, before any cluster has them"
target/debug/token-exposure scan tests/demo/sample.yaml --report-scope all --fail-on never

step "Start etcd, kube-apiserver and kube-controller-manager on free loopback ports"
# They run until their standard input closes: until `sleep` ends.
mkfifo "$dir/open"
sleep infinity >"$dir/open" &
pids+=($!)
tests/control-plane/start.sh "$dir/cluster" <"$dir/open" >"$dir/control-plane.log" 2>&1 &
pids+=($!)
started() { grep -q '^ready$' "$dir/control-plane.log" || { kill -0 "${pids[1]}" 2>/dev/null || die "$(cat "$dir/control-plane.log")"; false; }; }
await "the control plane's start" 90 started
export KUBECONFIG=$dir/cluster/kubeconfig

step "Install deploy/install.yaml: the CRD, the account, its rights"
kubectl apply --server-side -f deploy/install.yaml >/dev/null

step "Create the sample workloads of tests/demo/sample.yaml, and a Job of the CronJob"
kubectl apply -f tests/demo/sample.yaml >/dev/null
kubectl -n shop create job backup-29412345 --from=cronjob/backup >/dev/null
pods() { [ "$(kubectl get pods -n shop -o name | wc -l)" -eq 12 ] && [ "$(kubectl get pods -n analytics -o name | wc -l)" -eq 2 ]; }
await "the pods of the samples" 60 pods

step "Run the controller as ServiceAccount token-exposure/token-exposure, never as admin"
token=$(kubectl create token -n token-exposure token-exposure)
sed "s/admintoken/$token/" "$KUBECONFIG" >"$dir/controller.kubeconfig"
target/debug/token-exposure controller --kubeconfig "$dir/controller.kubeconfig" --bind-address 127.0.0.1:0 \
    2>"$dir/controller.log" &
pids+=($!)
address() { address=$(sed -n 's/.*serving.* address=\([^ ]*\).*/\1/p' "$dir/controller.log"); [ -n "$address" ]; }
await "the controller's start" 30 address
reports() { [ "$(kubectl get tokenexposurereports -A -o name | wc -l)" -eq 7 ]; }
await "the reports" 30 reports

step "kubectl get tokenexposurereports -A"
kubectl get tokenexposurereports -A

step "kubectl describe tokenexposurereport -n shop mail"
kubectl describe tokenexposurereport -n shop mail

step "curl http://$address/metrics | grep finding_pods"
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
printf 'GET /metrics HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n' >&3
grep '^token_exposure_finding_pods' <&3
exec 3<&-

step "Bind a role to shop/default: its token is needed now, and its report vanishes"
kubectl -n shop create rolebinding frontend --role=cart --serviceaccount=shop:default
vanished() { ! kubectl -n shop get tokenexposurereport default >/dev/null 2>&1; }
await "the report's end" 15 vanished
kubectl get tokenexposurereports -A

if [ -n "${KEEP:-}" ]; then
    step "It keeps running, as KEEP=1 asks"
    printf '  use:   export KUBECONFIG=%s PATH=%s:$PATH\n  stop:  kill %s; rm -rf %s\n' "$KUBECONFIG" "$bin" "${pids[2]} ${pids[0]}" "$dir"
    trap - EXIT INT TERM
    disown -a
    exit 0
fi
step "Stop everything"
