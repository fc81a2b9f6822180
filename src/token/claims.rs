//! Which claims does a ServiceAccount token have? They are parsed as `pkg/serviceaccount/claims.go` and
//! `legacy.go` write them. The signature is not checked, and no part of a token gets into an error.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

use crate::model::{
    ServiceAccountRef,
    token::{BoundTo, TokenClaims},
};

/// Why a text is not a ServiceAccount token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is empty.
    #[error("there is no token: the input is empty")]
    Empty,
    /// It does not have three parts.
    #[error("this is not a JSON Web Token: it must have three parts separated by dots")]
    Parts,
    /// A part is not base64.
    #[error("this is not a JSON Web Token: its parts are not base64url")]
    Encoding,
    /// The second part is not a JSON object with claims of the right types.
    #[error("this is not a JSON Web Token: its second part does not hold claims as JSON")]
    Claims,
    /// Its subject is not a ServiceAccount.
    #[error(
        "this JSON Web Token is not a ServiceAccount token: its subject is not a ServiceAccount"
    )]
    Subject,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audiences,
    iat: Option<i64>,
    exp: Option<i64>,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io", default)]
    bound: Bound,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid", default)]
    legacy_uid: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    legacy_secret: Option<String>,
}

/// RFC 7519 also allows a single string.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

impl Default for Audiences {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Default, Deserialize)]
struct Bound {
    #[serde(default)]
    serviceaccount: Named,
    pod: Option<Named>,
    secret: Option<Named>,
    node: Option<Named>,
    warnafter: Option<i64>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Bound {
    /// The first object that newer API servers bind tokens to.
    fn other(&self) -> Option<BoundTo> {
        self.others.iter().find_map(|(kind, object)| {
            let text = |field: &str| Some(object.get(field)?.as_str()?.to_owned());
            let uid = text("uid").unwrap_or_default();
            Some(BoundTo::Other(kind.clone(), text("name")?, uid))
        })
    }
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

/// Reads the claims of a token.
///
/// # Errors
/// When it is not a JSON Web Token, or not a ServiceAccount token.
pub fn parse_token(token: &str) -> Result<TokenClaims, Malformed> {
    let token = token.trim();
    if token.is_empty() {
        return Err(Malformed::Empty);
    }
    let parts: Vec<&str> = token.split('.').collect();
    let [_, payload, _] = parts[..] else {
        return Err(Malformed::Parts);
    };
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=.".contains(&byte);
    if !token.bytes().all(is_base64url) {
        return Err(Malformed::Encoding);
    }
    let payload = URL_SAFE_NO_PAD
        .decode(payload.trim_end_matches('='))
        .map_err(|_| Malformed::Encoding)?;
    let claims: Payload = serde_json::from_slice(&payload).map_err(|_| Malformed::Claims)?;
    let account = ServiceAccountRef::from_username(&claims.sub).ok_or(Malformed::Subject)?;
    let node = claims.bound.node.as_ref().map(|node| node.name.clone());
    let bound = claims.bound;
    let other = bound.other();
    let bound_to = if let Some(Named { name, uid }) = bound.pod {
        Some(BoundTo::Pod(name, uid))
    } else if let Some(Named { name, uid }) = bound.secret {
        Some(BoundTo::Secret(name, uid))
    } else if let Some(Named { name, uid }) = bound.node {
        Some(BoundTo::Node(name, uid))
    } else {
        let legacy = claims.legacy_secret;
        let legacy = legacy.map(|secret| BoundTo::Secret(secret, String::new()));
        legacy.or(other)
    };
    Ok(TokenClaims {
        account,
        account_uid: if claims.legacy_uid.is_empty() {
            bound.serviceaccount.uid
        } else {
            claims.legacy_uid
        },
        issuer: claims.iss,
        audiences: match claims.aud {
            Audiences::One(audience) => vec![audience],
            Audiences::Many(audiences) => audiences,
        },
        bound_to,
        node,
        issued: claims.iat,
        expires: claims.exp,
        refresh_after: bound.warnafter,
        id: claims.jti,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2VjcmV0", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn the_object_that_a_token_is_bound_to_is_parsed() {
        let bound = |what: &str| {
            let claims = format!(
                r#"{{"sub":"system:serviceaccount:shop:web","aud":"vault","kubernetes.io":{{{what}"serviceaccount":{{"uid":"1"}}}}}}"#
            );
            parse_token(&token(&claims)).unwrap()
        };
        let pod = bound(r#""pod":{"name":"p","uid":"2"},"node":{"name":"n","uid":"3"},"#);
        assert_eq!(pod.bound_to, Some(BoundTo::Pod("p".into(), "2".into())));
        assert_eq!(
            (pod.node.as_deref(), pod.audiences, pod.account_uid.as_str()),
            (Some("n"), vec!["vault".to_owned()], "1")
        );
        let node = bound(r#""node":{"name":"n","uid":"3"},"#);
        assert_eq!(node.bound_to, Some(BoundTo::Node("n".into(), "3".into())));
        assert_eq!(bound("").bound_to, None);
        assert_eq!(bound(r#""namespace":"shop","pod-count":3,"#).bound_to, None);
        let webhook = bound(r#""validatingwebhookconfiguration":{"name":"v","uid":"4"},"#);
        let expected = ("validatingwebhookconfiguration", "v", "4");
        let (kind, name, uid) = expected;
        assert_eq!(
            webhook.bound_to,
            Some(BoundTo::Other(kind.into(), name.into(), uid.into()))
        );
    }

    #[test]
    fn an_error_never_contains_the_token() {
        for (text, expected) in [
            (String::new(), Malformed::Empty),
            (" \n".to_owned(), Malformed::Empty),
            ("secret".to_owned(), Malformed::Parts),
            ("a.b.c.d".to_owned(), Malformed::Parts),
            ("a.!secret!.c".to_owned(), Malformed::Encoding),
            (token("secret"), Malformed::Claims),
            (token(r#"{"sub":7}"#), Malformed::Claims),
            (token(r#"{"exp":"soon"}"#), Malformed::Claims),
            (token(r#"{"sub":"secret"}"#), Malformed::Subject),
            (
                token(r#"{"sub":"system:serviceaccount:a"}"#),
                Malformed::Subject,
            ),
        ] {
            let error = parse_token(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn times_that_cannot_be_subtracted_give_no_lifetime() {
        let claims = format!(
            r#"{{"sub":"system:serviceaccount:a:b","iat":{},"exp":{}}}"#,
            i64::MIN,
            i64::MAX
        );
        assert_eq!(parse_token(&token(&claims)).unwrap().lifetime(), None);
    }
}
