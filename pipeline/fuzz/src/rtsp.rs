//! A hostile camera: what it describes (SDP) and what it sends (RTP and RTCP, interleaved with RTSP), through the client that all
//! cameras over TCP go through, over a real socket.
//!
//! An input is the media part of the description, a zero byte, and what is sent: records of a byte of flags, the length of the
//! payload (two bytes, big-endian) and the payload. RTP headers are made here, so that damage reaches the depacketiser.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use vigil_base::{Codec, SystemClock};
use vigil_camera::{CameraSource, Opener, PacketStream, RtspOpener, StreamEvent};

use crate::packets;

/// The picture ends with this packet (RFC 3550, section 5.1).
const MARKER: u8 = 1;
/// A packet is missing before this one.
const LOSS: u8 = 2;
/// It goes on the channel of control packets.
const CONTROL: u8 = 4;
/// The record is sent as it is, without RTP's header.
const RAW: u8 = 8;
/// A client that neither gives a picture nor an end for so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(20);
/// Largest payload of a seed's packet, as on a common network.
const PAYLOAD: usize = 1_200;
/// Of the video, as the seeds describe it (the first dynamic one).
const PAYLOAD_TYPE: u8 = 0x60;
/// Types of fragments: 28 of H.264, 49 of H.265.
const FU_A: u8 = 0x1c;
const FRAGMENT: u8 = 0x31;
/// Ticks of 90 kHz between two pictures.
const TICKS: u32 = 9_000;

/// Lets a camera describe and send `data`.
pub(crate) fn feed(data: &[u8]) {
    receive(data);
}

/// Returns how many access units came.
fn receive(data: &[u8]) -> usize {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (media, sent) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the machine has a free port");
    let address = listener.local_addr().expect("it is bound");
    let source = CameraSource::new(format!("rtsp://{address}/fuzzed").parse().expect("it is an address"));
    let source = source.resolve().expect("it needs no file");
    std::thread::scope(|scope| {
        let camera = || {
            if let Ok((connection, _)) = listener.accept() {
                // The client may go at any time.
                let _ = serve(&connection, media, sent);
            }
        };
        std::thread::Builder::new().name("camera".to_owned()).spawn_scoped(scope, camera).expect("a thread");
        let opener = RtspOpener::new().expect("GStreamer is installed");
        let mut stream = opener.open(&source, &SystemClock::shared()).expect("its answer comes with the first event");
        take_all(&mut *stream)
    })
}

fn take_all(stream: &mut dyn PacketStream) -> usize {
    let mut count = 0;
    loop {
        match stream.next(HANGS_AFTER) {
            Ok(Some(StreamEvent::Packet(packet))) => {
                assert!(!packet.data.is_empty(), "an access unit without a byte");
                count += 1;
            }
            Ok(Some(StreamEvent::Format(_) | StreamEvent::Overflow { .. })) => {}
            Ok(None) => panic!("the camera has gone, and the client did not notice"),
            Err(reason) => {
                assert!(!reason.to_string().is_empty());
                return count;
            }
        }
    }
}

/// Answers requests until one asks to play; then sends, and is gone.
fn serve(mut connection: &TcpStream, media: &[u8], sent: &[u8]) -> std::io::Result<()> {
    // Else each answer waits for the acknowledgement of the one before.
    connection.set_nodelay(true)?;
    let mut lines = BufReader::new(connection).lines();
    loop {
        let mut head = Vec::new();
        for line in lines.by_ref() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let Some(request) = head.first() else { return Ok(()) };
        let number = head.iter().find_map(|line| line.strip_prefix("CSeq: ")).unwrap_or("0");
        write!(connection, "RTSP/1.0 200 OK\r\nCSeq: {number}\r\n")?;
        match request.split(' ').next() {
            Some("DESCRIBE") => describe(connection, media)?,
            Some("SETUP") => connection
                .write_all(b"Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000001\r\n\r\n")?,
            Some("PLAY") => {
                connection.write_all(b"Session: 1\r\n\r\n")?;
                return connection.write_all(&interleave(sent));
            }
            _ => connection.write_all(b"Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n\r\n")?,
        }
    }
}

