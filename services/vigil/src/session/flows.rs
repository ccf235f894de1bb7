//! Ways to a token: a browser on this machine (RFC 8252, with PKCE, RFC 7636), a browser elsewhere (RFC 8628), and renewal.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use axum::extract::{Query, State};
use axum::response::Html;
use axum::routing::get;
use oauth2::basic::{BasicClient, BasicTokenResponse};
use oauth2::{
    AuthUrl, AuthorizationCode, ClientId, CsrfToken, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, HttpRequest, HttpResponse, PkceCodeChallenge, RedirectUrl, RefreshToken, Scope,
    StandardDeviceAuthorizationResponse, TokenResponse, TokenUrl,
};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;
use vigil_base::{Clock, SystemClock};
use vigil_signin::config::check_address;
use vigil_signin::http;

use super::Session;

/// How long somebody has to sign in.
const PATIENCE: Duration = Duration::from_mins(10);
/// Where the issuer sends the browser back to.
const CALLBACK: &str = "/callback";

/// Whom to sign in with, and as what.
pub struct At<'a> {
    /// The issuer's identifier.
    pub issuer: &'a str,
    /// The program's name at the issuer.
    pub client: &'a str,
    /// What is asked for.
    pub scopes: &'a [String],
    /// Who vouches for its server.
    pub ca_file: Option<&'a Path>,
}

/// What the issuer says of itself.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
}

type Client = BasicClient<EndpointMaybeSet, EndpointMaybeSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

struct Issuer {
    client: Client,
    http: reqwest::Client,
}

impl Issuer {
    async fn discover(at: &At<'_>) -> anyhow::Result<Self> {
        let issuer = check_address(at.issuer).map_err(|problem| anyhow!("--issuer {problem}"))?;
        let http = http::client(at.ca_file)?;
        let address = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
        let found: Discovery = http::get(&http, &Url::parse(&address)?).await?;
        anyhow::ensure!(found.issuer == at.issuer, "what answers there is {:?}, not {:?}", found.issuer, at.issuer);
        let endpoint = |text: &str| check_address(text).map_err(|problem| anyhow!("its endpoint {problem}"));
        let authorization = found.authorization_endpoint.as_deref().map(endpoint).transpose()?;
        let device = found.device_authorization_endpoint.as_deref().map(endpoint).transpose()?;
        let client = BasicClient::new(ClientId::new(at.client.to_owned()))
            .set_token_uri(TokenUrl::from_url(endpoint(&found.token_endpoint)?))
            .set_auth_uri_option(authorization.map(AuthUrl::from_url))
            .set_device_authorization_url_option(device.map(DeviceAuthorizationUrl::from_url));
        Ok(Self { client, http })
    }
}

