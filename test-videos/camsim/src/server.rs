//! The RTSP server around the mounts: listening, passwords, pipelines, who plays what.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use gstreamer_rtsp::{RTSPAuthMethod, RTSPLowerTrans, RTSPStatusCode};
use gstreamer_rtsp_server as rtsp;
use gstreamer_rtsp_server::prelude::*;
use parking_lot::{Condvar, Mutex};
use vigil_base::Codec;

use crate::config::Credentials;
use crate::error::SimError;
use crate::mount::Mount;

/// Everybody who knows the password may do everything.
const ROLE: &str = "viewer";
/// A quiet tone in G.711 (A-law), payload type 8 (RFC 3551).
const SOUND: &str = "audiotestsrc is-live=true volume=0.01 ! alawenc ! rtppcmapay name=pay1 pt=8";
/// How often sessions are looked through for clients that vanished.
const SESSION_CLEANUP: Duration = Duration::from_secs(2);
/// How long closing waits for clients to be gone; they are told at once, so this passes only when one hangs.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// A listening server and its main loop's thread.
pub(crate) struct Server {
    inner: Arc<Inner>,
    main_loop: glib::MainLoop,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    server: rtsp::RTSPServer,
    context: glib::MainContext,
    mounts: Vec<Arc<Mount>>,
    listening: Mutex<Option<glib::SourceId>>,
    clients: Mutex<Vec<Client>>,
    client_gone: Condvar,
}

/// A connection and the mounts it plays.
struct Client {
    connection: rtsp::RTSPClient,
    /// Where it is served, known from its first request on. It must be closed there: closed from another thread while it
    /// reads, it would read for ever.
    context: Option<glib::MainContext>,
    plays: Vec<usize>,
}

impl Server {
    pub fn start(
        listen: SocketAddr,
        credentials: Option<&Credentials>,
        mounts: Vec<Arc<Mount>>,
    ) -> Result<Self, SimError> {
        let context = glib::MainContext::new();
        let server = rtsp::RTSPServer::new();
        server.set_address(&listen.ip().to_string());
        server.set_service(&listen.port().to_string());
        // A thread per client: one that waits for a frozen mount keeps nobody else waiting.
        server.thread_pool().inspect(|pool| pool.set_max_threads(-1));
        server.set_auth(credentials.map(authentication).as_ref());
        let paths = server.mount_points().expect("a new server has mount points");
        for mount in &mounts {
            paths.add_factory(&format!("/{}", mount.config.name), factory(mount, credentials.is_some()));
        }
        let inner = Arc::new(Inner {
            server,
            context,
            mounts,
            listening: Mutex::new(None),
            clients: Mutex::new(Vec::new()),
            client_gone: Condvar::new(),
        });
        inner.follow_clients();
        inner.listen().map_err(|source| SimError::Listen { listen, source })?;
        // A restart after being off the network comes back on the same port, also where any free one was asked for.
        inner.server.set_service(&inner.server.bound_port().to_string());
        let (main_loop, thread) = inner.run()?;
        Ok(Self { inner, main_loop, thread: Some(thread) })
    }

    pub fn port(&self) -> u16 {
        u16::try_from(self.inner.server.bound_port()).unwrap_or(0)
    }

    /// Closes the connections that play `mount`, or all.
    pub fn close(&self, mount: Option<usize>) {
        self.inner.close(mount);
    }

    /// Closes everything and does not listen for so long.
    pub fn go_offline(&self, lasts: Duration) {
        self.inner.unlisten();
        self.inner.close(None);
        let weak = Arc::downgrade(&self.inner);
        let back = glib::timeout_source_new(lasts, Some("vigil-back-online"), glib::Priority::DEFAULT, move || {
            if let Some(inner) = weak.upgrade()
                && let Err(error) = inner.listen()
            {
                tracing::error!(%error, "cannot listen again");
            }
            glib::ControlFlow::Break
        });
        back.attach(Some(&self.inner.context));
    }