fn describe(mut connection: &TcpStream, media: &[u8]) -> std::io::Result<()> {
    let mut description = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n".to_vec();
    description.extend_from_slice(media);
    write!(connection, "Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", description.len())?;
    connection.write_all(&description)
}

/// Records as they go over the line (RFC 2326, section 10.12).
fn interleave(mut records: &[u8]) -> Vec<u8> {
    let (mut line, mut sequence, mut time) = (Vec::new(), 0u16, 0u32);
    while let [flags, high, low, rest @ ..] = records {
        let len = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (payload, following) = rest.split_at(len);
        records = following;
        sequence = sequence.wrapping_add(if flags & LOSS == 0 { 1 } else { 2 });
        let mut packet = Vec::with_capacity(len + 12);
        if flags & (CONTROL | RAW) == 0 {
            packet.extend([0x80, PAYLOAD_TYPE | (flags & MARKER) << 7]);
            packet.extend(sequence.to_be_bytes());
            packet.extend(time.to_be_bytes());
            packet.extend(1u32.to_be_bytes());
        }
        packet.extend_from_slice(payload);
        packet.truncate(usize::from(u16::MAX));
        line.extend([b'$', u8::from(flags & CONTROL != 0)]);
        line.extend((packet.len() as u16).to_be_bytes());
        line.extend(packet);
        time = time.wrapping_add(if flags & MARKER == 0 { 0 } else { TICKS });
    }
    line
}

/// The streams of [`packets::seeds`], sent as cameras send them, each with a sender report.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    packets::seeds()
        .iter()
        .map(|stream| seed(&stream[1..], if stream[0] == 0 { Codec::H264 } else { Codec::H265 }))
        .collect()
}

fn seed(stream: &[u8], codec: Codec) -> Vec<u8> {
    let name = match codec {
        Codec::H264 => "H264",
        Codec::H265 => "H265",
    };
    let media = format!("m=video 0 RTP/AVP 96\r\na=rtpmap:96 {name}/90000\r\na=control:track1\r\n");
    let mut seed = media.into_bytes();
    seed.push(0);
    record(&mut seed, CONTROL, &SENDER_REPORT);
    for (unit, ends_picture) in packets::nal_units(stream, codec) {
        packetise(&mut seed, unit, codec, ends_picture);
    }
    seed
}

/// Of source 1: NTP time, RTP time 0, no packets yet (RFC 3550, section 6.4.1).
const SENDER_REPORT: [u8; 28] =
    [0x80, 200, 0, 6, 0, 0, 0, 1, 0xe9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn record(seed: &mut Vec<u8>, flags: u8, payload: &[u8]) {
    seed.push(flags);
    seed.extend((payload.len() as u16).to_be_bytes());
    seed.extend_from_slice(payload);
}

/// A NAL unit in one packet, or in fragments (RFC 6184, section 5.8; RFC 7798, section 4.4.3).
fn packetise(seed: &mut Vec<u8>, unit: &[u8], codec: Codec, ends_picture: bool) {
    let marker = |is_last: bool| u8::from(is_last && ends_picture) * MARKER;
    if unit.len() <= PAYLOAD {
        return record(seed, marker(true), unit);
    }
    let (header, kind) = match codec {
        Codec::H264 => (vec![unit[0] & 0xe0 | FU_A], unit[0] & 0x1f),
        Codec::H265 => (vec![unit[0] & 0x81 | FRAGMENT << 1, unit[1]], unit[0] >> 1 & 0x3f),
    };
    let body = &unit[header.len()..];
    let last = body.len().div_ceil(PAYLOAD) - 1;
    for (n, part) in body.chunks(PAYLOAD).enumerate() {
        let bits = u8::from(n == 0) << 7 | u8::from(n == last) << 6;
        record(seed, marker(n == last), &[&header[..], &[bits | kind], part].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_good_cameras_all_of_whose_pictures_come() {
        let counts: Vec<_> = seeds().iter().map(|seed| receive(seed)).collect();
        assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
    }
}
