//! `sidegate dev` and `sidegate token`: what they print does what it says.

use std::{fs, net::TcpListener};

use serde_json::json;

use self::fixture::{Dev, payload, program};
use crate::support::{App, Recorder, command};

mod fixture;
mod token;

/// Runs `sidegate dev` with these variables, which must make it end with this code and say all of these.
#[track_caller]
fn refused(args: &[&str], variables: &[(&str, &str)], code: i32, says: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    // One that does not refuse would serve for ever.
    let mut command = program("timeout", home.path());
    command.args(["20", env!("CARGO_BIN_EXE_sidegate"), "dev"]).args(args).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    for text in says {
        assert!(stderr.contains(text), "{args:?}: it does not say {text:?}:\n{stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn every_line_that_dev_prints_does_what_it_says() {
    let mut dev = Dev::start(&[]);
    let with_token = dev.paste_json(&dev.below("With a token"));
    assert_eq!((&with_token["user"], &with_token["email"]), (&json!("alice"), &json!("alice@example.com")));
    assert_eq!((&with_token["groups"], &with_token["request"]["scheme"]), (&json!(["dev"]), &json!("https")));
    let with_password = dev.paste_json(&dev.below("With a password"));
    assert_eq!((&with_password["user"], &with_password["groups"]), (&json!("alice"), &json!(["dev"])));
    assert!(dev.curl("/", "--user alice:wrong").contains("password_wrong"));
    assert!(dev.curl("/", "").contains("credentials_missing"));

    let probe = dev.row("admin").split(' ').next().unwrap().to_owned();
    assert!(dev.paste(&format!("curl -sS --noproxy '*' '{probe}'")).contains("app ok"));
    let page = dev.curl("/public/", "--header 'Accept: text/html' --include");
    assert!(page.contains("content-type: text/html") && page.contains("default-src 'none'"), "{page}");
    dev.interrupt();
}

#[test]
fn every_line_on_the_page_does_what_it_says() {
    let dev = Dev::start(&[]);
    let page = dev.curl("/public/", "--header 'Accept: text/html'");
    let lines = page.split("<code>").filter_map(|rest| rest.split_once("</code>")).map(|(code, _)| unescaped(code));
    let lines: Vec<_> = lines.filter(|line| line.starts_with("curl")).collect();
    let [spoof, other, expired] = &lines[..] else { panic!("{lines:#?}") };

    assert!(spoof.contains("mallory"));
    let answer = dev.paste(spoof);
    assert!(answer.contains(r#""X-Forwarded-User": "alice""#) && !answer.contains("mallory"), "{answer}");
    let answer = dev.paste_json(other);
    assert_eq!((&answer["user"], &answer["request"]["target"]), (&json!("bob"), &json!("/admin/")));
    assert_eq!(answer["email"], json!(null), "bob has nothing of alice's");
    assert_eq!(dev.paste_json(expired)["error"], "jwt_expired");
}

#[test]
fn the_sample_has_something_for_anyone_for_the_known_and_for_admins() {
    let dev = Dev::start(&["--user", "carol", "--password", "it's $HOME sweet", "--group", "admin", "--group", "ops"]);
    assert_eq!(dev.paste_json(&dev.below("With a password"))["groups"], json!(["admin", "ops"]));
    let admin = dev.below("With a token") + "admin/";
    assert_eq!(dev.paste_json(&admin)["user"], "carol");
    let anonymous = dev.curl("/public/x", "--header 'X-Forwarded-User: mallory' --header 'x.forwarded.user: mallory'");
    assert!(anonymous.contains(r#""user": null"#) && !anonymous.contains("mallory"), "{anonymous}");

    let dev = Dev::start(&[]);
    assert_eq!(dev.paste_json(&(dev.below("With a token") + "admin/"))["error"], "rule_denied");
}

#[test]
fn the_page_shows_what_a_client_says_as_text() {
    let dev = Dev::start(&[]);
    let page = dev.curl(
        "/public/?q=%3Cscript%3E",
        r#"--header 'Accept: text/html' --header 'X-Evil: <script>alert(1)</script>"><img src=x>'"#,
    );
    assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img src=x&gt;"), "{page}");
}

#[test]
fn an_app_of_ones_own_is_told_who_is_calling() {
    let app = Recorder::start();
    let upstream = format!(":{}", app.address().port());
    let claims = ["--claim", "tenant=acme", "--claim", r#"realm_access.roles=["editor"]"#];
    let dev = Dev::start(&[&["--upstream", &upstream, "--user", "bob@corp.test"], &claims[..]].concat());
    assert_eq!(dev.paste(&dev.below("With a token")), "ok\n");
    let request = app.only_request();
    assert_eq!(request.header("x-forwarded-user"), Some("bob@corp.test"));
    assert_eq!(request.header("x-forwarded-email"), Some("bob@corp.test"));
    assert_eq!(request.header("x-forwarded-proto"), Some("https"));
    assert_eq!(request.header("authorization"), None);
    assert!(dev.curl("/public/", "").contains("credentials_missing"), "no rule of the sample's is left");

    let token = dev.paste(&format!("{} token", env!("CARGO_BIN_EXE_sidegate")));
    let claims = payload(&token);
    assert_eq!((&claims["tenant"], &claims["realm_access"]["roles"]), (&json!("acme"), &json!(["editor"])));
}

#[test]
fn without_tls_the_lines_say_so() {
    let dev = Dev::start(&["--plaintext"]);
    let line = dev.below("With a token");
    assert!(line.contains(" http://localhost:") && !line.contains("--cacert"), "{line}");
    assert_eq!(dev.paste_json(&line)["request"]["scheme"], "http");
}

#[test]
fn two_at_once_do_not_get_in_each_others_way() {
    let first = Dev::start(&[]);
    let mut second = Dev::start_in(first.home.clone(), &["--user", "bob"]);
    assert_eq!(first.paste_json(&first.below("With a token"))["user"], "alice");
    assert_eq!(second.paste_json(&second.below("With a token"))["user"], "bob");
    let folder = second.folder();
    assert!(folder.is_dir());
    second.interrupt();
    assert!(!folder.exists(), "the second one's files are gone");
    assert_eq!(first.paste_json(&first.below("With a token"))["user"], "alice");
}

#[test]
fn what_dev_has_written_is_a_configuration_like_any_other() {
    let dev = Dev::start(&[]);
    let config = dev.folder().join("sidegate.yaml");
    let checked = command(&["check", "--config", &config.to_string_lossy()], "");
    assert!(checked.succeeded().contains("admin"), "{}", checked.stdout);
}

#[test]
fn it_stays_on_this_machine() {
    let cluster = [("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    refused(&[], &cluster, 64, &["KUBERNETES_SERVICE_HOST", "sidegate serve"]);
    for address in ["0.0.0.0:8443", "[::]:8443", "192.0.2.1:8443"] {
        refused(&["--listen", address], &[], 64, &["--listen", address, "127.0.0.1:8443"]);
    }
    // What another sidegate is told by its environment opens nothing here.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let elsewhere = [("SIDEGATE__LISTEN__ADDRESS", "0.0.0.0:0")];
    refused(&["--listen", &address], &elsewhere, 1, &[&address, "--listen 127.0.0.1:0"]);
}

#[test]
fn bad_usage_of_dev_is_told() {
    for (args, says) in [
        (["--listen", "8443x"], "127.0.0.1:8443"),
        (["--upstream", "https://app:5000"], "http://HOST:PORT"),
        (["--user", "a:b"], "colon"),
        (["--user", "two words"], "blanks"),
        (["--group", "a,b"], "comma"),
        (["--password", ""], "empty"),
        (["--claim", "role"], "NAME=VALUE"),
        (["--claim", "sub=bob"], "--user"),
    ] {
        refused(&args, &[], 64, &[args[0], says]);
    }
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("users"), "precious").unwrap();
    let place = work.path().to_str().unwrap();
    refused(&[], &[("SIDEGATE_DEV_DIR", place)], 1, &["SIDEGATE_DEV_DIR", place, "not empty"]);
    assert_eq!(fs::read_to_string(work.path().join("users")).unwrap(), "precious");
}

fn unescaped(html: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.iter().fold(html.to_owned(), |text, (entity, character)| text.replace(entity, character))
}
