//! The app behind a Unix socket, behind TLS, and over HTTP/2; and trailers, which only the last has for requests.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    thread,
};

use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    AUTHORITY, App, Authority, Builder, Issuer, Nothing, PythonApp, Recorder, Sidegate, take_order, until,
};

#[test]
fn an_app_behind_a_unix_socket_sees_the_same_as_one_behind_a_port() {
    let directory = TempDir::new().unwrap();
    for server in ["gthread", "waitress", "werkzeug"] {
        let path = directory.path().join(server);
        let app = PythonApp::start("wsgi_app.py", &[server, path.to_str().unwrap()]);
        let sidegate = before(&format!("unix:{}", path.display())).start();
        let curl = sidegate.curl("/orders?id=1").header("Host: app.example").body("an order");
        let seen = curl.send().json();
        assert_eq!((&seen["host"], &seen["path"]), (&json!("app.example"), &json!("/orders?id=1")), "{server}");
        assert_eq!((&seen["length"], &seen["scheme"], &seen["method"]), (&json!(8), &json!("https"), &json!("POST")));
        assert_eq!(sidegate.ask_admin("/readyz").status, 200);
        drop(app);
    }
}

#[test]
fn a_unix_socket_that_is_not_there_yet_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.sock");
    let sidegate =
        before(&format!("unix:{}", path.display())).set(json!({ "upstream": { "connect_timeout": "200ms" } }));
    let sidegate = sidegate.start();
    sidegate.get("/", &[]).assert_refused(502, "upstream_unreachable");
    assert_eq!(sidegate.ask_admin("/readyz").status, 503);
    drop(sidegate);

    let sidegate = before(&format!("unix:{}", path.display())).set(json!({ "upstream": { "connect_timeout": "20s" } }));
    let sidegate = sidegate.start();
    let curl = sidegate.curl("/").body("an order");
    let client = thread::spawn(move || curl.send());
    sidegate.wait_for_metric("sidegate_requests_in_flight", &[], 1.0);
    let listener = UnixListener::bind(&path).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    take_order(&mut stream);
    assert_eq!(client.join().unwrap().status, 200);
}

#[test]
fn an_app_that_proves_itself_is_asked_over_tls_and_shown_our_certificate() {
    let files = Files::new();
    let app = files.app(&AUTHORITY, true);
    let with_certificate = json!({ "certificate": files.path("client.crt"), "key": files.path("client.key") });
    let sidegate = secured(&app, &files, with_certificate).start();
    for _ in 0..3 {
        let seen = sidegate.curl("/orders").body("an order").send().json();
        assert_eq!((&seen["length"], &seen["path"]), (&json!(8), &json!("/orders")));
    }
    assert_eq!(sidegate.ask_admin("/readyz").status, 200);
    // The certificate has another name, too.
    let by_name =
        json!({ "certificate": files.path("client.crt"), "key": files.path("client.key"), "server_name": "app.test" });
    assert_eq!(secured(&app, &files, by_name).start().get("/", &[]).status, 200);
    let without = secured(&app, &files, json!({})).start();
    let refused = without.get("/", &[]);
    assert!(refused.status == 502, "{}", refused.text());
}

#[test]
fn an_app_that_cannot_prove_itself_is_not_asked() {
    let files = Files::new();
    let stranger = files.app(&Authority::named("somebody else"), false);
    let known = files.app(&AUTHORITY, false);
    let plain = Recorder::start();
    let plain_address = plain.address();
    for (address, settings) in [
        (stranger.listens.as_str(), json!({})),
        (known.listens.as_str(), json!({ "server_name": "other.test" })),
        (plain_address.to_string().as_str(), json!({})),
    ] {
        let sidegate = https(address, &files, settings).start();
        sidegate.curl("/").body("an order").send().assert_refused(502, "upstream_tls");
        assert_eq!(sidegate.ask_admin("/readyz").status, 503, "{address}");
        assert_eq!(sidegate.access_log(1)[0]["response_code_details"], "upstream_tls");
        until("the cause in the log", || sidegate.log().contains("cannot be reached over TLS").then_some(()));
    }
    // What it was sent are the beginnings of a handshake, random bytes, which end like a head once in some fifty times.
    let asked = plain.requests().into_iter().filter(|request| request.line.contains("HTTP/1.1"));
    assert_eq!(asked.collect::<Vec<_>>().len(), 0);
    let absent = Nothing::reserve();
    let sidegate = https(&absent.address().to_string(), &files, json!({}));
    let sidegate = sidegate.set(json!({ "upstream": { "connect_timeout": "200ms" } })).start();
    sidegate.get("/", &[]).assert_refused(502, "upstream_unreachable");
}

