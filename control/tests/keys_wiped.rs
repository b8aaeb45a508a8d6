//! Keys in a configuration file leave no copy behind in the heap, whatever else is wrong with the file.
//!
//! A binary of its own, because it replaces the global allocator by one that looks at what is freed.

#[path = "../../dataplane/tests/watching/mod.rs"]
mod watching;

use std::fs;

use adit_control::config;
use watching::freed_keys;

/// Two ports, and keys of digits that the allocator looks for.
const FILE: &str = r#"
[[gateway.ports]]
interface = "lan0"
side = "inside"

[[gateway.ports]]
interface = "wan0"
side = "outside"

[connections.north]
local_addrs = ["192.0.2.1"]
remote_addrs = ["192.0.2.2"]

[connections.north.children.lan]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
esp_proposals = ["aes256-sha256"]
manual = { spi_in = 0x1001, spi_out = 0x2002, secret = "north" }

[secrets.north]
enc_in = "7777777777777777777777777777777777777777777777777777777777777777"
auth_in = """7777777777777777777777777777777777777777777777777777777777777777"""
enc_out = '0x7777777777777777777777777777777777777777777777777777777777777777'
auth_out = { file = "auth.key" }
"#;

#[test]
fn keys_are_wiped_whether_the_file_is_good_or_bad() {
    let dir = std::env::temp_dir().join(format!("adit-keys-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    fs::write(
        dir.join("auth.key"),
        &FILE[FILE.find("7777").unwrap()..][..64],
    )
    .unwrap();
    let path = dir.join("adit.toml");
    let mut freed = Vec::new();
    for (from, to) in [
        ("", ""),
        ("[secrets.north]", "[secrets.north]\nenc_inn = 1"),
        ("side = \"inside\"", "side = \"within\""),
        ("enc_in = \"7", "enc_in = \"x7"),
        ("manual = {", "manual = "),
        ("auth_out = {", "enc_out = {"),
    ] {
        let text = FILE.replacen(from, to, 1);
        fs::write(&path, &text).unwrap();
        // Its text is one more copy, which is no fault of the configuration's.
        drop(zeroize::Zeroizing::new(text));
        let before = freed_keys();
        let loaded = config::load(&path);
        assert_eq!(loaded.is_ok(), from.is_empty(), "{to}");
        drop(loaded);
        let _ = config::port_names(&path);
        freed.push((to, freed_keys() - before));
    }
    fs::remove_dir_all(&dir).unwrap();
    assert!(freed.iter().all(|(_, freed)| *freed == 0), "{freed:?}");
    let before = freed_keys();
    drop(std::hint::black_box(FILE.to_owned()));
    assert!(freed_keys() > before, "the allocator sees keys");
}
