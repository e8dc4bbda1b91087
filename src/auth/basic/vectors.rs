//! Hashes that other programs made of made-up passwords: what we read is what they write.

/// A bcrypt hash of `correct horse` with cost 4.
pub(super) const BCRYPT: &str = "$2y$04$lrxvOG.lTEuzrkno301ZBu7Ql/eH2VdO89mAV0ft0HikMH/3ij2fK";

/// The `{SHA}` hash of `correct horse`.
pub(super) const SHA1: &str = "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A=";

/// Hashes with the passwords that they were made of.
pub(super) const HASHES: &[(&str, &str)] = &[
    // htpasswd of Apache 2.4: -B, -B -C 4, -m, -s, -2, -5, -5 -r 20000, -2 -r 1234
    ("$2y$05$Bd9OSDcF2UineMqF7b/VmeKx1SOe4kkEwsjyzPqr95aitVcladE7S", "correct horse"),
    (BCRYPT, "correct horse"),
    ("$apr1$T0kd7.hB$OG0u7gTnje0DORFTwBI0N.", "correct horse"),
    (SHA1, "correct horse"),
    ("$5$zdYm.72no/1spKai$KJ5RITvOZvwDHrDP5LkTe0AmlsKEZT.h6CNIvdryJB/", "correct horse"),
    (
        "$6$ihNXoOfrxJFFINei$CdIRId5g0ULCEnhsFVZwZziDF2aXGbOQZBqJ.15BB9at97HfiynuBYjsvkM23hkqt2vS.cWkOlyDki2WWpD9A/",
        "correct horse",
    ),
    (
        "$6$rounds=20000$W9s.II2lNvES7EBD$DlWmpW1/gC4EfrmUoU3AV0hRF7Ow3r8NotU1xUaOGEBi0/GCpwFPTZf2aMlGWN5W5KJnEmG148hxTiYAOvZ2I/",
        "correct horse",
    ),
    ("$5$rounds=1234$6imoGT7jLaoOBQqS$yCMhO54cn5jR4ysf1Xg8qozmzlZigugIR23CEMFnu.1", "correct horse"),
    ("$2y$04$/iRK2C.WfET9r27KcuZyPO.1hQxZADSrr4adOaBWpGvRrIySezeSS", "pässwörd→"),
    ("$apr1$b6sfpccJ$mY7aFuaxQLqjECz6tH9oi1", "pässwörd→"),
    ("{SHA}e4Qgxzyf/KxdNcUK61zLiblu1bo=", "pässwörd→"),
    ("$5$AAdtrz8tuaII.wQX$14kopm2W8ldBCocEGNQ2QRGQbtRBEhgXsaIQC8UN9s2", "pässwörd→"),
    (
        "$6$mJQc6OOZq51PtI71$uw/BPG3hbgb6n3NC.XKwiRlsMmRkR4HNH/X3vkV/IGfEjWBAIjExdendC2ET6pBOlbZtToCGsE3c5AJoLI13g0",
        "pässwörd→",
    ),
    ("$2y$04$H5ierEzt9xipWsxcavhyueb8fH7yNH8g2CmF3Kou92f9SHH8xIPeq", "x"),
    ("$apr1$.k6Exh.7$sheo1wk63d4nWagClew8N/", "x"),
    ("$5$xcoOTh4HocNgaUMi$W7O9VL8olRJN49tIlmqpM.JZ4OFIqHh58sax9Wfdt.4", "x"),
    ("$6$Ginf5101frvbrNew$YMPDBd1trtglcr348GbBIdSdFv3Pd9f.TB5ugSSZKFYHt6T1OcAAFwU75SNPUvJEECkVODA46W5P8wlV9lPD..", "x"),
    // openssl passwd 3.0: -5, -6, -apr1, and -6 with -salt toolongsaltstring and 'rounds=1500$mysalt'
    ("$5$VBMsRIN9/99B7bm6$07JbFnwl3oCEmx9l5o90EszVRDY2kS0L1CctZCMADR5", "correct horse"),
    (
        "$6$sQA84svXKQFKZXmg$izyHkM/xFpo0WU5yfXjV7853kZfxUej91oHNymHjZepQYatrm59cUlC0TvgK622u/fY.BKoaSKV7udAk.2JK80",
        "correct horse",
    ),
    ("$apr1$hdWASWol$bqzDiiNkeUfqB6efVXeoH1", "correct horse"),
    (
        "$6$toolongsaltstrin$n6STjOFjEcMlkz2sB9bO7GZu6OXttp.gj5jYl5aQnvP9EhgdqtqLvzFO4xSI0PlfeQ0jLaFlX19AxeEtBumNg.",
        "correct horse",
    ),
    (
        "$6$rounds=1500$mysalt$TtaudqLMCa4W3WU1bQfpNLx8I0MkNaUPTd2BmnjskF/yB4y7FIgMlW0QbO4XjDgaiCVNMVgrGBa0b6e5pEQ0m.",
        "correct horse",
    ),
    // Python's argon2-cffi (its defaults first) and bcrypt
    (
        "$argon2id$v=19$m=65536,t=3,p=4$Jrb5vRCZLJ63YWFPFPdBrQ$4H5m34s6Q9vbiaqGi9VKbs7XuGu///VNHRlqRo3v22Q",
        "correct horse",
    ),
    ("$argon2id$v=19$m=64,t=1,p=1$UZb//mfaKh/xNqZBuI2MIA$kejysj/zoG95hFmBB1xT1uYefCg4l78we2pPYJEIztg", "correct horse"),
    ("$argon2id$v=19$m=256,t=2,p=2$E7FvgmNp4Cs$65snBGTryLOaXuME19jYNA", "pässwörd→"),
    ("$2b$04$aZssO7zBruYO2X6qhYgKluPPqWnkY30SF8/fK/vITvIoxg4fOlR6y", "correct horse"),
    ("$2a$04$UaaTWaqrH6kLjZHKczWbWuFWivSN91XkczOG4ZX7VO2GZTYtODnUO", "correct horse"),
];

