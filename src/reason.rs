//! Why a request was refused or broke off: the one list, documented for users in `docs/reasons.md`.

use http::StatusCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal $text:literal,)*) => {
        /// Why a request was refused. One list: the metric's label, the log's field, the body's `error`.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of [`Reason::index`].
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The answer's status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The stable code: metric label, log field, response body.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// A sentence for a person.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The place in [`Reason::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

reasons! {
    /// No credentials of a kind that is accepted here.
    CredentialsMissing = UNAUTHORIZED "credentials_missing" "Credentials are required.",
    /// More than one `Authorization` header: two readers could choose differently.
    CredentialsAmbiguous = UNAUTHORIZED "credentials_ambiguous" "More than one set of credentials was sent.",
    /// Not a compact JWS, too large, or JSON that has two readings.
    JwtMalformed = UNAUTHORIZED "jwt_malformed" "The token is not a well-formed JWT.",
    /// `exp` has passed, or is missing.
    JwtExpired = UNAUTHORIZED "jwt_expired" "The token has expired.",
    /// `nbf` is still to come.
    JwtNotYetValid = UNAUTHORIZED "jwt_not_yet_valid" "The token is not valid yet.",
    /// The signature does not fit the key.
    JwtSignature = UNAUTHORIZED "jwt_signature" "The token's signature is not valid.",
    /// An algorithm that this issuer is not configured for.
    JwtAlgorithm = UNAUTHORIZED "jwt_algorithm" "The token's algorithm is not accepted.",
    /// No key of the issuer fits.
    JwtKeyUnknown = UNAUTHORIZED "jwt_key_unknown" "The token was signed with an unknown key.",
    /// The issuer's keys could not be fetched yet, or not for too long.
    KeysUnavailable = SERVICE_UNAVAILABLE "keys_unavailable" "The token cannot be verified now; try again shortly.",
    /// `iss` is not one that is accepted, or is missing.
    JwtIssuer = UNAUTHORIZED "jwt_issuer" "The token's issuer is not accepted.",
    /// `aud` does not name us, or is missing.
    JwtAudience = UNAUTHORIZED "jwt_audience" "The token is meant for another audience.",
    /// `typ` is not the one that the issuer's tokens must have, or is missing.
    JwtType = UNAUTHORIZED "jwt_type" "The token is of another type.",
    /// `exp` is too long after `iat`.
    JwtLifetime = UNAUTHORIZED "jwt_lifetime" "The token lasts for longer than is accepted.",
    /// The Kubernetes API server does not know the token, or not for our audience.
    JwtReviewDenied = UNAUTHORIZED "jwt_review_denied" "The API server does not accept the token.",
    /// The Kubernetes API server could not be asked about the token.
    ReviewUnavailable = SERVICE_UNAVAILABLE "review_unavailable" "The token cannot be checked now; try again shortly.",
    /// A claim that is needed is missing or of the wrong type.
    JwtClaim = UNAUTHORIZED "jwt_claim" "A claim of the token is missing or not acceptable.",
    /// Not the form of RFC 7617.
    BasicMalformed = UNAUTHORIZED "basic_malformed" "The basic credentials are not well-formed.",
    /// Wrong password; and unknown user, so that nobody can find out who exists.
    PasswordWrong = UNAUTHORIZED "password_wrong" "The user name or password is wrong.",
    /// Too many wrong passwords from this client, or for this name: the password was not looked at.
    PasswordThrottled = TOO_MANY_REQUESTS "password_throttled" "Too many wrong passwords; try again later.",
    /// The caller is known, and the rule does not let them through.
    RuleDenied = FORBIDDEN "rule_denied" "You are not allowed to do this.",
    /// No rule matches, and what no rule allows is denied.
    NoRule = FORBIDDEN "no_rule" "Nothing allows this request.",
    /// A page of another origin asks for a WebSocket with credentials that the browser adds by itself.
    OriginDenied = FORBIDDEN "origin_denied" "This page may not open a WebSocket here.",
    /// A web page's origin is not one of `cors.origins`.
    PreflightDenied = FORBIDDEN "preflight_denied" "Pages of this origin may not ask.",
    /// The target can be read in more than one way.
    PathAmbiguous = BAD_REQUEST "path_ambiguous" "The request target is ambiguous.",
    /// A method with a lower-case letter: methods are case-sensitive to us, and not to every app.
    MethodInvalid = BAD_REQUEST "method_invalid" "The request method is not valid.",
    /// A header can be read in more than one way.
    HeaderInvalid = BAD_REQUEST "header_invalid" "A request header is not valid.",
    /// What a trusted proxy says about where the request comes from cannot be understood.
    ForwardedInvalid = BAD_REQUEST "forwarded_invalid" "What a proxy says about this request's way here is not valid.",
    /// The message's framing can be read in more than one way: lines, version, length, chunks.
    FramingInvalid = BAD_REQUEST "framing_invalid" "The request is not well-formed HTTP.",
    /// The header is larger than `limits.max_header_bytes`, or has more lines than `limits.max_headers`.
    HeaderTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE "header_too_large" "The request header is too large.",
    /// The client broke off its request.
    RequestIncomplete = BAD_REQUEST "request_incomplete" "The request was not complete.",
    /// The request's body stood still for longer than `upstream.idle_timeout`.
    RequestTimeout = REQUEST_TIMEOUT "request_timeout" "The request took too long to arrive.",
    /// The body is larger than `limits.max_body_bytes`.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large" "The request body is too large.",
    /// A WebSocket on which nothing went either way for `limits.upgrade_idle_timeout`.
    UpgradeIdle = REQUEST_TIMEOUT "upgrade_idle" "The WebSocket was idle for too long.",
    /// A WebSocket that has lasted for `limits.upgrade_lifetime`.
    UpgradeLifetime = REQUEST_TIMEOUT "upgrade_lifetime" "The WebSocket has lasted for as long as it may.",
    /// `limits.max_in_flight` is reached, or as many passwords as can be are being checked.
    Overloaded = SERVICE_UNAVAILABLE "overloaded" "Too many requests at once; try again shortly.",
    /// The app does not accept connections.
    UpstreamUnreachable = BAD_GATEWAY "upstream_unreachable" "The application cannot be reached.",
    /// The app did not prove that it is the app, did not believe our certificate, or does not speak TLS.
    UpstreamTls = BAD_GATEWAY "upstream_tls" "The application cannot be reached securely.",
    /// The app closed the connection or broke the protocol before its answer was complete.
    UpstreamBroken = BAD_GATEWAY "upstream_broken" "The application broke off its answer.",
    /// The app did not answer in time.
    UpstreamTimeout = GATEWAY_TIMEOUT "upstream_timeout" "The application did not answer in time.",
}
