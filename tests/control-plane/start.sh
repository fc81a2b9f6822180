#!/usr/bin/env bash
# Starts etcd, kube-apiserver and kube-controller-manager on free loopback ports, with all their
# state in DIR, prints `ready` once the API server is, and stops them all when its standard input
# closes or it gets a signal: it leaves no process behind.
#
#   start.sh DIR [kube-apiserver flag…]
#
# DIR/kubeconfig is an administrator's, DIR/server the URL, DIR/ca.crt the server's certificate,
# DIR/pids the process ids by program, DIR/*.log their logs. With REMOVE=1 in the environment DIR is removed
# at the end. With SEEDED=1 it first prints `etcd PORT`, and starts the API server after it has read a line: meanwhile a
# large world is written into etcd. Then no kube-controller-manager runs, which would delete pods without owners and nodes.
set -euo pipefail

dir=${1:?usage: start.sh DIR [kube-apiserver flag…]}
shift
for tool in openssl flock; do
    command -v "$tool" >/dev/null || { echo "control plane: needs \`$tool\`: install it" >&2; exit 1; }
done
bin=$("$(dirname "${BASH_SOURCE[0]}")/programs.sh")
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)

# Less garbage collection for more memory: a start needs a fifth less CPU time.
export GOGC=${GOGC:-400}
# How many seconds a program may take until it is ready; what a large world needs of etcd and of the API server.
patience=180
etcd_flags=()
if [ -n "${SEEDED:-}" ]; then
    patience=600
    etcd_flags=(--quota-backend-bytes=8589934592)
    export GOMEMLIMIT=${GOMEMLIMIT:-12GiB}
fi

pids=()
finish() {
    trap - EXIT INT TERM
    # The controller manager first, so that nothing waits for a server that has stopped.
    local i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        # A stopped process (SIGSTOP) can only be killed.
        kill -KILL "${pids[i]}" 2>/dev/null || true
        wait "${pids[i]}" 2>/dev/null || true
    done
    [ -z "${REMOVE:-}" ] || rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; } # PORT

# Three ports below the range of outgoing connections. They are this directory's until all its programs have ended, also
# while one of them is being restarted: a lock says so.
reserve_ports() {
    local slot=$(($$ % 3000)) lock
    while :; do
        etcd_port=$((20000 + slot * 3)) peer_port=$((20001 + slot * 3)) api_port=$((20002 + slot * 3))
        exec {lock}>"${TMPDIR:-/tmp}/token-exposure-ports-$etcd_port"
        if flock --nonblock "$lock" && ! listens "$etcd_port" && ! listens "$peer_port" && ! listens "$api_port"; then
            return
        fi
        exec {lock}>&-
        slot=$(((slot + 1) % 3000))
    done
}

launch() { # NAME PROGRAM ARG…
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pids+=($!)
    printf '%s %s\n' "$name" $! >>"$dir/pids"
}

healthy() { # NAME COMMAND…: waits for the command to succeed; fails when the newest program has ended
    local name=$1 pid=${pids[-1]} deadline=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        if ! kill -0 "$pid" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            printf 'control plane: %s did not become ready; the end of its log:\n' "$name" >&2
            tail -n 5 "$dir/$name.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

kubectl=("$bin/kubectl" --kubeconfig "$dir/kubeconfig")
reserve_ports
: >"$dir/pids"
# An RSA key takes much longer to make.
[ -f "$dir/sa.key" ] || openssl ecparam -name prime256v1 -genkey -noout -out "$dir/sa.key"
printf 'admintoken,admin,1,"system:masters"\n' >"$dir/tokens.csv"

launch etcd "$bin/etcd" --data-dir "$dir/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
    --listen-peer-urls "http://127.0.0.1:$peer_port" "${etcd_flags[@]}"
if [ -n "${SEEDED:-}" ]; then
    healthy etcd listens "$etcd_port"
    printf 'etcd %s\n' "$etcd_port"
    read -r _ || exit 0
fi
launch kube-apiserver "$bin/kube-apiserver" --etcd-servers "http://127.0.0.1:$etcd_port" \
    --cert-dir "$dir/certs" --bind-address 127.0.0.1 --secure-port "$api_port" --authorization-mode RBAC \
    --service-account-issuer https://kubernetes.default.svc --service-account-key-file "$dir/sa.key" \
    --service-account-signing-key-file "$dir/sa.key" --token-auth-file "$dir/tokens.csv" \
    --service-cluster-ip-range 10.0.0.0/24 --allow-privileged=true "$@"

printf 'https://127.0.0.1:%s\n' "$api_port" >"$dir/server"
cat >"$dir/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: admin
clusters: [{name: local, cluster: {server: "https://127.0.0.1:$api_port", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: admintoken}}]
contexts: [{name: admin, context: {cluster: local, user: admin}}]
YAML
# Each kubectl takes CPU time from the server: only one is started, which waits for the account.
ready() {
    printf 'GET /readyz HTTP/1.0\r\nAuthorization: Bearer admintoken\r\n\r\n' |
        openssl s_client -quiet -connect "127.0.0.1:$api_port" | grep '^HTTP/[0-9.]* 200'
}
healthy kube-apiserver listens "$api_port"
healthy kube-apiserver ready
cp "$dir/certs/apiserver.crt" "$dir/ca.crt"
sed -i "s|insecure-skip-tls-verify: true|certificate-authority: \"$dir/ca.crt\"|" "$dir/kubeconfig"

if [ -z "${SEEDED:-}" ]; then
    # Those whose work tests see: accounts and tokens, owners, workloads, quotas, aggregated roles, admission policies.
    controllers=serviceaccount-controller,serviceaccount-token-controller,legacy-serviceaccount-token-cleaner-controller
    controllers+=,root-ca-certificate-publisher-controller,namespace-controller,garbage-collector-controller
    controllers+=,resourcequota-controller,clusterrole-aggregation-controller,validatingadmissionpolicy-status-controller
    controllers+=,deployment-controller,replicaset-controller,statefulset-controller,daemonset-controller,job-controller
    controllers+=,cronjob-controller,replicationcontroller-controller
    launch kube-controller-manager "$bin/kube-controller-manager" --kubeconfig "$dir/kubeconfig" \
        --service-account-private-key-file "$dir/sa.key" --use-service-account-credentials=true \
        --root-ca-file "$dir/ca.crt" --controllers="$controllers" --secure-port 0 --leader-elect=false
    account() { # kubectl before 1.31 cannot wait for an object that is not there
        "${kubectl[@]}" wait --for=create serviceaccount/default --timeout=180s || "${kubectl[@]}" get serviceaccount default
    }
    healthy kube-controller-manager account
fi

printf 'ready\n'
# A background job has no standard input unless it is handed one.
cat <&0 >/dev/null &
wait $! || true
