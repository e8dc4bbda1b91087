//! A PROXY protocol header is the same however much of what follows it has arrived, and no more is waited for than is missing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidegate::server::proxy_protocol::{Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    match parse(bytes) {
        Ok(Parsed::Header(announced, length)) => {
            assert!(length <= bytes.len());
            assert_eq!(parse(&bytes[..length]), Ok(Parsed::Header(announced, length)), "without what follows");
            for end in 0..length {
                // Never another header, and never more wanted than there is.
                match parse(&bytes[..end]) {
                    Ok(Parsed::Missing(missing)) => {
                        assert!(missing > 0 && end + missing <= length, "{end} of {length}")
                    }
                    other => panic!("{end} of {length} bytes: {other:?}"),
                }
            }
        }
        Ok(Parsed::Missing(missing)) => assert!(missing > 0),
        Err(_) => {}
    }
});