/// The vectors in the specification of SHA-crypt, <https://www.akkadia.org/drepper/SHA-crypt.txt>, as libxcrypt
/// makes them: a salt that is too long comes out cut, and rounds that are too few come out as 1000.
const SHA_CRYPT: &[(&str, &str)] = &[
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    ("$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA", "Hello world!"),
    ("$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5", "This is just a test"),
    (
        "$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
        "a very much longer text to encrypt.  This one even stretches over morethan one line.",
    ),
    (
        "$5$rounds=77777$short$JiO1O3ZpDAxGJeaDIuqCoEFysAe1mZNJRs3pw0KQRd/",
        "we have a short salt string but not a short password",
    ),
    ("$5$rounds=123456$asaltof16chars..$gP3VQ/6X7UUEW3HkBn2w1/Ptq2jxPyzV/cZKmF/wJvD", "a short string"),
    ("$5$rounds=1000$roundstoolow$yfvwcWrQ8l/K0DAWyuPMDNHpIVlTQebY9l/gL972bIC", "the minimum number is still observed"),
    (
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        "Hello world!",
    ),
    (
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        "Hello world!",
    ),
    (
        "$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0",
        "This is just a test",
    ),
    (
        "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1",
        "a very much longer text to encrypt.  This one even stretches over morethan one line.",
    ),
    (
        "$6$rounds=77777$short$WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0",
        "we have a short salt string but not a short password",
    ),
    (
        "$6$rounds=123456$asaltof16chars..$BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1",
        "a short string",
    ),
    (
        "$6$rounds=1000$roundstoolow$kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.",
        "the minimum number is still observed",
    ),
];

/// What `htpasswd -B` makes of eight times `0123456789`.
const BCRYPT_OF_80_BYTES: &str = "$2y$04$XiWkQNET2VqMl7ExZ2JqSOpi1y.9qervxoLqvemKtO2cs81Tjnhpa";

mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;
    use crate::auth::basic::{hash::Hash, kind::Kind};

    #[test]
    fn the_vectors_of_sha_crypt_match() {
        for (text, password) in SHA_CRYPT {
            let hash = Hash::parse(text).unwrap();
            assert!(hash.matches(password.as_bytes()), "{text}");
            assert!(!hash.matches(&password.as_bytes()[1..]), "{text}");
        }
    }

    #[test]
    fn the_kind_of_a_hash_is_all_that_decides_its_cost() {
        let kind = |start: &str| {
            let mut all = HASHES.iter().chain(SHA_CRYPT);
            Hash::parse(all.find(|(text, _)| text.starts_with(start)).unwrap().0).unwrap().kind()
        };
        assert_eq!(kind("$2y$05$"), Kind::Bcrypt { cost: 5 });
        assert_eq!(kind("$5$zdYm"), Kind::Sha256Crypt { rounds: 5_000, salt: 16 });
        assert_eq!(kind("$6$rounds=1500$"), Kind::Sha512Crypt { rounds: 1_500, salt: 6 });
        assert_eq!(kind("$5$rounds=77777$"), Kind::Sha256Crypt { rounds: 77_777, salt: 5 });
        assert_eq!(kind("$argon2id$v=19$m=256,"), Kind::Argon2id { memory: 256, passes: 2, lanes: 2 });
        assert_eq!(kind("$apr1$"), Kind::Apr1 { salt: 8 });
        assert_eq!(kind("{SHA}"), Kind::Sha1);
    }

    #[test]
    fn of_a_long_password_bcrypt_looks_at_72_bytes_as_in_apache() {
        let hash = Hash::parse(BCRYPT_OF_80_BYTES).unwrap();
        let password = "0123456789".repeat(8);
        assert!(hash.matches(password.as_bytes()));
        assert!(hash.matches(&password.as_bytes()[..72]));
        assert!(!hash.matches(&password.as_bytes()[..71]));
    }

    #[test]
    fn every_decoy_is_a_hash_that_can_be_read_and_takes_the_work_of_its_kind() {
        for (text, password) in HASHES.iter().chain(SHA_CRYPT) {
            let kind = Hash::parse(text).unwrap().kind();
            let decoy = kind.decoy();
            assert_eq!(decoy.kind(), kind);
            assert!(!decoy.matches(password.as_bytes()));
            match &decoy {
                Hash::ShaCrypt { text, .. } | Hash::Bcrypt { text, .. } => {
                    assert_eq!(Hash::parse(text), Ok(decoy.clone()));
                }
                Hash::Sha1(_) | Hash::Apr1 { .. } | Hash::Argon2id { .. } => {}
            }
        }
    }

    #[test]
    fn a_hash_that_is_cut_or_altered_is_refused_or_another() {
        for (text, password) in HASHES.iter().filter(|(text, _)| !text.contains("m=65536")) {
            for other in [&text[..text.len() - 1], &format!("{text}A"), &format!("A{text}")] {
                let hash = Hash::parse(other);
                assert!(!hash.is_ok_and(|hash| hash.matches(password.as_bytes())), "{other}");
            }
            let last = text.trim_end_matches('=').chars().last().unwrap();
            for other in ['.', '/', '1', '2', 'A', 'z', '$', ' ', 'é'].iter().filter(|other| **other != last) {
                let altered = text.trim_end_matches('=').strip_suffix(last).unwrap().to_owned() + &other.to_string();
                let padding = "=".repeat(text.len() - text.trim_end_matches('=').len());
                let hash = Hash::parse(&(altered + &padding));
                assert!(!hash.is_ok_and(|hash| hash.matches(password.as_bytes())), "{text} {other}");
            }
        }
    }

    #[test]
    fn kinds_that_are_not_accepted_are_told_with_those_that_are() {
        let long = "$6$rounds=5000001$saltsalt$".to_owned() + &".".repeat(86);
        let few = "$5$rounds=999$saltsalt$".to_owned() + &".".repeat(43);
        let cost = |cost: &str| BCRYPT.replace("$04$", &format!("${cost}$"));
        let argon2 = |params: &str| format!("$argon2id$v=19${params}$c29tZXNhbHQ$HLY7365Ju2EvnseQtMyxtw");
        for (text, told) in [
            ("secretpw", "plain text or DES crypt"),
            ("ab1cdE2fGhI3k", "plain text or DES crypt"),
            ("", "no hash after the name"),
            ("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", "MD5-crypt"),
            ("$y$j9T$abc$def", "yescrypt"),
            ("{SSHA}secretpw", "{SSHA}"),
            ("{PLAIN}secretpw", "{PLAIN}"),
            ("$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$d2jKHrG9easxkiI+xKcU3EbG7+u7Mt0JYJ/lBD91vBc", "argon2i"),
            ("$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$HLY7365Ju2EvnseQtMyxtxasBOcpC0oF5mnVSyW22Zg", "version"),
            ("$argon2id$m=64,t=1,p=1$c29tZXNhbHQ$HLY7365Ju2EvnseQtMyxtxasBOcpC0oF5mnVSyW22Zg", "version"),
            (&argon2("m=1048577,t=1,p=1"), "m=1048577"),
            (&argon2("m=1048576,t=5,p=1"), "t=5"),
            (&argon2("m=64,t=1,p=1,keyid=AAAA"), "keyid"),
            (&argon2("m=64,t=1,p=9"), "broken argon2id"),
            (&argon2("m=64,t=0,p=1"), "broken argon2id"),
            (&BCRYPT.replace("$2y$", "$2x$"), "$2x$"),
            (&cost("03"), "cost 3,"),
            (&cost("17"), "cost 17,"),
            (&cost("31"), "cost 31,"),
            (&cost("+4"), "broken bcrypt"),
            (&long, "5000001 rounds"),
            (&few, "999 rounds"),
            (&long.replace("5000001", "05000"), "broken SHA-crypt"),
            (&long.replace("5000001", "+5000"), "broken SHA-crypt"),
            (&long.replace("rounds=5000001", "round=5000"), "broken SHA-crypt"),
            (&long.replace("5000001", "99999999999"), "broken SHA-crypt"),
            ("$6$$", "broken SHA-crypt"),
            ("$apr1$saltsaltsalt$OG0u7gTnje0DORFTwBI0N.", "broken APR1"),
            ("$apr1$T0kd7.hB$short", "broken APR1"),
            ("{SHA}L55TUjtiq8FBorTWAZ0jy6g129A", "broken {SHA}"),
            ("{SHA}", "broken {SHA}"),
        ] {
            let error = Hash::parse(text).unwrap_err().to_string();
            assert!(error.contains(told) && error.contains("sidegate hash-password"), "{text}: {error}");
            assert!(!error.contains("secretpw") && !error.contains("c29tZXNhbHQ"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_hashes_never_panic(prefix in "(\\{SHA\\}|\\$(apr1|2y|2b|5|6|argon2id)\\$)?", rest in "\\PC{0,100}") {
            let _ = Hash::parse(&(prefix + &rest));
        }
    }
}