#[test]
fn a_tls_answer_that_is_cut_is_not_passed_on_as_a_whole_one() {
    let files = Files::new();
    let (config, listener) = (AUTHORITY.server_config(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let mut tls = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), tcp);
            let _ = tls.read(&mut [0; 4096]);
            // It ends with its connection, and that without TLS's own end: somebody else may have cut it.
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nonly this");
            let _ = tls.flush();
        }
    });
    let sidegate = https(&address.to_string(), &files, json!({})).start();
    let code = sidegate.curl("/").args(["--http1.1"]).fail();
    assert!(matches!(code, 18 | 52 | 56), "curl exited with {code}");
    let code = sidegate.curl("/").args(["--http2"]).fail();
    assert!(matches!(code, 18 | 92), "curl exited with {code}");
    until("both lines", || {
        let log = sidegate.access_log(2);
        log.iter().all(|line| line["response_code_details"] == "upstream_broken").then_some(())
    });
}

#[test]
fn what_follows_a_whole_answer_inside_tls_is_nobodys_answer() {
    let files = Files::new();
    let (config, listener) = (AUTHORITY.server_config(), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            thread::spawn(move || {
                let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), tcp);
                let mut head = [0; 4096];
                while let Ok(1..) = tls.read(&mut head) {
                    let path = String::from_utf8_lossy(&head).split(' ').nth(1).unwrap()[1..].to_owned();
                    // Two records, which arrive together. Every other time the first fills the buffer that it is read
                    // into, and the second is left where TLS has it.
                    let (size, poison) = (path.len(), "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
                    let (head, rest) = ("HTTP/1.1 200 OK\r\nX: ", format!("\r\nContent-Length: {size}\r\n\r\n{path}"));
                    let odd = path.parse::<usize>().unwrap() % 2;
                    let answer = format!("{head}{}{rest}", "x".repeat(odd * (8192 - head.len() - rest.len())));
                    for record in [answer.as_str(), poison] {
                        tls.conn.writer().write_all(record.as_bytes()).unwrap();
                    }
                    let _ = tls.flush();
                }
            });
        }
    });
    let sidegate =
        https(&address.to_string(), &files, json!({})).set(json!({ "upstream": { "keep_alive": "30s" } })).start();
    let mut wire = sidegate.wire();
    for number in 0..10 {
        let answer = wire.send(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer();
        assert_eq!((answer.status, answer.text()), (200, number.to_string()));
    }
}

#[test]
fn what_is_wrong_with_the_apps_tls_is_told_at_once_and_with_its_place() {
    let files = Files::new();
    let nothing = files.path("nothing.pem");
    for (upstream, expected) in [
        (json!({ "address": "https://127.0.0.1:1" }), vec!["upstream: without an authority to believe"]),
        (
            json!({ "address": "http://127.0.0.1:1", "tls": { "ca": files.path("ca.pem") } }),
            vec!["upstream.tls: http://127.0.0.1:1 is not spoken over TLS"],
        ),
        (
            json!({ "address": "https://127.0.0.1:1", "tls": { "ca": files.path("ca.pem"), "key": "k" } }),
            vec!["upstream.tls: `certificate` and `key` belong together"],
        ),
        (
            json!({ "address": "https://127.0.0.1:1", "tls": {
                "ca": nothing, "certificate": files.path("client.key"), "key": files.path("ca.pem"), "server_name": "a b" } }),
            vec![
                "nothing.pem",
                "upstream.tls.server_name: `a b` is not a name",
                "client.key: it holds no certificate",
                "ca.pem: no private key",
            ],
        ),
        (json!({ "address": "unix:app.sock" }), vec!["its path must begin with `/`"]),
        (json!({ "address": "h2c://127.0.0.1" }), vec!["upstream.address: `h2c://127.0.0.1`"]),
        (json!({ "address": "http://127.0.0.1:1", "buffer_request": "1GiB" }), vec!["upstream.buffer_request"]),
    ] {
        before("http://127.0.0.1:1").set(json!({ "upstream": upstream })).refuse().assert_failed(64, &expected);
    }
}

