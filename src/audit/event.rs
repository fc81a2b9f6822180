//! An event as the API server writes it (`audit.k8s.io/v1`), parsed without what is not read: bodies of requests,
//! source addresses and user agents are skipped, and text is borrowed.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::Value;

use super::{ACCOUNT, time};
use crate::{
    model::pod,
    usage::{Caller, NO_VERB, Object, PodName, Request, Stage},
};

/// A text, borrowed where it has no escapes; empty where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

/// Reads a text, a list of texts (the first one), or `null`.
struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Text<'de>, A::Error> {
        let first = list.next_element()?.unwrap_or_default();
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(first)
    }
}

/// Which of the groups that matter a user is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Groups {
    accounts: bool,
    masters: bool,
    nodes: bool,
}

impl Groups {
    fn add(&mut self, group: &str) {
        match group {
            "system:serviceaccounts" => self.accounts = true,
            "system:masters" => self.masters = true,
            "system:nodes" => self.nodes = true,
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Groups {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfList;
        impl<'de> Visitor<'de> for OfList {
            type Value = Groups;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of groups")
            }

            /// As shippers write a list: with commas, or as JSON.
            fn visit_str<E>(self, text: &str) -> Result<Groups, E> {
                let is_between = |letter: char| " ,;[]\"\t".contains(letter);
                let mut groups = Groups::default();
                text.split(is_between).for_each(|group| groups.add(group));
                Ok(groups)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Groups, A::Error> {
                let mut groups = Groups::default();
                while let Some(group) = list.next_element::<Text<'de>>()? {
                    groups.add(&group);
                }
                Ok(groups)
            }
        }
        deserializer.deserialize_any(OfList)
    }
}

/// Whether something is there, whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Present(bool);

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::<IgnoredAny>::deserialize(deserializer)?;
        Ok(Self(value.is_some()))
    }
}

/// Reads `null` as the default value.
pub(super) fn lenient<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// An event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Event<'a> {
    #[serde(rename = "auditID", borrow)]
    audit_id: Text<'a>,
    #[serde(borrow)]
    stage: Text<'a>,
    #[serde(rename = "requestURI", borrow)]
    request_uri: Text<'a>,
    /// Empty for a method that is none of HTTP; each event has it.
    #[serde(borrow)]
    verb: Option<Text<'a>>,
    #[serde(deserialize_with = "lenient", borrow)]
    user: User<'a>,
    impersonated_user: Present,
    #[serde(deserialize_with = "lenient", borrow)]
    object_ref: ObjectRef<'a>,
    #[serde(deserialize_with = "lenient")]
    response_status: Status,
    #[serde(borrow)]
    request_received_timestamp: Text<'a>,
    #[serde(borrow)]
    stage_timestamp: Text<'a>,
    #[serde(deserialize_with = "lenient", borrow)]
    annotations: Annotations<'a>,
    #[serde(borrow)]
    response_object: Skipped<'a>,
    /// Set by the reader of a format that has no groups and no uid of pods.
    is_account_only: bool,
}

/// The response, as text: only that to a TokenReview is parsed.
#[derive(Debug, Default)]
struct Skipped<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Skipped<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A value that is not parsed from text has no raw text: then whose token it is stays unknown.
        let raw = <&serde_json::value::RawValue>::deserialize(deserializer);
        Ok(Self(raw.ok().map(serde_json::value::RawValue::get)))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User<'a> {
    #[serde(borrow)]
    username: Text<'a>,
    /// Each user of the API server has some: without this field, a shipper has left them out.
    groups: Option<Groups>,
    #[serde(deserialize_with = "lenient", borrow)]
    extra: Extra<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Extra<'a> {
    #[serde(rename = "authentication.kubernetes.io/pod-name", borrow)]
    pod_name: Text<'a>,
    #[serde(rename = "authentication.kubernetes.io/pod-uid", borrow)]
    pod_uid: Text<'a>,
    #[serde(rename = "authentication.kubernetes.io/credential-id", borrow)]
    credential_id: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef<'a> {
    #[serde(borrow)]
    resource: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    api_group: Text<'a>,
    #[serde(borrow)]
    subresource: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "lenient")]
    code: u16,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations<'a> {
    #[serde(rename = "authorization.k8s.io/decision", borrow)]
    decision: Text<'a>,
    #[serde(rename = "authorization.k8s.io/reason", borrow)]
    reason: Text<'a>,
}

