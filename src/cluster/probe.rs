//! What kind of cluster is this? Requests that need no special permissions.

use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenReview, TokenReviewSpec},
    authorization::v1::{
        ResourceAttributes, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;

use crate::{
    facts::{rbac::rule, wire},
    model::{ApiAudiences, Rule, token::TokenStatus},
    rbac::defaults::is_default_rule,
    token::claims::parse_token,
};

/// Whether RBAC is enforced: a user that no binding can reach must not be allowed anything. The review
/// names no groups, since a binding may well grant everything to all ServiceAccounts.
///
/// # Errors
/// When the review itself is denied or fails.
pub async fn rbac_enforced(client: &Client) -> kube::Result<bool> {
    let namespace = "token-exposure-nobody";
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:nobody")),
            resource_attributes: Some(ResourceAttributes {
                verb: Some("get".to_owned()),
                group: Some("tokenexposure.invalid".to_owned()),
                resource: Some("nothing".to_owned()),
                namespace: Some(namespace.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let review = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    Ok(!review.status.is_some_and(|status| status.allowed))
}

/// Whether the API server accepts the credential of a client, and as which user.
///
/// # Errors
/// When it answers with an error other than 401 or 403.
pub async fn token_status(client: &Client) -> kube::Result<TokenStatus> {
    let reviews: Api<SelfSubjectReview> = Api::all(client.clone());
    let review = SelfSubjectReview::default();
    match reviews.create(&PostParams::default(), &review).await {
        Ok(SelfSubjectReview { status, .. }) => {
            let user = status
                .and_then(|status| status.user_info)
                .unwrap_or_default();
            let name = user.username.unwrap_or_default();
            Ok(TokenStatus::Accepted(name, user.groups.unwrap_or_default()))
        }
        Err(kube::Error::Api(status)) if status.code == 401 => Ok(TokenStatus::Rejected(None)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            Ok(TokenStatus::Denied(status.message))
        }
        Err(error) => Err(error),
    }
}

/// Why the API server rejects a token; `None` where it does not say.
///
/// # Errors
/// When we may not create TokenReviews, or the request fails.
pub async fn rejection(client: &Client, token: &str) -> kube::Result<Option<String>> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: Some(token.to_owned()),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let answer: TokenReview = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let error = answer.status.and_then(|status| status.error);
    Ok(error.filter(|error| !error.is_empty()))
}

/// What the credential of a client may do in a namespace beyond the default permissions, as the API server
/// answers.
///
/// # Errors
/// When the review is denied or fails.
pub async fn own_rules(client: &Client, namespace: &str) -> kube::Result<Vec<Rule>> {
    let review = SelfSubjectRulesReview {
        spec: SelfSubjectRulesReviewSpec {
            namespace: Some(namespace.to_owned()),
        },
        ..SelfSubjectRulesReview::default()
    };
    let answer: SelfSubjectRulesReview = Api::all(client.clone())
        .create(&PostParams::default(), &review)
        .await?;
    let status = answer.status.unwrap_or_default();
    let words = |list: Option<Vec<String>>| -> Vec<Box<str>> {
        list.unwrap_or_default()
            .into_iter()
            .map(Box::from)
            .collect()
    };
    let resources = status
        .resource_rules
        .into_iter()
        .map(|own| wire::PolicyRule {
            verbs: words(Some(own.verbs)),
            api_groups: words(own.api_groups),
            resources: words(own.resources),
            resource_names: words(own.resource_names),
            non_resource_urls: Vec::new(),
        });
    let urls = status.non_resource_rules.into_iter();
    let urls = urls.map(|own| wire::PolicyRule {
        verbs: words(Some(own.verbs)),
        non_resource_urls: words(own.non_resource_urls),
        ..wire::PolicyRule::default()
    });
    let own = resources.chain(urls).map(|own| rule(&own));
    Ok(own.filter(|rule| !is_default_rule(rule)).collect())
}

/// The OpenID configuration that an API server publishes.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
}

/// The audiences that the API server accepts, as far as known: from our own token, which has all of them
/// when it was requested without an audience, and from the issuer that the API server publishes.
pub async fn api_audiences(client: &Client, own_token: Option<&str>) -> ApiAudiences {
    if let Some(names) = own_token.and_then(audiences_of) {
        return ApiAudiences {
            names: names.into_iter().collect(),
            complete: true,
        };
    }
    let request = http::Request::get("/.well-known/openid-configuration").body(Vec::new());
    let Ok(request) = request else {
        return ApiAudiences::default();
    };
    match client.request::<Discovery>(request).await {
        // The issuer is the default audience; --api-audiences may have set others.
        Ok(discovery) => ApiAudiences {
            names: [discovery.issuer].into(),
            complete: false,
        },
        Err(error) => {
            tracing::debug!(%error, "the API server's issuer cannot be read");
            ApiAudiences::default()
        }
    }
}

/// The audiences of a ServiceAccount token; `None` for any other credential, and for a token without
/// audiences.
fn audiences_of(token: &str) -> Option<Vec<String>> {
    let audiences = parse_token(token).ok()?.audiences;
    (!audiences.is_empty()).then_some(audiences)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn only_a_service_account_token_tells_the_api_audiences() {
        let own = token(r#"{"sub":"system:serviceaccount:a:b","aud":["https://issuer","other"]}"#);
        assert_eq!(
            audiences_of(&own),
            Some(vec!["https://issuer".to_owned(), "other".to_owned()])
        );
        for other in [
            token(r#"{"sub":"alice","aud":["x"]}"#),
            token(r#"{"sub":"system:serviceaccount:a:b"}"#),
            "admintoken".into(),
            "a.!.c".into(),
            String::new(),
        ] {
            assert_eq!(audiences_of(&other), None, "{other}");
        }
    }
}
