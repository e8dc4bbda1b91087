//! The real apps: Flask under gunicorn, nginx, and an address where nothing answers.
//!
//! The test binds the listener and hands it over, so there is no free port to lose in between, and a connection
//! made before the app has started simply waits in its queue.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

use super::{
    App, Wire,
    program::end,
    wait::{PATIENCE, until},
};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// How many connections wait to be accepted: as many as where gunicorn makes its listener itself.
const BACKLOG: i32 = 2048;

/// gunicorn's kinds of worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Worker {
    /// One request at a time, and a connection for each.
    Sync,
    /// A pool of threads, with keep-alive.
    Threads,
}

/// `tests/apps/flask_app.py` under gunicorn with one worker.
pub(crate) struct Flask {
    process: Process,
    gates: PathBuf,
}

impl Flask {
    pub(crate) fn start(worker: Worker) -> Self {
        Self::start_with(worker, &[])
    }

    /// The same, with further arguments for gunicorn.
    pub(crate) fn start_with(worker: Worker, args: &[&str]) -> Self {
        let mut command = venv("gunicorn");
        command.args(["--no-control-socket", "--workers=1", "--bind=fd://0", "--log-level=warning"]);
        command.args(match worker {
            Worker::Sync => &["--worker-class=sync"][..],
            Worker::Threads => &["--worker-class=gthread", "--threads=8"],
        });
        command.args(args).arg(format!("--chdir={HERE}/tests/apps")).arg("flask_app:app");
        let process = Process::start(command, |command, files, _| {
            command.env("GATES", files).env("PYTHONDONTWRITEBYTECODE", "1");
        });
        let gates = process.files.path().to_owned();
        Self { process, gates }
    }

    /// The requests that the app saw, as `GET /path`.
    pub(crate) fn seen(&self) -> Vec<String> {
        let answer = Wire::tcp(self.address()).send("GET /__seen HTTP/1.1\r\nHost: app\r\n\r\n").answer();
        serde_json::from_value(answer.json()).unwrap()
    }

    /// What gunicorn has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.process.files.path().join("output.log")).unwrap()
    }

    /// Waits until a request stands at this gate.
    pub(crate) fn wait_for(&self, gate: &str) {
        let entered = self.gates.join(format!("{gate}.entered"));
        until("a request at the gate", || entered.exists().then_some(()));
    }

    /// Lets it go on.
    pub(crate) fn open(&self, gate: &str) {
        File::create(self.gates.join(format!("{gate}.open"))).unwrap();
    }
}

impl App for Flask {
    fn address(&self) -> SocketAddr {
        self.process.address
    }
}

/// The apps that speak WebSocket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Library {
    /// flask-sock under gunicorn with threads.
    FlaskSock,
    /// Flask-SocketIO under gunicorn with gevent.
    SocketIo,
    /// The `websockets` library, without a framework.
    Websockets,
}

/// One of `tests/apps/*_app.py` that speaks WebSocket.
pub(crate) struct WebSocketApp {
    process: Process,
}

impl WebSocketApp {
    pub(crate) fn start(library: Library) -> Self {
        let gunicorn = |arguments: &[&str]| {
            let mut command = venv("gunicorn");
            command
                .args(["--no-control-socket", "--workers=1", "--bind=fd://0", "--log-level=warning"])
                .args(arguments);
            command.arg(format!("--chdir={HERE}/tests/apps"));
            command
        };
        let command = match library {
            Library::FlaskSock => gunicorn(&["--worker-class=gthread", "--threads=8", "websocket_app:app"]),
            Library::SocketIo => gunicorn(&["--worker-class=gevent", "socketio_app:app"]),
            Library::Websockets => {
                let mut command = venv("python");
                command.arg(format!("{HERE}/tests/apps/websockets_app.py"));
                command
            }
        };
        let process = Process::start(command, |command, _, _| {
            command.env("PYTHONDONTWRITEBYTECODE", "1");
        });
        Self { process }
    }
}

impl App for WebSocketApp {
    fn address(&self) -> SocketAddr {
        self.process.address
    }
}

/// Runs one of the clients in `tests/apps/websocket_clients.py`, and says what it printed.
pub(crate) fn websocket_client(arguments: &[&str]) -> String {
    let mut command = venv("python");
    command.arg(format!("{HERE}/tests/apps/websocket_clients.py")).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{err}");
    out.trim().to_owned()
}

/// nginx with `tests/apps/nginx.conf`, or another file of these.
pub(crate) struct Nginx {
    process: Process,
}

impl Nginx {
    pub(crate) fn start() -> Self {
        Self { process: nginx("nginx.conf", Path::new("")) }
    }

    /// In front of what listens on this Unix socket, with `tests/apps/nginx_front.conf`.
    pub(crate) fn before(socket: &Path) -> Self {
        Self { process: nginx("nginx_front.conf", socket) }
    }

