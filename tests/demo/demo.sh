#!/usr/bin/env bash
# Shows the product on a throwaway control plane: a scan of sample workloads, then the controller with the permissions
# that deploy/ ships, the reports, a token that the API server leaves out of new pods, and that comes back when its account
# gets a role.
#
#   KEEP=1   leave everything running, and print how to use and to stop it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. tests/tools/lib.sh

samples=tests/demo/sample.yaml
program=${CARGO_TARGET_DIR:-target}/debug/token-exposure
dir=$(mktemp -d "${TMPDIR:-/tmp}/token-exposure-demo.XXXXXX")
pids=()
finish() {
    trap - EXIT INT TERM HUP
    unshow
    # The controller first: its shutdown needs a running API server.
    end "${pids[@]}"
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

bold() { if [ -n "$live" ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
step() { unshow; bold "[$1/6] $2"; }
run() { bold "\$ $*"; "$@"; } # prints the command, then its output
count() { bold "\$ $*"; "$@" >"$dir/out"; printf '%d objects\n' "$(wc -l <"$dir/out")"; }

await() { # WHAT SECONDS COMMAND…
    local what=$1 deadline=$((SECONDS + $2))
    shift 2
    until "$@"; do
        [ $SECONDS -lt $deadline ] || die "demo: $what: not within the time; the end of the logs: $(tail -qn 5 "$dir"/*.log)"
        show "($(elapsed)) waiting for $what"
        sleep 0.2
    done
    unshow
}

plan() {
    local rust='3 to 5 minutes' go='4 to 8 minutes more' all='7 to 13 minutes on 2 cores, seconds the next time'
    [ ! -x "$program" ] || rust='seconds: it was built before'
    if [ -n "$bin" ]; then go='nothing to do: it was built before'; fi
    [ ! -x "$program" ] || [ -z "$bin" ] || all='a minute'
    cat <<PLAN
token-exposure, shown on this machine in 6 steps: $all.
Nothing is installed. What is built is kept in target and ~/.cache; what runs is stopped at the end.

  1  build token-exposure                                           $rust
  2  scan the sample manifests: no cluster yet                      a second
  3  build etcd, kube-apiserver, kube-controller-manager, kubectl   $go
  4  start them, and run the controller on the samples              15 seconds
  5  the API server warns, and leaves unneeded tokens out           20 seconds
  6  grant a permission: the next pods have their token             a few seconds
PLAN
}

# Both builds start at once, so that one downloads while the other compiles; the smaller one
# has priority where they compete for a core.
build_rust() { CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=80 exec cargo build --locked >"$dir/cargo.log" 2>&1; }
build_go() { PROGRESS=$dir/progress exec nice -n 10 tests/control-plane/programs.sh >"$dir/bin" 2>"$dir/build.log"; }

cargo_lines() { tr '\r' '\n' <"$dir/cargo.log" | sed 's/\x1b\[[0-9;]*[mK]//g'; }
go_status() { [ -n "$bin" ] || printf ' · %s' "$(cat "$dir/progress")"; }
building() {
    local count
    count=$(cargo_lines | tail -n 20 | grep -oE '[0-9]+/[0-9]+' | tail -n 1) || true
    printf '(%s) token-exposure: ' "$(elapsed)"
    case $count in '') printf 'downloads' ;; *) printf '%s of %s crates' "${count%/*}" "${count#*/}" ;; esac
    go_status
}
building_go() { printf '(%s) %s' "$(elapsed)" "$(cat "$dir/progress")"; }

.ci/tools --check cargo cc make openssl awk flock
bin=$(tests/control-plane/programs.sh --if-cached) || { bin=; .ci/tools --check cargo go cc make openssl awk flock; }
plan

step 1 'Build token-exposure'
: >"$dir/cargo.log"
echo 'control plane: downloads' >"$dir/progress"
if [ -z "$bin" ]; then start build_go; go=$started; pids+=("$go"); fi
start build_rust
pids+=("$started")
watch "$started" building || { cargo_lines | grep -v 'Building \[' | tail -n 30 >&2; die 'demo: the build of token-exposure failed'; }
printf 'built in %s\n' "$(elapsed)"

step 2 'Scan the sample manifests: no cluster yet'
run "$program" scan "$samples" --report-scope all --fail-on never
run "$program" explain shop/mail "$samples"

step 3 'Build etcd, kube-apiserver, kube-controller-manager and kubectl'
if [ -z "$bin" ]; then
    watch "$go" building_go || { cat "$dir/build.log" >&2; die 'demo: the build of the control plane failed'; }
    bin=$(cat "$dir/bin")
    printf 'built in %s\n' "$(elapsed)"
else
    printf 'built before: %s\n' "$bin"
fi
export PATH=$bin:$PATH

step 4 'Start them, and run the controller on the samples'
# The control plane runs until its standard input closes: until this script ends, however it ends.
mkfifo "$dir/open"
exec 8<>"$dir/open"
: >"$dir/control-plane.log"
control_plane() { exec tests/control-plane/start.sh "$dir/cluster" <"$dir/open" >"$dir/control-plane.log" 2>&1; }
start control_plane
cluster=$started
pids=("$cluster")
is_up() { grep -q '^ready$' "$dir/control-plane.log" || { kill -0 "$cluster" 2>/dev/null || die "demo: $(cat "$dir/control-plane.log")"; false; }; }
await 'the control plane' 90 is_up
export KUBECONFIG=$dir/cluster/kubeconfig

count kubectl apply --server-side -f deploy/install.yaml
count kubectl apply -f "$samples"
run kubectl -n shop create job backup-29412345 --from=cronjob/backup
pods() { [ "$(kubectl get pods -n shop -o name | wc -l)" -eq 12 ] && [ "$(kubectl get pods -n analytics -o name | wc -l)" -eq 2 ]; }
await 'the pods of the samples' 60 pods

# With the ServiceAccount and the permissions of deploy/install.yaml, never as an administrator.
token=$(kubectl create token -n token-exposure token-exposure)
sed "s/admintoken/$token/" "$KUBECONFIG" >"$dir/controller.kubeconfig"
controller() { exec "$program" controller --kubeconfig "$dir/controller.kubeconfig" --bind-address 127.0.0.1:0 2>"$dir/controller.log"; }
bold '$ token-exposure controller   # as ServiceAccount token-exposure/token-exposure'
: >"$dir/controller.log"
start controller
pids+=("$started")
address() { address=$(sed -n 's/.*serving.* address=\([^ ]*\).*/\1/p' "$dir/controller.log"); [ -n "$address" ]; }
await 'the controller' 30 address
reports() { [ "$(kubectl get tokenexposurereports -A -o name | wc -l)" -eq 7 ]; }
await 'the reports' 30 reports
echo 'running; 7 reports written'

run kubectl get tokenexposurereports -A
run kubectl describe tokenexposurereport -n shop mail
bold "\$ curl http://$address/metrics | grep finding_pods"
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
printf 'GET /metrics HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n' >&3
grep '^token_exposure_finding_pods' <&3
exec 3<&-

step 5 'Let the API server warn of unneeded tokens, and leave them out of new pods'
# Like `helm upgrade --set policy.enabled=true,cure.mode=LeaveOut,cure.gracePeriod=5s`, without helm.
count kubectl apply --server-side -f tests/demo/cure.yaml
echo 'a token must be unneeded for 5 seconds here, and for 10 minutes by default (cure.gracePeriod)'
warned() { kubectl -n shop create deployment banner --image=nginx --dry-run=server 2>&1 | grep -q ^Warning; }
await 'the policy that warns' 30 warned
run kubectl -n shop create deployment banner --image=nginx --dry-run=server

# The new pod of the Deployment owns what switches the policy on: no kubelet runs it, this script does.
fields='{range .items[*]}{.metadata.name} {.metadata.uid} {.spec.containers[0].args[*]}{"\n"}{end}'
owner() {
    read -r name uid arguments < <(kubectl get pods -n token-exposure -o jsonpath="$fields" | grep -e ' --cure=')
}
await 'the new pod of the controller' 30 owner
end "${pids[1]}"
controller() {
    export POD_NAMESPACE=token-exposure POD_SERVICE_ACCOUNT=token-exposure POD_NAME=$name POD_UID=$uid
    # shellcheck disable=SC2086 # several arguments
    exec "$program" $arguments --kubeconfig "$dir/controller.kubeconfig" --bind-address 127.0.0.1:0 2>>"$dir/controller.log"
}
bold "\$ token-exposure $arguments   # started again"
start controller
pids[1]=$started
run kubectl label namespace shop tokenexposure.io/cure=leave-out
listed() { [[ $(kubectl -n shop get tokenexposuresummary token-exposure -o jsonpath='{.status.curable}') == *'|default/Deployment/frontend|'* ]]; }
await 'the grace period' 60 listed
switched_on() { kubectl -n token-exposure get rolebinding token-exposure-cure-active >/dev/null 2>&1; }
await 'the switch of the policy' 30 switched_on
sleep 1 # the API server reads what was written a moment later
echo 'shop/default has been unneeded for 5 seconds: the policy may act'

columns='POD:.metadata.name,TOKEN:.spec.volumes[*].projected.sources[*].serviceAccountToken.path,WITHHELD:.metadata.annotations.tokenexposure\.io/withheld'
replaced() { [ "$(kubectl -n shop get pods -l app=frontend -o name | wc -l)" -eq 3 ]; }
answer() { # VERDICT REASON
    [ "$(kubectl -n shop get tokenexposurereport default -o jsonpath='{.status.verdict} {.status.reason}')" = "$*" ]
}
run kubectl -n shop delete pods -l app=frontend
await 'the next pods' 30 replaced
run kubectl -n shop get pods -l app=frontend -o custom-columns="$columns"
await 'the report' 15 answer Withheld LeftOut
run kubectl -n shop get tokenexposurereport default

step 6 'Grant a permission to shop/default: its pods lack a token, and the next ones have it'
run kubectl -n shop create rolebinding frontend --role=cart --serviceaccount=shop:default
await 'the report' 15 answer Review MissingToken
run kubectl -n shop get tokenexposurereport default -o custom-columns=VERDICT:.status.verdict,REASON:.status.reason,REMEDIATION:.status.remediation.summary
run kubectl -n shop delete pods -l app=frontend
await 'the next pods' 30 replaced
run kubectl -n shop get pods -l app=frontend -o custom-columns="$columns"
vanished() { ! kubectl -n shop get tokenexposurereport default >/dev/null 2>&1; }
await 'the end of the report' 15 vanished
run kubectl get tokenexposurereports -A

# The script to stop it waits until all processes have ended.
keep_running() {
    sleep_forever() { exec sleep infinity >"$dir/open"; }
    start sleep_forever # in place of this script, whose end would stop the control plane
    cat >"$dir/stop" <<STOP
#!/bin/bash
kill -TERM -- -${pids[1]} -$cluster -$started
while kill -0 -- -${pids[1]} || kill -0 -- -$cluster; do sleep 0.1; done 2>/dev/null
rm -rf $dir
STOP
    chmod +x "$dir/stop"
    bold 'It keeps running, as KEEP=1 asks'
    printf '  use it    export KUBECONFIG=%s PATH=%s:$PATH\n  stop it   %s\n' "$KUBECONFIG" "$bin" "$dir/stop"
    trap - EXIT INT TERM HUP
    disown -a
}
if [ -n "${KEEP:-}" ]; then keep_running; fi

bold "That was it in $(elapsed). What next:"
cat <<NEXT
  your manifests      $program scan DIR
  your cluster        $program scan -A   # reads only, from kubectl's current context
  a page to browse    $program scan $samples --report-scope all -o html=samples.html
  play with this one  make demo KEEP=1
  deploy it           make build, then "Deploy" in README.md
NEXT
