//! What libFuzzer drives: the target that `VIGIL_FUZZ_TARGET` names. `scripts/fuzz` builds and starts it.
#![no_main]
#![allow(unsafe_code)] // libFuzzer's entry point is a C function; its crate's macro says what is sound about it.

use std::sync::{Once, OnceLock};

use vigil_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

/// The target, whose seeds are laid into the folder that `VIGIL_FUZZ_SEEDS` names before libFuzzer reads it.
fn chosen() -> Target {
    let name = std::env::var("VIGIL_FUZZ_TARGET").expect("VIGIL_FUZZ_TARGET names a target");
    let target = Target::named(&name).expect("VIGIL_FUZZ_TARGET names a target that there is");
    if let Some(folder) = std::env::var_os("VIGIL_FUZZ_SEEDS") {
        for (n, seed) in (target.seeds)().into_iter().enumerate() {
            std::fs::write(std::path::Path::new(&folder).join(format!("seed-{n}")), seed).expect("the folder is there");
        }
    }
    target
}

/// libFuzzer's hook ends the process with any panic. What a library panics at on the cameras' sockets is caught there and ends the
/// session; that it does is what the target checks.
fn spare_what_is_caught() {
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() != Some("camera-sockets") {
            end(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(
    init: {
        TARGET.get_or_init(chosen);
    },
    |data: &[u8]| {
        static SPARED: Once = Once::new();
        SPARED.call_once(spare_what_is_caught);
        (TARGET.get_or_init(chosen).feed)(data);
    }
);
