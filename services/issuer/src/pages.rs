//! The grants over HTTP: authorization code with PKCE (RFC 6749, RFC 7636), device (RFC 8628), refresh with rotation (RFC 9700).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Redirect, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use crate::grants::{Code, DEVICE_LIFETIME, Polled, Refreshed, fingerprint};
use crate::server::Published;
use crate::users::{MAX_PASSWORD, User, verify};

/// How long an access token is good: as long as one that was stolen could be used.
const TOKEN_LIFETIME: Duration = Duration::from_mins(5);
/// Between two polls of a device.
const POLL: Duration = Duration::from_secs(1);
/// Longest parameter that is taken, in bytes.
const MAX_PARAMETER: usize = 2_048;
const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What a program asks of the page to sign in on.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Authorize {
    response_type: String,
    client_id: String,
    redirect_uri: String,
    #[serde(default)]
    state: String,
    code_challenge: String,
    code_challenge_method: String,
}

impl Authorize {
    /// Whether it may come back there: loopback alone, whatever the port (RFC 8252, section 7.3).
    fn back(&self) -> Result<Url, &'static str> {
        let url = Url::parse(&self.redirect_uri).map_err(|_| "redirect_uri is no address")?;
        let is_local = match url.host() {
            Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
            Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
            _ => false,
        };
        if url.scheme() != "http" || !is_local {
            return Err("redirect_uri must be on the loopback address");
        }
        if self.response_type != "code" || self.code_challenge_method != "S256" || self.code_challenge.len() != 43 {
            return Err("only response_type=code with PKCE (S256) is done here");
        }
        if [&self.client_id, &self.state, &self.redirect_uri].iter().any(|text| text.len() > MAX_PARAMETER) {
            return Err("a parameter is too long");
        }
        Ok(url)
    }
}

/// What a person types in, beside what the program asked.
#[derive(Deserialize)]
pub(crate) struct Typed<T> {
    #[serde(flatten)]
    asked: T,
    user: String,
    password: String,
}

pub(crate) async fn authorize_page(Query(asked): Query<Authorize>) -> Response {
    match asked.back() {
        Ok(_) => page(StatusCode::OK, &authorize_form(&asked, "")),
        Err(problem) => page(StatusCode::BAD_REQUEST, &format!("<p>{problem}")),
    }
}

pub(crate) async fn authorize(State(state): State<Arc<Published>>, Form(typed): Form<Typed<Authorize>>) -> Response {
    let Typed { asked, user, password } = typed;
    let mut back = match asked.back() {
        Ok(back) => back,
        Err(problem) => return page(StatusCode::BAD_REQUEST, &format!("<p>{problem}")),
    };
    if !is_password(&state, &user, password).await {
        return page(StatusCode::UNAUTHORIZED, &authorize_form(&asked, "Not the name and password of anybody here."));
    }
    let code = Code { user, redirect_uri: asked.redirect_uri, challenge: asked.code_challenge };
    let code = state.grants.lock().code(code, state.clock.monotonic());
    back.query_pairs_mut().append_pair("code", &code).append_pair("state", &asked.state).append_pair("iss", &state.url);
    Redirect::to(back.as_str()).into_response()
}

async fn is_password(state: &Arc<Published>, user: &str, password: String) -> bool {
    // Hashing is made to be slow: two at a time leave the machine its other cores.
    let Ok(_place) = state.hashing.acquire().await else { return false };
    let user: Option<User> = state.users.iter().find(|known| known.name == user).cloned();
    let checking =
        tokio::task::spawn_blocking(move || password.len() <= MAX_PASSWORD && verify(user.as_ref(), &password));
    checking.await.unwrap_or(false)
}

/// A request to the token endpoint: which of these are there depends on the grant.
pub(crate) type Parameters = BTreeMap<String, String>;

