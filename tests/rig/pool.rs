//! Control planes that tests use one after the other. Starting one takes four seconds of CPU time, and an idle one
//! some percent of a core: instead, what a test leaves behind is deleted, and the next test gets the plane.
//!
//! A plane that cannot be made like new is stopped: after a panic, or when an object that it began with is not as it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
    sync::{Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{ControlPlane, holds_within};

/// How many of them exist at a time in a test program.
const PLANES: usize = 5;

static POOL: (Mutex<Pool>, Condvar) = (
    Mutex::new(Pool {
        idle: Vec::new(),
        alive: 0,
    }),
    Condvar::new(),
);

struct Pool {
    idle: Vec<(ControlPlane, Objects)>,
    alive: usize,
}

/// The objects of a control plane by their paths, with the content of those that answers depend on.
type Objects = BTreeMap<String, Value>;

/// A control plane for this test alone, as if it had just been started.
pub struct Lent {
    plane: Option<ControlPlane>,
    first: Objects,
}

/// One with `deploy/install.yaml`.
pub fn installed() -> Lent {
    let plane = bare();
    plane.install();
    plane
}

/// One without our manifests.
pub fn bare() -> Lent {
    let (pool, returned) = &POOL;
    let mut pool = pool.lock().unwrap();
    let idle = loop {
        if let Some(idle) = pool.idle.pop() {
            break Some(idle);
        }
        if pool.alive < PLANES {
            pool.alive += 1;
            break None;
        }
        pool = returned.wait(pool).unwrap();
    };
    drop(pool);
    let (plane, first) = idle.unwrap_or_else(|| {
        let plane = ControlPlane::bare(&[]);
        let first = objects(&plane).unwrap();
        (plane, first)
    });
    Lent {
        plane: Some(plane),
        first,
    }
}

impl Deref for Lent {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.plane.as_ref().expect("it is lent until it is dropped")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let (plane, first) = (self.plane.take(), std::mem::take(&mut self.first));
        let failed = thread::panicking();
        // Namespaces take some seconds to go: the test does not wait for them.
        thread::spawn(move || {
            let again = plane.filter(|plane| !failed && reset(plane, &first));
            let (pool, returned) = &POOL;
            let mut pool = pool.lock().unwrap();
            match again {
                Some(plane) => pool.idle.push((plane, first)),
                None => pool.alive -= 1,
            }
            returned.notify_one();
        });
    }
}

/// How long to wait before looking again.
const PAUSE: Duration = Duration::from_secs(1);
/// Where namespaces are.
const NAMESPACES: &str = "/api/v1/namespaces";
/// Kinds whose objects come and go by themselves.
const RESTLESS: [&str; 5] = [
    "events",
    "leases",
    "endpoints",
    "endpointslices",
    "apiservices",
];
/// Kinds that answers depend on: their objects must be as they were.
const DECISIVE: [&str; 5] = [
    "serviceaccounts",
    "roles",
    "rolebindings",
    "clusterroles",
    "clusterrolebindings",
];

/// Deletes all objects that were not there at first. Returns whether the plane is as it was.
fn reset(plane: &ControlPlane, first: &Objects) -> bool {
    let deadline = Instant::now() + Duration::from_secs(40);
    let mut deleted = BTreeSet::new();
    while Instant::now() < deadline {
        let Ok(mut now) = objects(plane) else {
            continue;
        };
        let whole = first
            .iter()
            .all(|(path, content)| content.is_null() || now.contains_key(path));
        now.retain(|path, content| first.get(path) != Some(content));
        // The controller manager creates these in each namespace.
        now.retain(|path, _| {
            first.contains_key(path)
                || !path.ends_with("/default") && !path.ends_with("/kube-root-ca.crt")
        });
        if whole && now.is_empty() {
            return true;
        }
        let mut going = BTreeSet::new();
        for path in now.into_keys().filter(|path| !first.contains_key(path)) {
            let folder = path.rsplit_once('/').map(|(folder, _)| folder);
            if folder == Some(NAMESPACES) {
                going.insert(path.clone());
            }
            // The objects in a namespace go with it.
            let namespace = path.split_once("/namespaces/").map(|(_, rest)| rest);
            let namespace = namespace.and_then(|rest| rest.split_once('/'));
            let goes = namespace.is_some_and(|(namespace, _)| {
                !first.contains_key(&format!("{NAMESPACES}/{namespace}"))
            });
            if !goes && !deleted.contains(&path) {
                plane.delete(&path);
                deleted.insert(path);
            }
        }
        // To look at one kind costs a hundredth of looking at all.
        thread::sleep(PAUSE);
        let time = deadline.saturating_duration_since(Instant::now());
        holds_within(time, PAUSE, || are_gone(plane, &going));
    }
    false
}

/// Whether none of these namespaces, given by path, is left; also if the API server does not say.
fn are_gone(plane: &ControlPlane, going: &BTreeSet<String>) -> bool {
    let Ok(Some(left)) = plane.ask(NAMESPACES) else {
        return true;
    };
    let mut left = items(&left, "items").iter();
    !left.any(|object| {
        let name = text(&object["metadata"], "name");
        going.contains(&format!("{NAMESPACES}/{name}"))
    })
}

/// All objects of all kinds that can be listed and deleted, but for those of the control plane itself.
fn objects(plane: &ControlPlane) -> Result<Objects, kube::Error> {
    let get = |path: &str| plane.ask(path).map(Option::unwrap_or_default);
    let mut groups = vec!["/api/v1".to_owned()];
    for group in items(&get("/apis")?, "groups") {
        groups.push(format!(
            "/apis/{}",
            text(&group["preferredVersion"], "groupVersion")
        ));
    }
    let mut objects = Objects::new();
    for group in groups {
        for kind in items(&get(&group)?, "resources") {
            let name = text(kind, "name");
            let can = |verb: &str| items(kind, "verbs").iter().any(|can| can == verb);
            if !(can("list") && can("delete")) || RESTLESS.contains(&name) {
                continue;
            }
            for object in items(&get(&format!("{group}/{name}"))?, "items") {
                let namespace = text(&object["metadata"], "namespace");
                let folder = match namespace {
                    "kube-system" => continue,
                    "" => format!("{group}/{name}"),
                    _ => format!("{group}/namespaces/{namespace}/{name}"),
                };
                let path = format!("{folder}/{}", text(&object["metadata"], "name"));
                let content = DECISIVE.contains(&name).then(|| content(object));
                objects.insert(path, content.unwrap_or_default());
            }
        }
    }
    Ok(objects)
}

/// What an object says, without what the API server notes about it.
fn content(object: &Value) -> Value {
    let mut content = object.clone();
    for noted in ["resourceVersion", "managedFields", "generation"] {
        content["metadata"]
            .as_object_mut()
            .map(|metadata| metadata.remove(noted));
    }
    content
}

fn items<'a>(object: &'a Value, list: &str) -> &'a [Value] {
    object[list].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}
