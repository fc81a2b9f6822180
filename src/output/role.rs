//! The smallest Roles that cover what was seen, with their bindings: a proposal, ready to apply.

use std::io;

use serde_json::{Value, json};

use super::{table::visible, usage::window};
use crate::model::{Explanation, Rule};

const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

/// Writes the Roles and RoleBindings; of requests for the whole cluster, a ClusterRole and its binding.
///
/// # Errors
/// When the output cannot be written.
pub fn write(out: &mut impl io::Write, explanation: &Explanation) -> io::Result<()> {
    let account = &explanation.exposure.account;
    let (Some(total), Some(detail)) = (&explanation.exposure.usage, &explanation.usage) else {
        return Ok(());
    };
    let mut head = vec![
        format!(
            "A proposal: what the tokens of ServiceAccount {account} were seen to use, and nothing else but what a note says."
        ),
        format!("Seen in {}.", window(&total.window)),
    ];
    head.extend(
        total
            .window
            .holes
            .iter()
            .map(|hole| format!("Missing: {hole}.")),
    );
    head.extend(
        detail
            .remarks
            .iter()
            .map(|remark| format!("Note: {remark}.")),
    );
    if detail.proposal.is_empty() && detail.remarks.is_empty() {
        head.push(
            "No request needed a permission beyond the default permissions: no Role is needed."
                .to_owned(),
        );
    }
    for line in head {
        writeln!(out, "# {}", visible(&line))?;
    }
    for (namespace, rules) in &detail.proposal {
        for object in objects(explanation, namespace, rules) {
            let text = serde_saphyr::to_string(&object).map_err(io::Error::other)?;
            writeln!(out, "---")?;
            out.write_all(text.as_bytes())?;
        }
    }
    Ok(())
}

fn objects(explanation: &Explanation, namespace: &str, rules: &[Rule]) -> [Value; 2] {
    let account = &explanation.exposure.account;
    let kind = if namespace.is_empty() {
        "ClusterRole"
    } else {
        "Role"
    };
    // Accounts of several namespaces may have one name: no namespace and no account has a colon.
    let name = if *namespace == *account.namespace {
        format!("{}-used", account.name)
    } else {
        format!("{}:{}-used", account.namespace, account.name)
    };
    let mut metadata = json!({ "name": name });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    let rules: Vec<_> = rules.iter().map(rule).collect();
    let role =
        json!({ "apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "rules": rules });
    let binding = json!({
        "apiVersion": API_VERSION,
        "kind": format!("{kind}Binding"),
        "metadata": metadata,
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": *account.name, "namespace": *account.namespace }],
    });
    [role, binding]
}

fn rule(rule: &Rule) -> Value {
    let mut value = json!({ "verbs": rule.verbs });
    for (field, list) in [
        ("apiGroups", &rule.api_groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.resource_names),
        ("nonResourceURLs", &rule.non_resource_urls),
    ] {
        if !list.is_empty() {
            value[field] = json!(list);
        }
    }
    value
}