#[test]
fn check_warns_of_an_app_that_others_can_reach() {
    let files = Files::new();
    let ours = json!({ "certificate": files.path("client.crt"), "key": files.path("client.key") });
    for (builder, warns) in [
        (before("unix:/run/app/app.sock"), false),
        (before("h2c://127.0.0.1:50051"), false),
        (before("h2c://192.0.2.1:50051"), true),
        (https("192.0.2.1:8443", &files, json!({})), true),
        (https("192.0.2.1:8443", &files, ours), false),
    ] {
        let mut builder = builder;
        let checked = builder.run(&["check", "--config"]);
        let report = format!("{}{}", checked.succeeded(), checked.stderr);
        assert_eq!(report.contains("is not on loopback"), warns, "{report}");
    }
}

#[test]
fn trailers_of_an_http_1_app_pass_to_whoever_takes_them() {
    let app = Recorder::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n\
         3\r\nabc\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=b\r\n\r\n",
    );
    let sidegate = before(&format!("http://{}", app.address())).start();
    let (answer, trailers) = crate::support::H2::connect(&sidegate).send_frames("GET", "/", &[("te", "trailers")], []);
    assert_eq!(answer.text(), "abc");
    assert_eq!(trailers.iter().map(|(n, v)| (n.as_str(), v.as_bytes())).collect::<Vec<_>>(), [("x-sum", &b"42"[..])]);
    let over_h1 = |lines: &str| {
        let mut wire = sidegate.wire();
        wire.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close{lines}\r\n\r\n"));
        String::from_utf8(wire.read_to_end()).unwrap().to_ascii_lowercase()
    };
    let taken = over_h1(", TE\r\nTE: trailers");
    assert!(taken.ends_with("3\r\nabc\r\n0\r\nx-sum: 42\r\n\r\n"), "{taken}");
    let not_asked_for = over_h1("");
    assert!(not_asked_for.ends_with("3\r\nabc\r\n0\r\n\r\n"), "{not_asked_for}");
}

fn before(address: &str) -> Builder {
    let settings = json!({ "upstream": { "address": address } });
    Sidegate::before(&Nothing::reserve()).jwt(&Issuer::new()).rule(json!({ "allow": "anyone" })).set(settings)
}

fn secured(app: &PythonApp, files: &Files, settings: Value) -> Builder {
    https(&app.listens, files, settings)
}

/// Before an app that our authority is to vouch for.
fn https(address: &str, files: &Files, mut settings: Value) -> Builder {
    settings["ca"] = json!(files.path("ca.pem"));
    before(&format!("https://{address}")).set(json!({ "upstream": { "tls": settings } }))
}

/// Certificates and keys.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        let client = AUTHORITY.issue_for_client();
        for (name, content) in
            [("ca.pem", &AUTHORITY.pem()), ("client.crt", &client.certificate), ("client.key", &client.key)]
        {
            fs::write(files.path(name), content).unwrap();
        }
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// An app whose certificate comes from this authority, and which asks for ours.
    fn app(&self, authority: &Authority, asks: bool) -> PythonApp {
        let pair = authority.issue();
        let (certificate, key, ca) = (self.path("app.crt"), self.path("app.key"), self.path("ca.pem"));
        fs::write(&certificate, &pair.certificate).unwrap();
        fs::write(&key, &pair.key).unwrap();
        let mut arguments = vec!["werkzeug", certificate.as_str(), key.as_str()];
        if asks {
            arguments.push(&ca);
        }
        PythonApp::start("wsgi_app.py", &arguments)
    }
}