/// What a text turned out to be.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it exists only until the event is counted"
)]
pub(super) enum Found<'a> {
    /// An event.
    Request(Request<'a>),
    /// No event of the API server.
    Other,
    /// An event without what every event has.
    Incomplete,
}

impl Event<'_> {
    /// The request, if the text was an event.
    pub(super) fn found(&self) -> Found<'_> {
        if self.audit_id.is_empty() {
            return Found::Other;
        }
        let times = [&self.stage_timestamp, &self.request_received_timestamp];
        let time = times
            .into_iter()
            .filter_map(|text| time::micros(text))
            .max();
        let stage = match &*self.stage {
            "RequestReceived" => Stage::Received,
            "ResponseStarted" => Stage::Started,
            "ResponseComplete" | "Panic" => Stage::Complete,
            _ => return Found::Incomplete,
        };
        let (Some(time), Some(verb)) = (time, &self.verb) else {
            return Found::Incomplete;
        };
        // Only a request with an invalid credential has no user.
        if !self.has_user() && self.response_status.code != 401 && !self.is_account_only {
            return Found::Incomplete;
        }
        if self.user.is_uncertain() && !self.is_account_only {
            return Found::Incomplete;
        }
        let path = self.request_uri.split('?').next().unwrap_or_default();
        let object = &self.object_ref;
        Found::Request(Request {
            id: &self.audit_id,
            stage,
            caller: self.user.caller(self.is_account_only),
            impersonates: self.impersonated_user.0,
            verb: if verb.is_empty() { NO_VERB } else { verb },
            object: Object {
                group: &object.api_group,
                resource: &object.resource,
                subresource: &object.subresource,
                namespace: &object.namespace,
                name: &object.name,
            },
            path,
            is_denied: match &*self.annotations.decision {
                "forbid" => true,
                "allow" => false,
                _ => self.response_status.code == 403,
            },
            code: self.response_status.code,
            reason: &self.annotations.reason,
            reviewed: None,
            time,
        })
    }

    /// Whether it says who asked: a request with an invalid credential (401) does not.
    pub(super) fn has_user(&self) -> bool {
        !self.user.username.is_empty()
    }

    /// The user whose token a TokenReview was about; empty if it was rejected.
    pub(super) fn reviewed(&self) -> Option<String> {
        let text = self
            .response_object
            .0
            .filter(|_| &*self.object_ref.resource == "tokenreviews")?;
        let review: Value = serde_json::from_str(text).ok()?;
        let username = review["status"]["user"]["username"].as_str();
        Some(username.unwrap_or_default().to_owned())
    }
}

impl User<'_> {
    /// Whether it has the name of an account, and may be one or not.
    fn is_uncertain(&self) -> bool {
        self.groups.is_none() && self.username.starts_with(ACCOUNT)
    }

    fn caller(&self, is_account_only: bool) -> Caller<'_> {
        let other = Caller::Other(&self.username);
        let groups = self.groups.unwrap_or_default();
        if let Some(account) = self.username.strip_prefix(ACCOUNT) {
            let Some((namespace, name)) = account.split_once(':') else {
                return other;
            };
            let pod = match (pod::uid(&self.extra.pod_uid), &*self.extra.credential_id) {
                _ if is_account_only => PodName::Unknown,
                // Neither a certificate nor impersonation gives this name its group by itself.
                _ if !groups.accounts => return other,
                (_, id) if id.starts_with("X509") => return other,
                (Some(uid), _) => PodName::Bound {
                    uid,
                    name: &self.extra.pod_name,
                },
                (None, _) => PodName::Unbound,
            };
            let is_name = !namespace.is_empty() && !name.is_empty() && !name.contains(':');
            return if is_name {
                Caller::Token {
                    namespace,
                    name,
                    pod,
                }
            } else {
                other
            };
        }
        if &*self.username == "system:apiserver" && (groups.masters || is_account_only) {
            return Caller::ApiServer;
        }
        if self.username.starts_with("system:node:") && groups.nodes {
            return Caller::Kubelet;
        }
        other
    }
}
