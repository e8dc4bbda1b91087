//! Whatever a configuration file says, loading it ends with a configuration or with problems that can be shown.
#![no_main]

use std::{fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use sidegate::config::{Source, load, render};

/// One file for this process, in memory.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = PathBuf::from("/dev/shm");
    folder.join(format!("sidegate-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &[u8]| {
    fs::write(&*FILE, text).expect("a file in memory");
    let source = Source { file: Some(FILE.clone()), ..Source::default() };
    match load(&source) {
        Ok(loaded) => {
            // What was accepted can be shown.
            render(&loaded.config).expect("an accepted configuration can be written");
        }
        Err(problems) => assert!(!problems.to_string().is_empty()),
    }
});