/// Sends what the library asks for.
async fn send(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, reqwest::Error> {
    let response = client.execute(reqwest::Request::try_from(request)?).await?;
    let mut answer = HttpResponse::new(Vec::new());
    (*answer.status_mut(), *answer.headers_mut()) = (response.status(), response.headers().clone());
    *answer.body_mut() = response.bytes().await?.to_vec();
    Ok(answer)
}

fn session(at: &At<'_>, tokens: &BasicTokenResponse, before: Option<&Session>) -> Session {
    let now = SystemClock::new().now();
    let kept = before.and_then(|session| session.refresh_token.clone());
    Session {
        issuer: at.issuer.to_owned(),
        client: at.client.to_owned(),
        ca_file: at.ca_file.map(Path::to_owned),
        access_token: tokens.access_token().secret().clone(),
        refresh_token: tokens.refresh_token().map(|token| token.secret().clone()).or(kept),
        ends_at_us: tokens.expires_in().map(|left| (now + left).as_micros()),
    }
}

/// By a browser on this machine: `open` is given the address that it is to be pointed at.
///
/// # Errors
/// The issuer cannot be asked or refuses, or nobody signs in within ten minutes.
pub async fn by_browser(at: &At<'_>, open: impl FnOnce(&Url) -> anyhow::Result<()>) -> anyhow::Result<Session> {
    let issuer = Issuer::discover(at).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen for the browser to come back")?;
    let back = RedirectUrl::new(format!("http://{}{CALLBACK}", listener.local_addr()?))?;
    let client = issuer.client.set_redirect_uri(back);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let scopes = at.scopes.iter().cloned().map(Scope::new);
    let request = client.authorize_url(CsrfToken::new_random).context("the issuer has no page to sign in on")?;
    let (address, state) = request.add_scopes(scopes).set_pkce_challenge(challenge).url();
    open(&address)?;
    let back = come_back(listener).await?;
    let code = back.code(state.secret(), at.issuer)?;
    let http = issuer.http.clone();
    let exchange = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
    let tokens = exchange.request_async(&|request| send(http.clone(), request)).await;
    Ok(session(at, &tokens.map_err(refused)?, None))
}

/// By a browser anywhere: `show` is given the address and the code that is typed in there.
///
/// # Errors
/// As by browser; or the issuer does not do this.
pub async fn by_device(at: &At<'_>, show: impl FnOnce(&str, &str) -> anyhow::Result<()>) -> anyhow::Result<Session> {
    let Issuer { client, http } = Issuer::discover(at).await?;
    let request = client.exchange_device_code().context("the issuer does not sign in by device")?;
    let asked = request.add_scopes(at.scopes.iter().cloned().map(Scope::new));
    let details = asked.request_async(&|request| send(http.clone(), request)).await;
    let details: StandardDeviceAuthorizationResponse = details.map_err(refused)?;
    show(details.verification_uri().as_str(), details.user_code().secret())?;
    let exchange = client.exchange_device_access_token(&details);
    let tokens =
        exchange.request_async(&|request| send(http.clone(), request), tokio::time::sleep, Some(PATIENCE)).await;
    Ok(session(at, &tokens.map_err(refused)?, None))
}

/// A new access token for a session.
///
/// # Errors
/// The session has no refresh token, or the issuer does not take it.
pub async fn renew(before: &Session) -> anyhow::Result<Session> {
    let token = before.refresh_token.clone().context("the issuer gave nothing to renew it with")?;
    let at = At { issuer: &before.issuer, client: &before.client, scopes: &[], ca_file: before.ca_file.as_deref() };
    let Issuer { client, http } = Issuer::discover(&at).await?;
    let token = RefreshToken::new(token);
    let tokens = client.exchange_refresh_token(&token).request_async(&|request| send(http.clone(), request)).await;
    Ok(session(&at, &tokens.map_err(refused)?, Some(before)))
}

/// What an issuer says against it, without tokens.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::Error::new(error).context("the issuer gives no token")
}

/// With what the browser comes back.
#[derive(Debug, Deserialize)]
struct Back {
    code: Option<String>,
    state: Option<String>,
    /// Who sent it (RFC 9207).
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Back {
    fn code(self, state: &str, issuer: &str) -> anyhow::Result<String> {
        anyhow::ensure!(self.state.as_deref() == Some(state), "what came back does not belong to this sign-in");
        anyhow::ensure!(self.iss.is_none_or(|iss| iss == issuer), "what came back is from another issuer");
        if let Some(error) = self.error {
            let detail = self.error_description.map(|text| format!(": {text}")).unwrap_or_default();
            anyhow::bail!("the issuer refused: {error}{detail}");
        }
        self.code.context("the browser came back without a code")
    }
}

async fn come_back(listener: TcpListener) -> anyhow::Result<Back> {
    // One comes; a browser that loads the page again finds no room and is told the same.
    let (sender, mut receiver) = mpsc::channel(1);
    let app = Router::new().route(CALLBACK, get(arrive)).with_state(sender);
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let came = tokio::time::timeout(PATIENCE, receiver.recv()).await;
    // What the browser is shown goes out before the server ends.
    tokio::task::yield_now().await;
    server.abort();
    came.context("nobody signed in within ten minutes")?.context("the browser did not come back")
}

async fn arrive(State(sender): State<mpsc::Sender<Back>>, Query(back): Query<Back>) -> Html<&'static str> {
    let _ = sender.try_send(back);
    Html("<!doctype html><title>Vigil</title><p>You can close this page and go back to the command line.")
}
