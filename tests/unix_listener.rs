//! A Unix socket in front: for a web server in the same pod, which owns the port.

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use serde_json::json;
use tempfile::TempDir;

use crate::support::{App, Builder, Curl, Issuer, Nginx, Recorder, Sidegate, Wire, command, until};

/// A directory for the socket, and where in it the socket is to be.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::Builder::new().prefix("socket-").tempdir().unwrap();
    let path = directory.path().join("http.sock");
    (directory, path)
}

#[test]
fn curl_reaches_the_app_over_the_socket_with_a_token_only() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let sidegate = listening(&app, &issuer, &path).start();
    let socket = path.to_str().unwrap();
    assert!(sidegate.log().contains(&format!("sidegate is listening on unix:{socket}\n")), "{}", sidegate.log());
    let curl = || Curl::new("http://shop.example/", &sidegate.file("ca.pem")).args(["--unix-socket", socket]);
    curl().send().assert_refused(401, "credentials_missing");
    assert_eq!(curl().bearer(&issuer.token("alice")).header("X-Forwarded-For: 203.0.113.9").send().status, 200);
    let request = app.only_request();
    assert_eq!(request.lookalikes("x-forwarded-user"), ["alice"]);
    assert_eq!(request.lookalikes("x-forwarded-for"), ["unknown"]);
    assert_eq!(request.lookalikes("x-forwarded-proto"), ["http"]);
    assert_eq!(request.header("Host"), Some("shop.example"));
    assert_eq!(sidegate.access_log(2)[1]["downstream_remote_address"], json!(null));
}

#[test]
fn tls_is_spoken_there_too() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let address = format!("unix:{}", path.display());
    let sidegate = Sidegate::before(&app).jwt(&issuer).set(json!({ "listen": { "address": address } })).start();
    for (version, spoken) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let curl =
            Curl::new("https://localhost/", &sidegate.file("ca.pem")).args(["--unix-socket", path.to_str().unwrap()]);
        assert_eq!(curl.args([version]).bearer(&issuer.token("alice")).send_over(spoken).status, 200);
        assert_eq!(app.last_request().header("X-Forwarded-Proto"), Some("https"));
    }
    Sidegate::before(&app)
        .jwt(&issuer)
        .set(json!({ "listen": { "address": address, "tls": null } }))
        .refuse()
        .assert_failed(64, &["listen: there is no certificate to serve TLS with", "listen.plaintext: true"]);
}

#[test]
fn nginx_in_front_is_believed_when_unix_is_trusted() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let _sidegate = listening(&app, &issuer, &path).set(json!({ "listen": { "trusted_proxies": ["unix"] } })).start();
    let nginx = Nginx::before(&path);
    let bearer = format!("Authorization: Bearer {}", issuer.token("alice"));
    let lines =
        format!("Host: shop.example\r\n{bearer}\r\nX-Forwarded-For: 198.51.100.1\r\nX-Forwarded-User: root\r\n");
    let mut wire = Wire::tcp(nginx.address());
    wire.send("GET /anonymous HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    wire.answer().assert_refused(401, "credentials_missing");
    assert_eq!(wire.send(format!("GET /orders HTTP/1.1\r\n{lines}\r\n")).answer().status, 200);
    let request = app.only_request();
    assert_eq!(request.line, "GET /orders HTTP/1.1");
    // nginx says 127.0.0.1, its own client; what that client has said before does not count.
    assert_eq!(request.lookalikes("x-forwarded-for"), ["127.0.0.1, unknown"]);
    assert_eq!(request.lookalikes("x-forwarded-proto"), ["https"]);
    assert_eq!(request.lookalikes("x-forwarded-user"), ["alice"]);
}

#[test]
fn only_its_owner_and_group_may_connect_and_it_is_removed_at_the_end() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let mut sidegate = listening(&app, &issuer, &path).start();
    let metadata = fs::symlink_metadata(&path).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    sidegate.terminate();
    assert!(sidegate.exit().success());
    assert!(!path.exists());
}

#[test]
fn the_socket_of_a_process_that_has_crashed_is_replaced() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let sidegate = listening(&app, &issuer, &path).start();
    assert_eq!(Wire::unix(&path).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 401);
    // Killed: the file stays, and the next one takes it over.
    drop(sidegate);
    assert!(path.exists());
    let _sidegate = listening(&app, &issuer, &path).start();
    assert_eq!(Wire::unix(&path).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 401);
}

#[test]
fn nothing_else_is_ever_removed() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (directory, path) = place();
    let refused = |path: &Path, says: &[&str]| listening(&app, &issuer, path).refuse().assert_failed(1, says);

    let _listener = UnixListener::bind(&path).unwrap();
    refused(&path, &["another process listens there", "listen.address: cannot listen on unix:/"]);
    let file = directory.path().join("file");
    fs::write(&file, "precious").unwrap();
    refused(&file, &["there is a file of another kind"]);
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    refused(&link, &["there is a file of another kind"]);
    refused(directory.path(), &["there is a file of another kind"]);
    refused(&directory.path().join("missing/http.sock"), &["name a file in a directory that is there"]);
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    assert!(path.exists() && link.is_symlink());
}

#[test]
fn the_file_of_a_successor_stays() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let mut first = listening(&app, &issuer, &path).start();
    fs::remove_file(&path).unwrap();
    let _second = listening(&app, &issuer, &path).start();
    first.terminate();
    assert!(first.exit().success());
    assert_eq!(Wire::unix(&path).send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 401);
}

#[test]
fn a_drain_finishes_what_is_under_way() {
    let issuer = Issuer::new();
    let app = Recorder::start();
    let (_directory, path) = place();
    let mut sidegate = listening(&app, &issuer, &path).start();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n", issuer.token("alice"));
    let mut wire = Wire::unix(&path);
    wire.send(format!("{head}Content-Length: 2\r\n\r\na"));
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    sidegate.terminate();
    until("the socket to be closed", || (!path.exists()).then_some(()));
    assert_eq!(wire.send("b").answer().status, 200);
    assert!(sidegate.exit().success());
}

#[test]
fn the_other_commands_work_with_it() {
    let (issuer, app) = (Issuer::new(), Recorder::start());
    let (_directory, path) = place();
    let report = listening(&app, &issuer, &path).run(&["check", "--config"]);
    assert!(report.succeeded().contains(&format!("address: unix:{}", path.display())), "{}", report.stdout);
    assert!(!path.exists(), "check opens nothing");
    let sidegate = listening(&app, &issuer, &path).start();
    let admin = sidegate.admin().to_string();
    command(&["healthcheck", "--admin", &admin], "").succeeded();
}

/// Without TLS, on this socket.
fn listening(app: &Recorder, issuer: &Issuer, path: &Path) -> Builder {
    let address = format!("unix:{}", path.display());
    Sidegate::before(app).jwt(issuer).plaintext().set(json!({ "listen": { "address": address } }))
}
