//! The API server of a Kubernetes cluster, as far as tokens go, and strict: what the real one would not take is refused here
//! too, with the same answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use jsonwebtoken::Algorithm;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{
    Builder, Issuer,
    answer::{self, Rest},
    issuer::now,
    pki::AUTHORITY,
    wait::PATIENCE,
};

/// The audience of tokens that are meant for the API server itself.
const OWN_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// A cluster: it signs tokens of service accounts, and its API server says whose a token is.
pub(crate) struct ApiServer {
    /// Signs the tokens of service accounts.
    pub(crate) issuer: Issuer,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What it does when it is asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Mood {
    /// It answers.
    #[default]
    Answers,
    /// It knows nothing of audiences, and answers without them.
    IgnoresAudiences,
    /// It answers this status, with a `Status` object.
    Fails(u16),
    /// It is not content with a token that it knows, and repeats it.
    Complains,
    /// It answers this status with something else than a TokenReview.
    Babbles(u16),
    /// It takes the question, and answers when its mood is another.
    Hangs,
    /// It hangs up on whoever connects.
    IsDown,
}

#[derive(Default)]
struct Shared {
    jwks: Mutex<Value>,
    /// The token of the service account that may ask.
    asker: Mutex<String>,
    /// Whose each token is.
    accounts: Mutex<BTreeMap<String, Account>>,
    mood: Mutex<Mood>,
    mood_changed: Condvar,
    /// What `spec` each question had.
    questions: Mutex<Vec<Value>>,
    key_sets: AtomicUsize,
    asked_now: AtomicUsize,
    asked_at_once: AtomicUsize,
    stopped: AtomicBool,
}

struct Account {
    user: String,
    groups: Vec<String>,
    audiences: BTreeSet<String>,
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl ApiServer {
    pub(crate) fn start() -> Self {
        let issuer = Issuer::with(Algorithm::RS256).named("https://kubernetes.default.svc.cluster.local");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        *shared.jwks.lock().unwrap() = issuer.jwks();
        let (serving, config) = (shared.clone(), AUTHORITY.server_config());
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                if serving.stopped.load(Ordering::SeqCst) {
                    return;
                }
                if *serving.mood.lock().unwrap() == Mood::IsDown {
                    continue;
                }
                let (shared, config) = (serving.clone(), config.clone());
                // An error is the other side's end of the connection.
                thread::spawn(move || drop(shared.serve(tcp, config)));
            }
        });
        let server = Self { issuer, address, shared };
        server.rotate_asker();
        server
    }

    /// Takes another token from those who ask from now on, and says which: one of the service account `shop/orders`.
    pub(crate) fn rotate_asker(&self) -> String {
        let mut claims = self.claims("shop", "orders");
        claims["aud"] = json!([OWN_AUDIENCE]);
        claims["jti"] = json!(now().to_string() + &self.shared.asker.lock().unwrap().len().to_string());
        let token = self.issuer.sign(&claims);
        token.clone_into(&mut self.shared.asker.lock().unwrap());
        token
    }

    /// The claims of a token that is bound to a pod of this service account and meant for `orders`.
    pub(crate) fn claims(&self, namespace: &str, name: &str) -> Value {
        let mut claims = self.issuer.claims(&format!("system:serviceaccount:{namespace}:{name}"));
        claims["aud"] = json!(["orders"]);
        claims["kubernetes.io"] = json!({
            "namespace": namespace,
            "node": { "name": "node-1", "uid": "7e6e0b5e-2b0c-4a4e-8b1c-0f6a3a4f2d11" },
            "pod": { "name": format!("{name}-6d4b75cb6d-hwzkq"), "uid": "1c4b1f3e-54a7-4d0b-9b39-3f2b3a8d7c55" },
            "serviceaccount": { "name": name, "uid": "d9a2c0de-11aa-4f5f-9f0e-5d8a9e0c7b22" },
        });
        claims
    }

    /// Such a token.
    pub(crate) fn token(&self, namespace: &str, name: &str) -> String {
        self.issuer.sign(&self.claims(namespace, name))
    }

    /// From now on says that `token` is `user`'s, for whoever asks about the audience `orders`.
    pub(crate) fn knows(&self, token: &str, user: &str) {
        self.knows_for(token, user, "orders");
    }

    /// The same for another audience.
    pub(crate) fn knows_for(&self, token: &str, user: &str, audience: &str) {
        let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned).to_vec();
        let account = Account { user: user.to_owned(), groups, audiences: [audience.to_owned()].into() };
        self.shared.accounts.lock().unwrap().insert(token.to_owned(), account);
    }

    /// From now on says that `token` is nobody's: its pod or its account was deleted.
    pub(crate) fn forgets(&self, token: &str) {
        self.shared.accounts.lock().unwrap().remove(token);
    }

    pub(crate) fn set_mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
        self.shared.mood_changed.notify_all();
    }

    /// How many questions it has taken.
    pub(crate) fn questions(&self) -> usize {
        self.shared.questions.lock().unwrap().len()
    }

    /// The `spec` of the last question.
    pub(crate) fn last_question(&self) -> Value {
        self.shared.questions.lock().unwrap().last().expect("a question").clone()
    }

    /// How many questions it had at once, at the most.
    pub(crate) fn asked_at_once(&self) -> usize {
        self.shared.asked_at_once.load(Ordering::SeqCst)
    }

    /// How often it gave its keys.
    pub(crate) fn key_sets(&self) -> usize {
        self.shared.key_sets.load(Ordering::SeqCst)
    }

    /// What `keys` of an issuer say so that it is asked for its `source`: `kubernetes` or `token_review`.
    pub(crate) fn keys(&self, builder: &Builder, source: &str) -> Value {
        let path = match source {
            "kubernetes" => "/openid/v1/jwks",
            _ => "/apis/authentication.k8s.io/v1/tokenreviews",
        };
        let mut keys = self.files(builder);
        keys[source] = json!(true);
        keys["url"] = json!(format!("https://{}{path}", self.address));
        keys
    }

    /// The same for whoever knows from the environment where it is.
    pub(crate) fn files(&self, builder: &Builder) -> Value {
        let token = self.shared.asker.lock().unwrap().clone();
        let bearer: PathBuf = builder.write("asker", &token);
        json!({ "file": null, "ca": builder.path("ca.pem"), "bearer_token_file": bearer })
    }

    /// Names it where Kubernetes names it.
    pub(crate) fn in_environment(&self, builder: Builder) -> Builder {
        let (host, port) = (self.address.ip().to_string(), self.address.port().to_string());
        builder.env("KUBERNETES_SERVICE_HOST", &host).env("KUBERNETES_SERVICE_PORT", &port)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        self.set_mood(Mood::Answers);
        let _ = TcpStream::connect(self.address); // so that it looks
    }
}

