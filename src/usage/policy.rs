//! What would an audit policy not record? Mirrors `ruleMatches` of
//! k8s.io/apiserver/pkg/audit/policy/checker.go: the first rule that matches decides.

use crate::model::ServiceAccountRef;

/// An audit policy (`audit.k8s.io/v1`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its rules, in order.
    pub rules: Vec<PolicyRule>,
}

/// One rule of an audit policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Why what it matches may leave no event: level `None`, or omitted stages.
    pub drops: Option<&'static str>,
    /// `users`.
    pub users: Vec<Box<str>>,
    /// `userGroups`.
    pub user_groups: Vec<Box<str>>,
    /// `verbs`.
    pub verbs: Vec<Box<str>>,
    /// `resources`: the groups with their resources.
    pub resources: Vec<Resources>,
    /// `namespaces`.
    pub namespaces: Vec<Box<str>>,
    /// `nonResourceURLs`.
    pub urls: Vec<Box<str>>,
}

/// One entry of `resources`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// `group`.
    pub group: Box<str>,
    /// `resources`; empty for all of the group.
    pub resources: Vec<Box<str>>,
    /// `resourceNames`.
    pub names: Vec<Box<str>>,
}

impl PolicyRule {
    /// Whether it can match a request of the account.
    fn concerns(&self, account: &ServiceAccountRef) -> bool {
        let username = account.username();
        let of_namespace = format!("system:serviceaccounts:{}", account.namespace);
        let groups = [
            "system:serviceaccounts",
            &of_namespace,
            "system:authenticated",
        ];
        let has_user = self.users.is_empty() || self.users.iter().any(|user| **user == *username);
        let mut own = self.user_groups.iter();
        has_user && (self.user_groups.is_empty() || own.any(|group| groups.contains(&&**group)))
    }

    /// Whether it matches every request of those whom it concerns.
    const fn matches_all(&self) -> bool {
        self.verbs.is_empty()
            && self.resources.is_empty()
            && self.namespaces.is_empty()
            && self.urls.is_empty()
    }

    /// Whether it matches the creation of a TokenReview, which has neither a name nor a namespace. Verbs, groups and
    /// namespaces have no wildcards; where somebody meant one to drop something, it counts.
    fn concerns_reviews(&self) -> bool {
        let is =
            |listed: &str, word: &str| listed == word || (self.drops.is_some() && listed == "*");
        let has = |list: &[Box<str>], word: &str| list.iter().any(|listed| is(listed, word));
        let is_of_reviews = |entry: &Resources| {
            let mut resources = entry.resources.iter();
            is(&entry.group, "authentication.k8s.io")
                && (entry.resources.is_empty()
                    || resources
                        .any(|name| matches!(&**name, "*" | "tokenreviews" | "tokenreviews/*")))
                && (entry.names.is_empty() || self.drops.is_some())
        };
        let of_resources = if self.resources.is_empty() {
            self.urls.is_empty()
        } else {
            self.resources.iter().any(is_of_reviews)
        };
        of_resources
            && (self.verbs.is_empty() || has(&self.verbs, "create"))
            && (self.namespaces.is_empty() || has(&self.namespaces, ""))
    }

    /// Whether it is limited to components of Kubernetes, which let nobody in by a token.
    fn is_for_components(&self) -> bool {
        // Others, such as `system:masters` and `system:admin`, are people and their tools.
        let is_component = |name: &str| {
            matches!(name, "system:nodes" | "system:apiserver")
                || name.starts_with("system:node:")
                || name.starts_with("system:kube-")
        };
        let mut users = self.users.iter().chain(&self.user_groups);
        let is_limited = users.clone().next().is_some();
        is_limited && users.all(|name| is_component(name))
    }

    /// Whether it matches every user.
    fn is_for_all(&self) -> bool {
        self.users.is_empty()
            && (self.user_groups.is_empty()
                || self
                    .user_groups
                    .iter()
                    .any(|group| **group == *"system:authenticated"))
    }

    /// What it matches, in a few words.
    fn name(&self, number: usize) -> String {
        let list = |title: &str, words: &[Box<str>]| {
            (!words.is_empty()).then(|| format!("{title} {}", words.join(", ")))
        };
        let resources: Vec<Box<str>> = self
            .resources
            .iter()
            .map(|entry| match (&*entry.group, &entry.resources[..]) {
                ("", []) => "of the core group".into(),
                (group, []) => format!("of {group}").into(),
                ("", resources) => resources.join(", ").into(),
                (group, resources) => format!("{} of {group}", resources.join(", ")).into(),
            })
            .collect();
        let parts = [
            list("verbs", &self.verbs),
            list("resources", &resources),
            list("namespaces", &self.namespaces),
            list("URLs", &self.urls),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        let parts = if parts.is_empty() {
            "everything".to_owned()
        } else {
            parts.join("; ")
        };
        match self.drops {
            Some(why) if why != "level None" => format!("rule {number} ({parts}) {why}"),
            _ => format!("rule {number} ({parts})"),
        }
    }
}

impl Policy {
    /// The first rule that leaves out TokenReviews of somebody; `None` if all are recorded. They may concern any
    /// account.
    #[must_use]
    pub fn drops_reviews(&self) -> Option<String> {
        for (number, rule) in self.rules.iter().enumerate() {
            if !rule.concerns_reviews() || rule.is_for_components() {
                continue;
            }
            if rule.drops.is_some() {
                return Some(rule.name(number + 1));
            }
            if rule.is_for_all() {
                return None;
            }
        }
        Some("no rule matches every TokenReview".to_owned())
    }

