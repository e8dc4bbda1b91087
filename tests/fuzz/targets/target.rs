//! A target is refused, or settled: then it is read as it was matched, whether before or after it was forwarded.
#![no_main]

use http::{Request, Uri};
use libfuzzer_sys::fuzz_target;
use sidegate::{
    config::{Handling, Paths},
    target::Target,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (settings, text) = input;
    let handling = |bits: u8| [Handling::Reject, Handling::Normalize, Handling::Pass][usize::from(bits % 3)];
    let paths = Paths { ambiguous: handling(settings), encoded_slash: handling(settings / 3) };

    let Ok(uri) = Uri::try_from(text) else { return };
    let Ok(request) = Request::get(uri).header("host", "app.example").body(()) else { return };
    let Ok(mut target) = Target::parse(&request) else { return };
    // Two rules: a reading that leads to the other one must be refused.
    let rule = |path: &str| Some(path == "/admin" || path.starts_with("/admin/"));
    let Ok(decided) = target.settle(|_, path| rule(path), |_| paths) else { return };
    assert_eq!(rule(target.path()), decided);
    assert!(target.forwarded().as_str().starts_with('/'), "{:?}", target.forwarded());

    // The app, or a second sidegate, reads what was forwarded in the same way.
    let forwarded = Request::get(target.forwarded().as_str()).header("host", "app.example").body(()).expect("a target");
    let mut again = Target::parse(&forwarded).expect("what was forwarded is a target");
    assert_eq!(again.settle(|_, path| rule(path), |_| paths), Ok(decided), "{:?}", target.forwarded());
    assert_eq!(again.forwarded().as_str(), target.forwarded().as_str());
    if paths.ambiguous != Handling::Pass {
        let path = target.path();
        assert!(!path.contains("//") && path.split('/').all(|segment| segment != "." && segment != ".."), "{path:?}");
    }
});
