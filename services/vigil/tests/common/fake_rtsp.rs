//! An RTSP server that describes a stream nobody can use.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Describes one stream with the media section `media` (SDP, RFC 4566) to everybody, until the test's process ends.
pub fn describes(media: &'static str) -> SocketAddr {
    serve(Some(media))
}

/// Takes connections and never says a word.
pub fn silent() -> SocketAddr {
    serve(None)
}

fn serve(media: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let named = || std::thread::Builder::new().name("fake-rtsp".into());
    let accept = move || {
        for connection in listener.incoming().map_while(Result::ok) {
            named().spawn(move || answer(&connection, media)).unwrap();
        }
    };
    named().spawn(accept).unwrap();
    address
}

/// Until the client goes.
fn answer(mut connection: &TcpStream, media: Option<&str>) {
    let mut lines = BufReader::new(connection).lines();
    loop {
        let head: Vec<_> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        let Some(request) = head.first() else { return };
        let Some(media) = media else { continue };
        let number = head.iter().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0");
        let reply = if request.starts_with("DESCRIBE") {
            let sdp = format!("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n{media}");
            let length = sdp.len();
            format!(
                "RTSP/1.0 200 OK\r\nCSeq: {number}\r\nContent-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
            )
        } else {
            format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n")
        };
        if connection.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}
