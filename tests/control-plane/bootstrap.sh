#!/usr/bin/env bash
# Prints the RBAC objects that kube-apiserver bootstraps, one a line, from the cluster of the
# current KUBECONFIG: the content of `src/files/bootstrap.json`, for scans of files.
set -euo pipefail
"$("$(dirname "${BASH_SOURCE[0]}")/programs.sh")/kubectl" get clusterroles,clusterrolebindings,roles,rolebindings -A \
    -l kubernetes.io/bootstrapping=rbac-defaults -o json | python3 -c '
import json, sys
for item in json.load(sys.stdin)["items"]:
    metadata = {key: item["metadata"][key] for key in ("namespace", "name") if key in item["metadata"]}
    labels = {k: v for k, v in item["metadata"].get("labels", {}).items() if k.startswith("rbac.authorization.k8s.io/")}
    item["metadata"] = metadata | ({"labels": labels} if labels else {})
    if "aggregationRule" in item:
        item["rules"] = []
    print(json.dumps(item, separators=(",", ":"), sort_keys=True))'
