//! Helpers that several test modules share.

use std::path::PathBuf;
use std::sync::LazyLock;

pub mod sandbox;

/// The checkout.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The program under test: what `cargo build` has left beside the directory of this one.
///
/// # Panics
/// If it is not there.
pub fn icebox() -> &'static PathBuf {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().unwrap();
        let built = test.parent().and_then(|deps| deps.parent()).unwrap();
        let program = built.join("icebox");
        assert!(
            program.exists(),
            "{} is not there: `cargo build` makes it, `just test` does that first",
            program.display()
        );
        program
    });
    &PROGRAM
}