    /// Sends everybody away, stops to listen and ends the thread.
    pub fn shut_down(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.inner.unlisten();
        self.inner.close(None);
        self.inner.wait_for_clients_to_go();
        // From within the loop: a loop that has not begun to run would not remember that it was told to quit.
        let main_loop = self.main_loop.clone();
        run_once_in(&self.inner.context, move || main_loop.quit());
        if thread.join().is_err() {
            tracing::error!("the RTSP server's thread panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Inner {
    fn listen(&self) -> Result<(), glib::BoolError> {
        let mut listening = self.listening.lock();
        if listening.is_none() {
            *listening = Some(self.server.attach(Some(&self.context))?);
        }
        Ok(())
    }

    fn unlisten(&self) {
        let source = self.listening.lock().take().and_then(|id| self.context.find_source_by_id(&id));
        source.inspect(glib::Source::destroy);
    }

    fn run(&self) -> Result<(glib::MainLoop, JoinHandle<()>), SimError> {
        if let Some(pool) = self.server.session_pool() {
            let cleanup = glib::timeout_source_new(SESSION_CLEANUP, None, glib::Priority::DEFAULT, move || {
                pool.cleanup();
                glib::ControlFlow::Continue
            });
            cleanup.attach(Some(&self.context));
        }
        let main_loop = glib::MainLoop::new(Some(&self.context), false);
        let (running, context) = (main_loop.clone(), self.context.clone());
        let name = "vigil-camsim".to_owned();
        let thread = std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                // Fails only when another thread owns the context; nobody else knows it.
                let _ = context.with_thread_default(|| running.run());
            })
            .map_err(|source| SimError::Thread { name, source })?;
        Ok((main_loop, thread))
    }

    fn follow_clients(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        self.server.connect_client_connected(move |_, client| {
            if let Some(inner) = weak.upgrade() {
                inner.clients.lock().push(Client { connection: client.clone(), context: None, plays: Vec::new() });
                inner.follow(client);
            }
        });
    }

    fn follow(self: &Arc<Self>, client: &rtsp::RTSPClient) {
        let refusing = |weak: Weak<Self>| {
            move |client: &rtsp::RTSPClient, request: &rtsp::RTSPContext| {
                let Some(inner) = weak.upgrade() else { return RTSPStatusCode::Ok };
                inner.note_context(client);
                let refused = inner.mount_of(request).is_some_and(|mount| inner.mounts[mount].refuses());
                if refused { RTSPStatusCode::ServiceUnavailable } else { RTSPStatusCode::Ok }
            }
        };
        let weak = Arc::downgrade(self);
        // Refused only later: the server library crashes when a handler of this one refuses.
        client.connect_pre_options_request(move |client, _| {
            weak.upgrade().inspect(|inner| inner.note_context(client));
            RTSPStatusCode::Ok
        });
        client.connect_pre_describe_request(refusing(Arc::downgrade(self)));
        client.connect_pre_setup_request(refusing(Arc::downgrade(self)));
        let weak = Arc::downgrade(self);
        client.connect_play_request(move |client, request| {
            if let Some(inner) = weak.upgrade()
                && let Some(mount) = inner.mount_of(request)
            {
                inner.began(client, mount);
            }
        });
        let weak = Arc::downgrade(self);
        client.connect_closed(move |client| {
            if let Some(inner) = weak.upgrade() {
                inner.gone(client);
            }
        });
    }

    /// Which mount a request is for: the first part of its path.
    fn mount_of(&self, request: &rtsp::RTSPContext) -> Option<usize> {
        let path = request.uri()?.decode_path_components();
        let name = path.iter().find(|part| !part.is_empty())?;
        self.mounts.iter().position(|mount| mount.config.name == name.as_str())
    }

    /// To be called from a handler of the client's signals: they run where the client is served.
    fn note_context(&self, client: &rtsp::RTSPClient) {
        let context = glib::main_current_source().and_then(|source| source.context());
        if let Some(known) = self.clients.lock().iter_mut().find(|known| known.connection == *client) {
            known.context = context;
        }
    }

    fn began(&self, client: &rtsp::RTSPClient, mount: usize) {
        let mut clients = self.clients.lock();
        if let Some(known) = clients.iter_mut().find(|known| known.connection == *client)
            && !known.plays.contains(&mount)
        {
            known.plays.push(mount);
            self.mounts[mount].client_began();
        }
    }

    fn gone(&self, client: &rtsp::RTSPClient) {
        let mut clients = self.clients.lock();
        if let Some(at) = clients.iter().position(|known| known.connection == *client) {
            for mount in clients.swap_remove(at).plays {
                self.mounts[mount].client_ended();
            }
        }
        self.client_gone.notify_all();
    }

    /// Closing tells `gone`, which takes the lock: the list is let go first.
    fn close(&self, mount: Option<usize>) {
        let chosen: Vec<_> = {
            let clients = self.clients.lock();
            let plays = |client: &&Client| mount.is_none_or(|mount| client.plays.contains(&mount));
            clients.iter().filter(plays).map(|client| (client.connection.clone(), client.context.clone())).collect()
        };
        for (connection, context) in chosen {
            match context {
                Some(context) => run_once_in(&context, move || connection.close()),
                None => connection.close(),
            }
        }
    }

    fn wait_for_clients_to_go(&self) {
        let mut clients = self.clients.lock();
        while !clients.is_empty() {
            if self.client_gone.wait_for(&mut clients, CLOSE_PATIENCE).timed_out() {
                tracing::warn!(clients = clients.len(), "clients are still there when the simulator stops");
                return;
            }
        }
    }
}

fn run_once_in(context: &glib::MainContext, run: impl Fn() + Send + 'static) {
    let source = glib::idle_source_new(None, glib::Priority::DEFAULT, move || {
        run();
        glib::ControlFlow::Break
    });
    source.attach(Some(context));
}

fn authentication(credentials: &Credentials) -> rtsp::RTSPAuth {
    let auth = rtsp::RTSPAuth::new();
    let token = rtsp::RTSPToken::builder().field("media.factory.role", ROLE).build();
    let (user, password) = (credentials.user.as_str(), credentials.password.reveal());
    auth.set_supported_methods(RTSPAuthMethod::Digest);
    auth.add_digest(user, password, &token);
    auth.add_basic(&rtsp::RTSPAuth::make_basic(user, password), &token);
    auth
}

fn factory(mount: &Arc<Mount>, protected: bool) -> rtsp::RTSPMediaFactory {
    let factory = rtsp::RTSPMediaFactory::new();
    let (caps, payloader) = match mount.config.codec {
        Codec::H264 => ("video/x-h264", "rtph264pay"),
        Codec::H265 => ("video/x-h265", "rtph265pay"),
    };
    let sound = if mount.config.sound { SOUND } else { "" };
    factory.set_launch(&format!(
        "( appsrc name=frames is-live=true format=time caps={caps},stream-format=byte-stream,alignment=au ! \
         {payloader} name=pay0 pt=96 config-interval=0 {sound} )"
    ));
    factory.set_shared(true);
    factory.set_protocols(RTSPLowerTrans::TCP | RTSPLowerTrans::UDP);
    if protected {
        let rights = gst::Structure::builder(ROLE)
            .field("media.factory.access", true)
            .field("media.factory.construct", true)
            .build();
        factory.add_role_from_structure(&rights);
    }
    let weak = Arc::downgrade(mount);
    factory.connect_media_configure(move |_, media| {
        if let Some(mount) = weak.upgrade() {
            configure(media, &mount);
        }
    });
    factory
}

/// Joins a new pipeline to its mount, for as long as it lives.
fn configure(media: &rtsp::RTSPMedia, mount: &Arc<Mount>) {
    let element = media.element();
    let Some(source) = element.downcast_ref::<gst::Bin>().and_then(|bin| bin.by_name("frames")) else { return };
    let source = source.downcast::<AppSrc>().expect("the description says appsrc");
    if let Some(pipeline) = element.parent().and_downcast::<gst::Bin>() {
        follow_packets(&pipeline, mount);
    }
    mount.open(source.clone());
    let (weak, source) = (Arc::downgrade(mount), source.downgrade());
    media.connect_unprepared(move |_| {
        if let (Some(mount), Some(source)) = (weak.upgrade(), source.upgrade()) {
            mount.close(&source);
        }
    });
}

/// The server adds an rtpbin when the first client comes; what leaves it is on the wire.
fn follow_packets(pipeline: &gst::Bin, mount: &Arc<Mount>) {
    let (wire, reports) = (Arc::clone(&mount.wire), mount.config.sender_reports);
    pipeline.connect_element_added(move |_, element| {
        let Some(rtpbin) = element.downcast_ref::<gst::Bin>().filter(|_| is_a(element, "rtpbin")) else { return };
        let wire = Arc::clone(&wire);
        rtpbin.connect_pad_added(move |_, pad| {
            if pad.name().starts_with("send_rtp_src") || pad.name().starts_with("send_rtcp_src") {
                wire.watch(pad);
            }
        });
        rtpbin.connect_element_added(move |_, element| {
            if let Some(interval) = reports.filter(|_| is_a(element, "rtpsession")) {
                set_report_interval(element, interval);
            }
        });
    });
}

fn is_a(element: &gst::Element, factory: &str) -> bool {
    element.factory().is_some_and(|made_by| made_by.name() == factory)
}

/// The first report comes within half of `interval`, each further one about `interval` later.
fn set_report_interval(rtpsession: &gst::Element, interval: Duration) {
    if let Some(session) = rtpsession.property::<Option<glib::Object>>("internal-session") {
        session.set_property("rtcp-min-interval", u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX));
    }
}
