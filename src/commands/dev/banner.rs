//! What `sidegate dev` prints: a few lines, each of which works as it is pasted.

use std::{
    env,
    ffi::OsString,
    fmt,
    io::{self, IsTerminal},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use super::{
    folder::{Environment, Folder, VARIABLE},
    kit::{Kit, Plan},
    shell::{invocation, quoted},
};

/// Commands to paste, up to where each one goes its own way.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    /// `curl` and what it has to trust.
    pub(super) curl: String,
    /// `sidegate`, told where the files are, when it would not find them.
    pub(super) sidegate: String,
    /// Where clients reach it, without a slash at the end.
    pub(super) url: String,
}

/// The lines for a person who has just started it.
pub(super) struct Banner<'a> {
    pub(super) commands: &'a Commands,
    pub(super) plan: &'a Plan,
    pub(super) kit: &'a Kit,
    pub(super) folder: &'a Folder,
    pub(super) admin: SocketAddr,
    pub(super) colours: bool,
}

impl Commands {
    /// The commands for a sidegate at `address` with the files of `kit`.
    pub(super) fn new(address: SocketAddr, kit: &Kit, folder: &Folder, environment: Environment<'_>) -> Self {
        let mut curl = "curl".to_owned();
        // An empty variable is none.
        let set = |name| environment(name).is_some_and(|value| !value.is_empty());
        if ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"].into_iter().any(set) {
            curl.push_str(" --noproxy '*'");
        }
        let scheme = if kit.authority.is_some() { "https" } else { "http" };
        if let Some(authority) = &kit.authority {
            curl.push_str(&format!(" --cacert {}", quoted(&authority.to_string_lossy())));
        }
        // A name is what certificates are about, and browsers are kinder to it than to an address.
        let local = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&address.ip());
        let host = if local { format!("localhost:{}", address.port()) } else { address.to_string() };
        let exe = env::current_exe().unwrap_or_else(|_| "sidegate".into());
        let directory = env::current_dir().unwrap_or_default();
        let path: Option<OsString> = environment("PATH");
        let mut sidegate = invocation(&exe, &directory, path.as_deref());
        if !folder.is_usual() {
            sidegate = format!("{VARIABLE}={} {sidegate}", quoted(&folder.path().to_string_lossy()));
        }
        Self { curl, sidegate, url: format!("{scheme}://{host}") }
    }

    /// A request with a token of the user; `flags` are for `sidegate token`.
    pub(super) fn with_token(&self, flags: &str, path: &str) -> String {
        let Self { curl, sidegate, url } = self;
        let space = if flags.is_empty() { "" } else { " " };
        format!(r#"{curl} -H "Authorization: Bearer $({sidegate} token{space}{flags})" {url}{path}"#)
    }

    fn with_password(&self, user: &str, password: &str) -> String {
        let Self { curl, url, .. } = self;
        format!("{curl} --user {} {url}/", quoted(&format!("{user}:{password}")))
    }
}

/// Whether standard output is a terminal that shows colours, and nobody minds (<https://no-color.org>).
pub(super) fn colours(environment: Environment<'_>) -> bool {
    let set = |name| environment(name).is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !set("NO_COLOR") && environment("TERM").is_none_or(|term| term != "dumb")
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commands, plan, kit, folder, admin, .. } = self;
        let [bold, green, dim, end] =
            if self.colours { ["\x1b[1m", "\x1b[32m", "\x1b[2m", "\x1b[0m"] } else { [""; 4] };
        let app = plan.upstream.as_ref().map_or_else(|| "a sample app".to_owned(), ToString::to_string);
        let url = &commands.url;
        writeln!(f, "\n  {bold}{green}sidegate dev{end}  {bold}{url}/{end}  {dim}in front of{end} {app}\n")?;
        let mut section = |title: &str, line: &str| writeln!(f, "  {bold}{title}{end}\n    {line}\n");
        section("With a token", &commands.with_token("", "/"))?;
        section("With a password", &commands.with_password(&plan.user, &plan.password))?;
        section("In a browser", &format!("{url}/"))?;

        let rows = [
            ("user", format!("{} (groups: {})", plan.user, plan.groups.join(", "))),
            ("password", plan.password.clone()),
            ("trust", kit.authority.as_deref().map(trust).unwrap_or_default()),
            ("files", files(folder)),
            ("rules", rules(plan)),
            ("admin", format!("http://{admin}/readyz?verbose and /metrics")),
            ("stop", "Ctrl-C".to_owned()),
        ];
        for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
            writeln!(f, "  {dim}{name:<9}{end} {text}")?;
        }
        writeln!(f)
    }
}

fn trust(authority: &Path) -> String {
    format!("{}: import it, or go past the browser's warning", authority.display())
}

fn files(folder: &Folder) -> String {
    let until = if folder.is_temporary() { "removed at the end" } else { "made anew at each start" };
    format!("{}: {until}", folder.path().display())
}

fn rules(plan: &Plan) -> String {
    if plan.upstream.is_none() {
        "/public/ anyone, /admin/ the group admin, everything else any authenticated user".to_owned()
    } else {
        "any authenticated user; docs/local-development.md tells how to write your own".to_owned()
    }
}
