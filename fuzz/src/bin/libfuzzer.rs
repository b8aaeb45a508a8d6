//! libFuzzer over one target, named by `ADIT_FUZZ_TARGET`; `fuzz/run` builds and starts it.
#![no_main]

use std::sync::OnceLock;

use adit_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("ADIT_FUZZ_TARGET").unwrap_or_default();
        adit_fuzz::target(&name)
            .unwrap_or_else(|| panic!("no target `{name}`; there are {}", adit_fuzz::names()))
    });
    (target.run)(data);
});
