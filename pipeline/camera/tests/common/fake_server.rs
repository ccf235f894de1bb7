//! RTSP servers that no real one would be: for what cameras get wrong before the first packet.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// What it does with a connection.
#[derive(Debug, Clone)]
pub enum Manners {
    /// Takes connections and never says a word.
    Silent,
    /// Answers every request with these bytes.
    Says(&'static [u8]),
    /// Describes a stream with these media sections (SDP).
    Describes(&'static str),
}

/// Serves until dropped.
pub struct FakeServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeServer {
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = named_thread(move || {
            // Silent connections stay open as long as the server.
            let mut open = Vec::new();
            while let Ok((connection, _)) = listener.accept() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let manners = manners.clone();
                open.extend(connection.try_clone());
                named_thread(move || answer(&connection, &manners));
            }
        });
        Self { address, stop, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}/stream", self.address)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread, which waits for a connection.
        let _ = TcpStream::connect(self.address);
        self.thread.take().map(JoinHandle::join);
    }
}

fn named_thread(run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name("fake-rtsp".to_owned()).spawn(run).expect("a thread")
}

/// Until the client goes, or sends what it should not.
fn answer(mut connection: &TcpStream, manners: &Manners) {
    let mut requests = BufReader::new(connection).lines();
    loop {
        let head: Vec<_> = requests.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let number = head.iter().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0");
        let reply = match manners {
            Manners::Silent => continue,
            Manners::Says(bytes) => bytes.to_vec(),
            Manners::Describes(media) if request.starts_with("DESCRIBE") => {
                let sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n{media}");
                let length = sdp.len();
                format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}")
                    .into_bytes()
            }
            Manners::Describes(_) => {
                format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n")
                    .into_bytes()
            }
        };
        if connection.write_all(&reply).is_err() {
            return;
        }
    }
}
