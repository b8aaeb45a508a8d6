//! The house itself: which crate may know which, where `unsafe` may stand, and whether the documents speak of what is there.

mod documents;
mod examples;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What each crate of ours may depend on, tests excepted. The processes meet in `adit-abi`'s bytes only.
const MAY_USE: &[(&str, &[&str])] = &[
    ("adit-abi", &[]),
    ("adit-bpf", &[]),
    ("adit-vici", &[]),
    ("adit-ike", &["adit-abi"]),
    ("adit-dataplane", &["adit-abi"]),
    (
        "adit-control",
        &["adit-abi", "adit-bpf", "adit-ike", "adit-vici"],
    ),
    (
        "adit",
        &[
            "adit-abi",
            "adit-bpf",
            "adit-control",
            "adit-dataplane",
            "adit-ike",
            "adit-vici",
        ],
    ),
    (
        "adit-fuzz",
        &[
            "adit-abi",
            "adit-control",
            "adit-dataplane",
            "adit-ike",
            "adit-vici",
        ],
    ),
];

#[test]
fn dependencies_run_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let allowed: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let names: BTreeSet<_> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    assert_eq!(
        names,
        allowed.keys().copied().collect(),
        "every crate stands in MAY_USE"
    );
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            let is_ours = names.contains(on) && dependency["kind"].as_str() != Some("dev");
            assert!(
                !is_ours || allowed[name].contains(&on),
                "{name} must not depend on {on}"
            );
        }
    }
}

/// Places, relative to the root, that may hold `unsafe`; each says at its top that it does.
const MAY_BE_UNSAFE: &[&str] = &[
    "abi/src/region.rs",
    "abi/src/tun.rs",
    "dataplane/src/frame.rs",
    "dataplane/src/port/xdp/",
    "dataplane/src/crypto/fast",
    "dataplane/src/prefetch.rs",
    // Allocators that count, and that look for keys.
    "dataplane/tests/no_allocation.rs",
    "dataplane/tests/watching/mod.rs",
];

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn unsafe_code_stands_only_where_it_may() {
    let mut files = Vec::new();
    for folder in [
        "abi",
        "bpf",
        "control",
        "dataplane",
        "fuzz/src",
        "src",
        "tests",
        "benches",
        "vici",
    ] {
        let folder = root().join(folder);
        if folder.is_dir() {
            sources(&folder, &mut files);
        }
    }
    assert!(files.len() > 50, "the sources are found");
    for file in files {
        let name = file
            .strip_prefix(root())
            .expect("below the root")
            .display()
            .to_string();
        let text = std::fs::read_to_string(&file).expect("text");
        let permits = text.contains("allow(unsafe_code)") && !name.starts_with("tests/house");
        let expected = MAY_BE_UNSAFE.iter().any(|place| name.starts_with(place));
        assert!(
            !permits || expected,
            "{name} allows `unsafe`; if it must, enter it in MAY_BE_UNSAFE"
        );
    }
}