pub(crate) async fn token(State(state): State<Arc<Published>>, Form(asked): Form<Parameters>) -> Response {
    let now = state.clock.monotonic();
    let given = |name: &str| asked.get(name).map_or("", String::as_str);
    let granted = match given("grant_type") {
        "authorization_code" => {
            let code = state.grants.lock().take_code(given("code"), now);
            let fits = |code: &Code| {
                code.redirect_uri == given("redirect_uri") && code.challenge == fingerprint(given("code_verifier"))
            };
            code.filter(fits).map(|code| (code.user, None)).ok_or("invalid_grant")
        }
        "refresh_token" => match state.grants.lock().use_refresh(given("refresh_token"), now) {
            Refreshed::Good { user, family } => Ok((user, Some(family))),
            Refreshed::Reused | Refreshed::Unknown => Err("invalid_grant"),
        },
        DEVICE_CODE => match state.grants.lock().poll_device(given("device_code"), now) {
            Polled::Approved(user) => Ok((user, None)),
            Polled::Pending => Err("authorization_pending"),
            Polled::Unknown => Err("expired_token"),
        },
        _ => Err("unsupported_grant_type"),
    };
    let answered = granted.and_then(|(user, family)| tokens(&state, &user, family, given("client_id")));
    match answered {
        Ok(tokens) => ([(header::CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

fn tokens(state: &Published, user: &str, family: Option<u64>, client: &str) -> Result<Value, &'static str> {
    // Who was taken out of the file while signed in gets no more.
    let user = state.users.iter().find(|known| known.name == user).ok_or("invalid_grant")?;
    let now = state.clock.now().as_micros() / 1_000_000;
    let claims = json!({
        "iss": state.url, "aud": state.audience, "sub": user.name, "client_id": client, "iat": now,
        "exp": now + TOKEN_LIFETIME.as_secs() as i64, "jti": uuid::Uuid::new_v4().to_string(), "roles": user.roles,
        "department": user.department, "region": user.region,
    });
    let access = state.newest().sign("at+jwt", &claims).map_err(|_| "server_error")?;
    let refresh = state.grants.lock().refresh(&user.name, family, state.clock.monotonic());
    Ok(json!({
        "access_token": access, "token_type": "Bearer", "expires_in": TOKEN_LIFETIME.as_secs(), "refresh_token": refresh
    }))
}

pub(crate) async fn device_authorization(State(state): State<Arc<Published>>) -> Json<Value> {
    let (device_code, user_code) = state.grants.lock().device(state.clock.monotonic());
    Json(json!({
        "device_code": device_code, "user_code": user_code, "verification_uri": format!("{}/device", state.url),
        "expires_in": DEVICE_LIFETIME.as_secs(), "interval": POLL.as_secs(),
    }))
}

/// The code that a device shows.
#[derive(Debug, Deserialize)]
pub(crate) struct Device {
    #[serde(default)]
    user_code: String,
}

pub(crate) async fn device_page(Query(asked): Query<Device>) -> Response {
    page(StatusCode::OK, &device_form(&asked, ""))
}

pub(crate) async fn device(State(state): State<Arc<Published>>, Form(typed): Form<Typed<Device>>) -> Response {
    let Typed { asked, user, password } = typed;
    if !is_password(&state, &user, password).await {
        return page(StatusCode::UNAUTHORIZED, &device_form(&asked, "Not the name and password of anybody here."));
    }
    if !state.grants.lock().approve(&asked.user_code, &user, state.clock.monotonic()) {
        return page(StatusCode::BAD_REQUEST, &device_form(&asked, "No device shows this code, or not any more."));
    }
    page(StatusCode::OK, "<p>Signed in. You can close this page and go back to the device.")
}

fn authorize_form(asked: &Authorize, problem: &str) -> String {
    let hidden = [
        ("response_type", &asked.response_type),
        ("client_id", &asked.client_id),
        ("redirect_uri", &asked.redirect_uri),
        ("state", &asked.state),
        ("code_challenge", &asked.code_challenge),
        ("code_challenge_method", &asked.code_challenge_method),
    ];
    let hidden = hidden.map(|(name, value)| format!("<input type=hidden name={name} value=\"{}\">", escaped(value)));
    form("/authorize", &hidden.concat(), problem)
}

fn device_form(asked: &Device, problem: &str) -> String {
    let code = escaped(&asked.user_code);
    let field = format!("<p><label>Code on the device <input name=user_code value=\"{code}\" required></label>");
    form("/device", &field, problem)
}

fn form(action: &str, fields: &str, problem: &str) -> String {
    format!(
        "<form method=post action={action}>{fields}<p>{problem}\
         <p><label>Name <input name=user autocomplete=username required></label>\
         <p><label>Password <input name=password type=password autocomplete=current-password required></label>\
         <p><button>Sign in</button></form>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn page(status: StatusCode, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Sign in to Vigil</title><h1>Sign in to Vigil</h1>\
         <p>A demonstration's issuer, on this machine alone.{body}"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, headers, Html(html)).into_response()
}