    /// Puts a file where `/files/NAME` finds it.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.process.files.path().join("files").join(name), content).unwrap();
    }

    /// The requests that it saw, as `GET /path`.
    pub(crate) fn seen(&self) -> Vec<String> {
        let log = fs::read_to_string(self.process.files.path().join("seen.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }
}

impl App for Nginx {
    fn address(&self) -> SocketAddr {
        self.process.address
    }
}

/// A server that `tests/apps/routed_app.py` runs under, or nginx with the like of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Server {
    /// The development server of Flask: HTTP/1.0, a connection for each request.
    Werkzeug,
    /// One request at a time.
    GunicornSync,
    /// A pool of threads, with keep-alive.
    GunicornThreads,
    Waitress,
    /// gevent's.
    Pywsgi,
    Nginx,
}

/// An app that writes down what it routed.
pub(crate) struct Routed {
    process: Process,
}

impl Routed {
    pub(crate) fn start(server: Server) -> Self {
        let app = format!("--chdir={HERE}/tests/apps");
        let gunicorn = |workers: &[&str]| {
            let mut command = venv("gunicorn");
            command.args(["--no-control-socket", "--workers=1", "--bind=fd://0", "--log-level=warning", &app]);
            command.args(workers).arg("routed_app:application");
            command
        };
        let python = |server: &str| {
            let mut command = venv("python");
            command.arg(format!("{HERE}/tests/apps/routed_app.py")).arg(server);
            command
        };
        let command = match server {
            Server::Werkzeug => python("werkzeug"),
            Server::Waitress => python("waitress"),
            Server::Pywsgi => python("pywsgi"),
            Server::GunicornSync => gunicorn(&["--worker-class=sync"]),
            Server::GunicornThreads => gunicorn(&["--worker-class=gthread", "--threads=4"]),
            Server::Nginx => return Self { process: nginx("routed_nginx.conf", Path::new("")) },
        };
        let process = Process::start(command, |command, files, _| {
            command.env("SEEN", files.join("seen.log")).env("PYTHONDONTWRITEBYTECODE", "1");
        });
        Self { process }
    }

    /// The requests that it saw, a JSON object each: the `route` that ran, and the `environ`.
    pub(crate) fn seen(&self) -> Vec<serde_json::Value> {
        // nginx writes bytes beyond ASCII as they came.
        let log = fs::read(self.process.files.path().join("seen.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
    }
}

impl App for Routed {
    fn address(&self) -> SocketAddr {
        self.process.address
    }
}

/// An address that belongs to the test, and refuses every connection until [`Nothing::listen`].
pub(crate) struct Nothing(Socket);

impl Nothing {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Self(socket)
    }

    /// Something listens there from now on.
    pub(crate) fn listen(self) -> TcpListener {
        self.0.listen(BACKLOG).unwrap();
        self.0.into()
    }
}

impl App for Nothing {
    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }
}

/// A command of the Python environment.
fn venv(command: &str) -> Command {
    let path = Path::new(HERE).join("target/venv/bin").join(command);
    assert!(path.exists(), "{} is missing: run script/setup", path.display());
    Command::new(path)
}

/// nginx with this file of `tests/apps`, which may name an `UPSTREAM`.
fn nginx(config: &str, upstream: &Path) -> Process {
    // nginx takes over listeners that it is told the numbers of, and 0 is not one it believes.
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec nginx -p "$0/" -c nginx.conf 3<&0 0</dev/null"#]);
    Process::start(command, |command, files, address| {
        for directory in ["files", "tmp"] {
            fs::create_dir(files.join(directory)).unwrap();
        }
        let config = fs::read_to_string(format!("{HERE}/tests/apps/{config}")).unwrap();
        let config = config.replace("LISTEN", &address.to_string());
        fs::write(files.join("nginx.conf"), config.replace("UPSTREAM", &upstream.to_string_lossy())).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        command.arg(files).env("NGINX", "3;").env("PATH", path);
    })
}

/// A server that was given its listener as standard input, and its files in a directory of its own.
struct Process {
    child: Child,
    address: SocketAddr,
    files: TempDir,
}

impl Process {
    fn start(mut command: Command, prepare: impl FnOnce(&mut Command, &Path, SocketAddr)) -> Self {
        let listener = Nothing::reserve().listen();
        let address = listener.local_addr().unwrap();
        let files = tempfile::Builder::new().prefix("app-").tempdir().unwrap();
        prepare(&mut command, files.path(), address);
        let output = File::create(files.path().join("output.log")).unwrap();
        command.stdin(Stdio::from(OwnedFd::from(listener)));
        command.stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { child, address, files }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            let output = fs::read_to_string(self.files.path().join("output.log")).unwrap_or_default();
            eprintln!("--- the app's output\n{output}---");
        }
        // SIGQUIT ends gunicorn and nginx at once and together with their workers; SIGKILL would orphan those. A plain
        // program ignores it when these tests were started in the background by a script, as POSIX wants it of shells.
        end(&mut self.child, &[(Signal::QUIT, Duration::from_secs(2)), (Signal::TERM, PATIENCE)]);
    }
}
