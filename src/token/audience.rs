//! Whom does a token convince: this API server, somebody else, or is that not known?

use crate::model::{ApiAudiences, Reach};

/// Whom a token with this audience convinces.
#[must_use]
pub fn reach(audience: &str, known: &ApiAudiences) -> Reach {
    if audience.is_empty() || known.names.contains(audience) {
        Reach::Api
    } else if known.complete || is_well_known_elsewhere(audience) {
        Reach::External
    } else {
        Reach::Unknown
    }
}

/// Audiences that products define for their own servers.
fn is_well_known_elsewhere(audience: &str) -> bool {
    const EXACT: [&str; 12] = [
        "sts.amazonaws.com",          // AWS IRSA: amazon-eks-pod-identity-webhook
        "pods.eks.amazonaws.com",     // EKS Pod Identity: the same webhook
        "api://AzureADTokenExchange", // Azure Workload Identity: pkg/webhook/consts.go
        "api://AzureADTokenExchangeUSGov",
        "api://AzureADTokenExchangeChina",
        "istio-ca",               // Istio: istio-token volume
        "identity.l5d.io",        // Linkerd: linkerd-identity-token volume
        "spire-server",           // SPIRE agent: spire-token volume
        "vault",                  // Vault Kubernetes and JWT auth
        "pipelines.kubeflow.org", // Kubeflow Pipelines
        "sigstore",               // Sigstore Fulcio
        "sts.aliyuncs.com",       // Alibaba Cloud RRSA
    ];
    EXACT.contains(&audience)
        || audience.starts_with("//iam.googleapis.com/") // Google workload identity federation
        || audience.starts_with("https://iam.googleapis.com/")
        || audience.ends_with(".svc.id.goog") // Google fleet workload identity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_judged_by_what_is_known_of_the_api_server() {
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