    /// The first rule that leaves out a request of the account; `None` if all are recorded.
    ///
    /// NB: it is enough that a rule can match: whether an earlier rule records the same requests is only asked for
    /// those that match everything.
    #[must_use]
    pub fn drops(&self, account: &ServiceAccountRef) -> Option<String> {
        for (number, rule) in self.rules.iter().enumerate() {
            if !rule.concerns(account) {
                continue;
            }
            if rule.drops.is_some() {
                return Some(rule.name(number + 1));
            }
            if rule.matches_all() {
                return None;
            }
        }
        Some("no rule matches everything".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(drops: bool, change: impl FnOnce(&mut PolicyRule)) -> PolicyRule {
        let mut rule = PolicyRule {
            drops: drops.then_some("level None"),
            ..PolicyRule::default()
        };
        change(&mut rule);
        rule
    }

    #[test]
    fn a_policy_must_record_whoever_has_tokens_reviewed() {
        let drops = |rules: Vec<PolicyRule>| Policy { rules }.drops_reviews();
        let all = || rule(false, |_| {});
        let nodes = rule(true, |rule| rule.user_groups = vec!["system:nodes".into()]);
        assert_eq!(drops(vec![nodes, all()]), None);
        let reviews = rule(false, |rule| {
            rule.resources = vec![Resources {
                group: "authentication.k8s.io".into(),
                resources: vec!["tokenreviews".into()],
                ..Resources::default()
            }];
        });
        assert_eq!(drops(vec![reviews.clone()]), None);
        let accounts = rule(false, |rule| {
            rule.user_groups = vec!["system:serviceaccounts".into()];
        });
        assert!(drops(vec![accounts]).is_some());
        let someone = rule(true, |rule| rule.users = vec!["vault".into()]);
        assert_eq!(
            drops(vec![someone, all()]),
            Some("rule 1 (everything)".to_owned())
        );
        // The API server compares verbs, namespaces and names as they are.
        let changes: [fn(&mut PolicyRule); 3] = [
            |rule| rule.verbs = vec!["*".into()],
            |rule| rule.namespaces = vec!["*".into()],
            |rule| rule.resources[0].names = vec!["x".into()],
        ];
        for change in changes {
            let mut limited = reviews.clone();
            change(&mut limited);
            let none = Some("no rule matches every TokenReview".to_owned());
            assert_eq!(drops(vec![limited]), none);
        }
        for (group, user) in [("system:masters", None), ("", Some("system:admin"))] {
            let people = rule(true, |rule| {
                rule.user_groups = (!group.is_empty())
                    .then(|| group.into())
                    .into_iter()
                    .collect();
                rule.users = user.map(Box::from).into_iter().collect();
            });
            assert!(drops(vec![people, all()]).is_some(), "{group} {user:?}");
        }
        let dropped = PolicyRule {
            drops: Some("level None"),
            ..reviews
        };
        assert_eq!(
            drops(vec![dropped, all()]),
            Some("rule 1 (resources tokenreviews of authentication.k8s.io)".to_owned())
        );
    }

    #[test]
    fn a_policy_is_complete_if_no_rule_leaves_out_a_request_of_the_account() {
        let account = ServiceAccountRef::new("shop", "mail");
        let drops = |rules: Vec<PolicyRule>| Policy { rules }.drops(&account);
        let all = || rule(false, |_| {});
        let own = "system:serviceaccount:shop:mail";
        assert_eq!(drops(vec![all()]), None);
        let accounts = rule(false, |rule| {
            rule.user_groups = vec!["system:serviceaccounts".into()];
        });
        assert_eq!(drops(vec![accounts, rule(true, |_| {})]), None);
        let nodes = rule(true, |rule| rule.user_groups = vec!["system:nodes".into()]);
        assert_eq!(drops(vec![nodes, all()]), None);
        let proxy = rule(true, |rule| rule.users = vec!["system:kube-proxy".into()]);
        assert_eq!(drops(vec![proxy, all()]), None);
        for (name, dropped) in [
            ("no rule matches everything", None),
            (
                "rule 1 (everything)",
                Some(rule(true, |rule| rule.users = vec![own.into()])),
            ),
            (
                "rule 1 (verbs get, list)",
                Some(rule(true, |rule| {
                    rule.verbs = vec!["get".into(), "list".into()];
                })),
            ),
            (
                "rule 1 (namespaces shop)",
                Some(rule(true, |rule| rule.namespaces = vec!["shop".into()])),
            ),
            (
                "rule 1 (URLs /version)",
                Some(rule(true, |rule| rule.urls = vec!["/version".into()])),
            ),
            (
                "rule 1 (resources events)",
                Some(rule(true, |rule| {
                    rule.resources = vec![Resources {
                        resources: vec!["events".into()],
                        ..Resources::default()
                    }];
                })),
            ),
        ] {
            let rules = dropped.map_or_else(Vec::new, |dropped| vec![dropped, all()]);
            assert_eq!(drops(rules), Some(name.to_owned()));
        }
    }
}