impl Shared {
    fn serve(&self, tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = BufReader::new(StreamOwned::new(connection, tcp));
        let request = Request::read(&mut stream)?;
        let (status, content_type, body) = self.answer(&request);
        let text = body.to_string();
        let head = format!("HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n", text.len());
        let stream = stream.get_mut();
        stream.write_all(format!("{head}Connection: close\r\n\r\n{text}").as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn answer(&self, request: &Request) -> (u16, &'static str, Value) {
        let refused = |code| (code, "application/json", failure(code));
        let asker = format!("Bearer {}", self.asker.lock().unwrap());
        if request.header("authorization") != Some(&asker) {
            return refused(401);
        }
        let accepts = |media_type| {
            let accepted = request.header("accept").unwrap_or("*/*").split(',');
            accepted
                .map(|accepted| accepted.split(';').next().unwrap_or_default().trim())
                .any(|accepted| accepted == "*/*" || accepted == media_type)
        };
        match request.line.as_str() {
            "GET /openid/v1/jwks HTTP/1.1" if !accepts("application/jwk-set+json") => refused(406),
            "GET /openid/v1/jwks HTTP/1.1" => {
                self.key_sets.fetch_add(1, Ordering::SeqCst);
                (200, "application/jwk-set+json", self.jwks.lock().unwrap().clone())
            }
            "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1" if !accepts("application/json") => refused(406),
            "POST /apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1" => {
                if request.header("content-type") != Some("application/json") {
                    return refused(415);
                }
                match question(&request.body) {
                    Some((token, audiences)) => self.review(&token, &audiences),
                    None => refused(400),
                }
            }
            _ => refused(404),
        }
    }

    fn review(&self, token: &str, audiences: &[String]) -> (u16, &'static str, Value) {
        let spec = json!({ "token": token, "audiences": audiences });
        self.questions.lock().unwrap().push(spec.clone());
        let now = self.asked_now.fetch_add(1, Ordering::SeqCst) + 1;
        self.asked_at_once.fetch_max(now, Ordering::SeqCst);
        let hangs = |mood: &mut Mood| *mood == Mood::Hangs;
        let mood = *self.mood_changed.wait_while(self.mood.lock().unwrap(), hangs).unwrap();
        self.asked_now.fetch_sub(1, Ordering::SeqCst);
        let nobody = json!({ "user": {}, "error": "[invalid bearer token, token lookup failed]" });
        let status = match (mood, self.accounts.lock().unwrap().get(token)) {
            (Mood::Fails(code), _) => return (code, "application/json", failure(code)),
            (Mood::Babbles(code), _) => return (code, "application/json", json!({ "kind": token, "status": token })),
            (_, None) => nobody,
            (mood, Some(account)) => {
                let common: Vec<_> = audiences.iter().filter(|name| account.audiences.contains(*name)).collect();
                let user = json!({ "username": account.user, "uid": "d9a2c0de", "groups": account.groups });
                match mood {
                    Mood::IgnoresAudiences => json!({ "authenticated": true, "user": user }),
                    Mood::Complains => {
                        let error = format!("webhook: what is {token}?");
                        json!({ "authenticated": true, "user": user, "audiences": common, "error": error })
                    }
                    _ if common.is_empty() => nobody,
                    _ => json!({ "authenticated": true, "user": user, "audiences": common }),
                }
            }
        };
        let review = json!({
            "kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": { "creationTimestamp": null },
            "spec": spec, "status": status,
        });
        (201, "application/json", review)
    }
}

impl Request {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut lines = answer::read_lines(stream)?;
        let line = lines.remove(0);
        let headers = answer::headers(&lines);
        let body = answer::read_body(stream, &headers, Rest::Nothing)?;
        Ok(Self { line, headers, body })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The token and the audiences of a question that is one to the letter, with nothing besides.
fn question(body: &[u8]) -> Option<(String, Vec<String>)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let members = |value: &Value| value.as_object().map(|members| members.keys().cloned().collect::<BTreeSet<_>>());
    let exactly = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>());
    let spec = &body["spec"];
    let is_one = members(&body) == exactly(&["apiVersion", "kind", "spec"])
        && members(spec) == exactly(&["token", "audiences"])
        && body["apiVersion"] == "authentication.k8s.io/v1"
        && body["kind"] == "TokenReview";
    let token = spec["token"].as_str().filter(|token| !token.is_empty())?.to_owned();
    let audiences: Option<Vec<_>> =
        spec["audiences"].as_array()?.iter().map(|name| Some(name.as_str()?.to_owned())).collect();
    is_one.then_some((token, audiences.filter(|names| !names.is_empty())?))
}

fn failure(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "no", "code": code })
}
