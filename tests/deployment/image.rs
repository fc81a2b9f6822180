//! The image: built by `buildah` from the runtime stage of the Dockerfile with the static binary of
//! `make build`, and run.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

const RELEASE: &str = "target/x86_64-unknown-linux-musl/release/token-exposure";
/// The maximum size of the program, the only file in the image.
const MOST_BYTES: u64 = 20_000_000;

/// Runs buildah with a separate storage; returns its output, or panics with its error.
fn buildah(storage: &Path, args: &[&str]) -> String {
    let output = Command::new("buildah")
        .args(["--storage-driver", "vfs", "--root"])
        .arg(storage.join("root"))
        .arg("--runroot")
        .arg(storage.join("run"))
        .args(args)
        .output()
        .expect("buildah is installed: `make test` does that");
    assert!(
        output.status.success(),
        "buildah {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_image_is_small_runs_as_non_root_and_contains_only_the_program() {
    assert!(
        Path::new(RELEASE).exists(),
        "{RELEASE} is missing: run `make build`"
    );
    let bytes = fs::metadata(RELEASE).unwrap().len();
    assert!(bytes <= MOST_BYTES, "{bytes} bytes");
    let dir = tempfile::tempdir().unwrap();
    let context = dir.path().join("build");
    fs::create_dir(&context).unwrap();
    fs::copy(RELEASE, context.join("token-exposure")).unwrap();
    let build_context = format!("build={}", context.display());
    buildah(
        dir.path(),
        &[
            "build",
            "--isolation",
            "chroot",
            "--build-context",
            &build_context,
            "-t",
            "token-exposure:test",
            ".",
        ],
    );

    let image: Value = serde_json::from_str(&buildah(
        dir.path(),
        &["inspect", "--type", "image", "token-exposure:test"],
    ))
    .unwrap();
    let config = &image["OCIv1"]["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], serde_json::json!(["/token-exposure"]));

    let container = buildah(dir.path(), &["from", "token-exposure:test"])
        .trim()
        .to_owned();
    let inside = buildah(
        dir.path(),
        &[
            "run",
            "--isolation",
            "chroot",
            &container,
            "--",
            "/token-exposure",
            "crd",
        ],
    );
    let of = |kind| fs::read_to_string(format!("crds/{kind}.tokenexposure.io.yaml")).unwrap();
    let both = ["tokenexposurereports", "tokenexposuresummaries"].map(of);
    assert_eq!(inside, both.join("---\n"));
    let root = buildah(dir.path(), &["mount", &container])
        .trim()
        .to_owned();
    let files: Vec<_> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file() && entry.metadata().unwrap().len() > 0)
        .map(|entry| entry.path().strip_prefix(&root).unwrap().to_owned())
        .collect();
    assert_eq!(files, [Path::new("token-exposure")]);
    buildah(dir.path(), &["umount", &container]);
}
