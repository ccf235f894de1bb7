//! One async function around all calls of a server: what the door and the audit log have in common.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use http::Request;
use tower_service::Service;

/// What is done around a call.
pub trait Around: Clone + Send + Sync + 'static {
    /// Answers a request, by what is inside or instead of it.
    fn serve<S: Inside>(&self, inside: S, request: Request<Body>) -> impl Future<Output = Response> + Send;
}

/// Services that are ready to be called.
pub trait Inside:
    Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

impl<S> Inside for S where
    S: Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static
{
}

/// A service with something around it.
#[derive(Debug, Clone)]
pub struct Surrounded<S, A> {
    pub(crate) inside: S,
    pub(crate) around: A,
}

impl<S: Inside, A: Around> Service<Request<Body>> for Surrounded<S, A> {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inside.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready, not its clone (tower's rule).
        let fresh = self.inside.clone();
        let inside = std::mem::replace(&mut self.inside, fresh);
        let around = self.around.clone();
        Box::pin(async move { Ok(around.serve(inside, request).await) })
    }
}
