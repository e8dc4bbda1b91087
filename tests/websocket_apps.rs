//! WebSockets with the libraries that people use: flask-sock, Flask-SocketIO, `websockets`.

use serde_json::json;

use crate::support::{App, Issuer, Library, Sidegate, WebSocketApp, websocket_client};

#[test]
fn flask_sock_under_gunicorns_threads() {
    let (app, issuer) = (WebSocketApp::start(Library::FlaskSock), Issuer::new());
    let sidegate = guarded(&app, &issuer);
    let token = issuer.token("alice");
    assert_eq!(client(&sidegate, "header", "wss", "/ws", &token, &[]), "alice  None None");
    // A page sets no header: the token is among the protocols, or in the URL, and the app sees neither.
    assert_eq!(client(&sidegate, "protocol", "wss", "/ws", &token, &[]), "alice  None bearer");
    assert_eq!(client(&sidegate, "query", "wss", "/ws", &token, &[]), "alice room=1 None None");
    // And HTTP is as it was.
    let answer = sidegate.curl("/plain").args(["--http2"]).bearer(&token).send();
    assert_eq!((answer.status, &answer.json()["user"]), (200, &json!("alice")));
    let log = sidegate.access_log(4);
    assert!(log[..3].iter().all(|line| line["response_code"] == 101 && line["bytes_sent"].as_u64() > Some(150_000)));
    assert!(!sidegate.access_lines(4).concat().contains(&token));
}

#[test]
fn flask_socketio_under_gevent_with_its_own_check_of_the_origin() {
    let (app, issuer) = (WebSocketApp::start(Library::SocketIo), Issuer::new());
    let sidegate = guarded(&app, &issuer);
    let heard = client(&sidegate, "socketio", "https", "", &issuer.token("alice"), &[]);
    assert_eq!(heard, "heard alice: HELLO websocket");
}

#[test]
fn the_websockets_library_on_both_sides() {
    let (app, issuer) = (WebSocketApp::start(Library::Websockets), Issuer::new());
    let sidegate = guarded(&app, &issuer);
    let token = issuer.token("alice");
    assert_eq!(client(&sidegate, "header", "wss", "/", &token, &["https://other.example"]), "alice None None");
    assert_eq!(client(&sidegate, "protocol-and-chat", "wss", "/", &token, &[]), "alice chat chat");
}

fn guarded(app: &impl App, issuer: &Issuer) -> Sidegate {
    let sources = json!([{ "header": "Authorization" }, { "websocket_protocol": true }, { "query": "token" }]);
    Sidegate::before(app)
        .jwt_with(issuer, json!({ "token_from": sources }))
        .rule(json!({ "allow": "authenticated" }))
        .start()
}

/// What a client of `tests/apps/websocket_clients.py` is told at this URL.
fn client(sidegate: &Sidegate, kind: &str, scheme: &str, path: &str, token: &str, origin: &[&str]) -> String {
    let url = sidegate.url(path).replace("https:", &format!("{scheme}:"));
    let authority = sidegate.file("ca.pem");
    websocket_client(&[&[kind, &url, authority.to_str().unwrap(), token], origin].concat())
}
