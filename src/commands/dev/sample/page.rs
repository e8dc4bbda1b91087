//! The sample app's page. What a client said is text in it, wherever it stands.

use std::fmt::{self, Write as _};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;

use super::seen::{Header, Seen};
use crate::commands::dev::banner::Commands;

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");

/// The page, but for what differs from request to request.
#[derive(Debug)]
pub(super) struct Page {
    commands: Commands,
    /// Nothing from elsewhere, no script, and no style but the page's own.
    pub(super) policy: HeaderValue,
}

/// Text between tags or within a quoted attribute.
struct Text<'a>(&'a str);

impl Page {
    pub(super) fn new(commands: Commands) -> Self {
        let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        // Base64 is what a header may hold.
        let policy = HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        Self { commands, policy }
    }

    /// The page about this request.
    pub(super) fn render(&self, seen: &Seen) -> String {
        let mut html = String::with_capacity(TEMPLATE.len() + STYLE.len() + 4096);
        // In one pass: what is filled in is not looked at again.
        let mut rest = TEMPLATE;
        while let Some((before, after)) = rest.split_once("{{") {
            html.push_str(before);
            let Some((name, after)) = after.split_once("}}") else { break };
            html.push_str(&self.part(name, seen));
            rest = after;
        }
        html.push_str(rest);
        html
    }

    fn part(&self, name: &str, seen: &Seen) -> String {
        let text = |text: &str| Text(text).to_string();
        let header = |name: &str| seen.header(name).map_or_else(|| NOTHING.to_owned(), code);
        match name {
            "style" => STYLE.to_owned(),
            "title" => text(&seen.path),
            "method" => text(&seen.method),
            "target" => text(&seen.target),
            "greeting" => format!("Hello, <em>{}</em>.", Text(seen.user().unwrap_or("whoever you are"))),
            "lede" => lede(seen).to_owned(),
            "credentials" => if seen.user().is_some() { "password or token" } else { "nothing asked" }.to_owned(),
            "says" => {
                seen.user().map_or_else(|| "no user".to_owned(), |user| format!("X-Forwarded-User: {}", Text(user)))
            }
            "encrypted" => match seen.header("X-Forwarded-Proto") {
                Some("https") => LOCK.to_owned() + "HTTPS",
                _ => "plain HTTP".to_owned(),
            },
            "user" => header("X-Forwarded-User"),
            "email" => match (seen.user(), seen.header("X-Forwarded-Email")) {
                (Some(_), None) => {
                    r#"<span class="none">none: a password says a name, a token says more</span>"#.to_owned()
                }
                _ => header("X-Forwarded-Email"),
            },
            "groups" => match seen.header("X-Forwarded-Groups") {
                Some(groups) => groups.split(',').map(code).collect::<Vec<_>>().join(" "),
                None => NOTHING.to_owned(),
            },
            "client" => header("X-Forwarded-For"),
            "scheme" => header("X-Forwarded-Proto"),
            "request_id" => header("X-Request-Id"),
            "ours" => seen.told_by_sidegate(true).count().to_string(),
            "ours_rows" => seen.told_by_sidegate(true).map(row).collect(),
            "theirs" => seen.told_by_sidegate(false).count().to_string(),
            "theirs_rows" => seen.told_by_sidegate(false).map(row).collect(),
            "home" | "public" | "admin" => current(name, &seen.path).to_owned(),
            "spoof" => text(&self.spoof()),
            "other" => text(&self.commands.with_token("--subject bob --group admin", "/admin/")),
            "expired" => text(&self.commands.with_token("--claim exp=1", "/")),
            "sidegate" => text(&self.commands.sidegate),
            "url" => text(&self.commands.url),
            // The template and this list are one; a test fills it all in.
            _ => String::new(),
        }
    }

    fn spoof(&self) -> String {
        // The header first: the URL is the last word of the line.
        self.commands.with_token("", "/").replacen(" -H ", " -H \"X-Forwarded-User: mallory\" -H ", 1)
    }
}

const NOTHING: &str = r#"<span class="none">none</span>"#;

