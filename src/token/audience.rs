//! Who accepts a token: this API server, another system, or is that not known?

use crate::model::{ApiAudiences, Reach, pod::WITHHELD_AUDIENCE};

/// Who accepts a token with this audience.
#[must_use]
pub fn reach(audience: &str, known: &ApiAudiences) -> Reach {
    if audience.is_empty() || known.names.contains(audience) {
        Reach::Api
    } else if known.complete || audience == WITHHELD_AUDIENCE || product(audience).is_some() {
        Reach::External
    } else {
        Reach::Unknown
    }
}

/// The product that verifies a token with this audience, where it is known.
#[must_use]
pub fn verifier(audience: &str, reach: Reach) -> Option<&'static str> {
    match reach {
        Reach::External => product(audience),
        Reach::Api | Reach::Unknown => None,
    }
}

/// The product that defines an audience for its own servers.
fn product(audience: &str) -> Option<&'static str> {
    const EXACT: [(&str, &str); 17] = [
        // amazon-eks-pod-identity-webhook: main.go
        ("sts.amazonaws.com", "AWS IRSA"),
        ("pods.eks.amazonaws.com", "EKS Pod Identity"),
        // azure-workload-identity: pkg/webhook/consts.go
        ("api://AzureADTokenExchange", "Azure Workload Identity"),
        ("api://AzureADTokenExchangeUSGov", "Azure Workload Identity"),
        ("api://AzureADTokenExchangeChina", "Azure Workload Identity"),
        // istio: the volume istio-token
        ("istio-ca", "Istio"),
        // linkerd2: charts/partials/_volumes.tpl
        ("identity.l5d.io", "Linkerd"),
        // spire: doc/plugin_agent_nodeattestor_k8s_psat.md
        ("spire-server", "SPIRE"),
        // Vault's Kubernetes and JWT auth
        ("vault", "Vault"),
        // dapr, before 1.15
        ("dapr.io/sentry", "Dapr"),
        // kubeflow/pipelines: sdk/python/kfp/client
        ("pipelines.kubeflow.org", "Kubeflow Pipelines"),
        // Sigstore's Fulcio
        ("sigstore", "Sigstore"),
        // minio/operator
        ("sts.min.io", "MinIO"),
        ("sts.aliyuncs.com", "Alibaba Cloud RRSA"),
        ("sts.cloud.tencent.com", "Tencent Cloud"),
        ("snowflakecomputing.com", "Snowflake"),
        ("https://api.openai.com/v1", "OpenAI"),
    ];
    const PREFIXES: [(&str, &str); 3] = [
        ("//iam.googleapis.com/", "Google Workload Identity"),
        ("https://iam.googleapis.com/", "Google Workload Identity"),
        ("api.tailscale.com/", "Tailscale"),
    ];
    const SUFFIXES: [(&str, &str); 2] = [
        (".svc.id.goog", "Google Workload Identity"),
        ("/dapr-sentry", "Dapr"),
    ];
    let exact = EXACT.iter().find(|(known, _)| *known == audience);
    let by_prefix = || {
        PREFIXES
            .iter()
            .find(|(known, _)| audience.starts_with(known))
    };
    let by_suffix = || SUFFIXES.iter().find(|(known, _)| audience.ends_with(known));
    exact
        .or_else(by_prefix)
        .or_else(by_suffix)
        .map(|(_, product)| *product)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_accepts_an_audience_depends_on_the_known_audiences_of_the_api_server() {
        let offline = ApiAudiences::default();
        let issuer = ApiAudiences {
            names: ["https://issuer".into()].into(),
            complete: false,
        };
        let complete = ApiAudiences {
            complete: true,
            ..issuer.clone()
        };
        let cases = [
            ("", [Reach::Api, Reach::Api, Reach::Api]),
            ("https://issuer", [Reach::Unknown, Reach::Api, Reach::Api]),
            ("sts.amazonaws.com", [Reach::External; 3]),
            ("pool.svc.id.goog", [Reach::External; 3]),
            (
                "https://kubernetes.default.svc",
                [Reach::Unknown, Reach::Unknown, Reach::External],
            ),
        ];
        for (audience, expected) in cases {
            assert_eq!(
                [&offline, &issuer, &complete].map(|known| reach(audience, known)),
                expected,
                "{audience}"
            );
        }
    }

    #[test]
    fn an_audience_that_the_api_server_accepts_is_its_own_even_if_a_product_uses_it() {
        let known = ApiAudiences {
            names: ["vault".into()].into(),
            complete: false,
        };
        assert_eq!(reach("vault", &known), Reach::Api);
    }
}
