//! The committed object is what its source says and what the loader expects.

use std::path::Path;
use std::process::Command;

use aya_obj::Object;

use crate::{MAPS, MAX_OWN, MAX_PORTS, MAX_QUEUES, MAX_REASONS, OBJECT, Reason};

const SOURCE: &str = include_str!("steer.bpf.c");

fn maps(object: &Object) -> Vec<(&str, u32, u32, u32, u32)> {
    let mut maps: Vec<_> = object
        .maps
        .iter()
        .map(|(name, map)| {
            (
                name.as_str(),
                map.map_type(),
                map.key_size(),
                map.value_size(),
                map.max_entries(),
            )
        })
        .collect();
    maps.sort_unstable();
    maps
}

/// Every function's name and instructions, without what the debugger wants.
fn code(object: &Object) -> Vec<(&str, String)> {
    object
        .functions
        .values()
        .map(|function| {
            let instructions = format!("{:?}", function.instructions);
            (function.name.as_str(), instructions)
        })
        .collect()
}

#[test]
fn the_committed_object_has_the_maps_and_the_program_the_loader_expects() {
    let object = Object::parse(OBJECT).unwrap();
    let mut expected = MAPS.to_vec();
    expected.sort_unstable();
    let found: Vec<_> = maps(&object)
        .into_iter()
        .map(|(name, _, key, value, entries)| (name, key, value, entries))
        .collect();
    assert_eq!(found, expected);
    assert!(object.programs.contains_key("steer"));
    assert_eq!(object.license.to_str(), Ok("Dual MIT/GPL"));
}

#[test]
fn the_committed_object_is_what_its_source_compiles_to() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Command::new("clang-14").arg("--version").output().is_err()
        || !Path::new("/usr/include/bpf/bpf_helpers.h").exists()
    {
        eprintln!("SKIPPED: clang-14 or libbpf-dev is not installed");
        return;
    }
    let output = std::env::temp_dir().join(format!("steer-{}.bpf.o", std::process::id()));
    let built = Command::new(crate_dir.join("build.sh"))
        .arg(&output)
        .env("CLANG", "clang-14")
        .status()
        .unwrap();
    assert!(built.success());
    let fresh = std::fs::read(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    let (fresh, committed) = (
        Object::parse(&fresh).unwrap(),
        Object::parse(OBJECT).unwrap(),
    );
    assert_eq!(maps(&fresh), maps(&committed));
    assert!(
        code(&fresh) == code(&committed),
        "run bpf/build.sh and commit bpf/steer.bpf.o"
    );
}

#[test]
fn numbers_are_the_same_in_both_languages() {
    for (name, value) in [
        ("MAX_PORTS", MAX_PORTS),
        ("MAX_QUEUES", MAX_QUEUES),
        ("MAX_OWN", MAX_OWN),
        ("MAX_REASONS", MAX_REASONS),
    ] {
        let line = format!("#define {name} {value}");
        assert!(
            SOURCE
                .lines()
                .any(|l| l == line || l.starts_with(&format!("{line} "))),
            "{line}"
        );
    }
}

#[test]
fn reasons_are_the_same_in_both_languages() {
    let body = SOURCE
        .split_once("enum reason {")
        .and_then(|(_, rest)| rest.split_once("REASONS,"))
        .unwrap()
        .0;
    let in_c: Vec<String> = body
        .lines()
        .filter_map(|line| line.trim().split_once(','))
        .map(|(name, _)| name.to_lowercase().replace('_', "-"))
        .collect();
    let in_rust: Vec<&str> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(in_c, in_rust);
    for (number, reason) in Reason::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, number);
    }
    assert!(Reason::ALL.len() <= MAX_REASONS as usize);
}