const LOCK: &str = concat!(
    r#"<svg class="lock" viewBox="0 0 24 24" aria-hidden="true"><rect x="4" y="10.5" width="16" height="11" rx="2.5"/>"#,
    r#"<path d="M8 10.5V7a4 4 0 0 1 8 0v3.5"/></svg>"#
);

fn lede(seen: &Seen) -> &'static str {
    let area = seen.path.split('/').nth(1).unwrap_or_default();
    match (seen.user(), area) {
        (None, _) => {
            "This page is for anyone: its rule asks for no credentials, so sidegate named nobody. Had you sent a \
             name along, it would have been taken out."
        }
        (Some(_), "admin") => {
            "Only the group <code>admin</code> gets here. This app did not check that. sidegate did, before the app \
             heard of the request."
        }
        (Some(_), _) => {
            "This app has no login, no password and no certificate. sidegate checked who you are, and told the app \
             in a header that nobody else can set."
        }
    }
}

fn current(link: &str, path: &str) -> &'static str {
    let area = match path.split('/').nth(1).unwrap_or_default() {
        area @ ("public" | "admin") => area,
        _ => "home",
    };
    if area == link { r#" aria-current="page""# } else { "" }
}

fn row(header: &Header) -> String {
    let Header { name, value, meaning } = header;
    let (name, value) = (Text(name), Text(value));
    match meaning {
        Some(meaning) => format!(
            "<tr class=\"ours\"><th scope=\"row\">{name}</th><td class=\"value\">{value}</td>\
             <td class=\"why\">{meaning}</td></tr>\n"
        ),
        None => format!("<tr><th scope=\"row\">{name}</th><td class=\"value\" colspan=\"2\">{value}</td></tr>\n"),
    }
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", Text(text))
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::Request;

    use super::*;

    fn render(path: &str, headers: &[(&str, &str)]) -> String {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let [curl, sidegate, url] = ["curl --cacert '<ca>'", "sidegate", "https://localhost:8443"].map(str::to_owned);
        Page::new(Commands { curl, sidegate, url }).render(&Seen::new(&parts, 0))
    }

    #[test]
    fn every_part_of_the_template_is_filled_in() {
        for path in ["/", "/public/", "/admin/"] {
            let page = Page::new(Commands { curl: "curl".into(), sidegate: "sidegate".into(), url: "u".into() });
            let (parts, ()) = Request::builder()
                .uri(path)
                .header("x-forwarded-user", "alice")
                .header("accept", "*/*")
                .body(())
                .unwrap()
                .into_parts();
            let seen = Seen::new(&parts, 0);
            for name in TEMPLATE.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
                let optional = ["home", "public", "admin"].contains(&name);
                assert!(optional || !page.part(name, &seen).is_empty(), "{name}");
            }
            assert_eq!(page.render(&seen).matches(r#" aria-current="page""#).count(), 1, "{path}");
        }
    }

    #[test]
    fn what_a_client_says_is_never_markup() {
        const EVIL: &str = r#"<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{user}}&amp;"#;
        let html = render(
            "/public/%3Cscript%3E?q=%22%3E{{rows}}'",
            &[
                ("x-forwarded-user", EVIL),
                ("x-forwarded-groups", EVIL),
                ("x-forwarded-proto", EVIL),
                ("user-agent", EVIL),
            ],
        );
        for markup in ["<script", "<img", "onerror=alert(1)>", "\"'>"] {
            assert!(!html.contains(markup), "{markup}");
        }
        assert_eq!(html.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 9, "{html}");
        assert!(html.contains("{{user}}&amp;amp;"), "what is filled in is not filled in again");
    }

    #[test]
    fn the_style_is_the_one_that_the_policy_lets_through() {
        let html = render("/", &[]);
        let (_, style) = html.split_once("<style>").unwrap();
        let (style, _) = style.split_once("</style>").unwrap();
        let policy = Page::new(Commands { curl: String::new(), sidegate: String::new(), url: String::new() }).policy;
        assert!(policy.to_str().unwrap().contains(&STANDARD.encode(digest(&SHA256, style.as_bytes()))));
        assert!(!html.contains("style=") && !html.contains("<script"));
    }
}
