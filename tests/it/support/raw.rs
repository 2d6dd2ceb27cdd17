//! A client that speaks AMQP by the byte, for messages that no other would send, or could read.

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::Scene;

/// A header table of one header `x`, a long string of two bytes that are no UTF-8. The broker takes it; the daemon's
/// client cannot parse it, and its connection dies each time.
pub const UNPARSABLE: &[u8] = b"\x01xS\0\0\0\x02\xff\xfe";

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Publishes one message whose header table holds exactly these bytes, and awaits that the broker has taken it.
pub async fn publish_with_headers(scene: &Scene, table: &[u8], body: &[u8]) -> Result<()> {
    publish_to_with_headers(scene, &scene.exchange(), table, body).await
}

/// The same to another exchange.
pub async fn publish_to_with_headers(
    scene: &Scene,
    exchange: &str,
    table: &[u8],
    body: &[u8],
) -> Result<()> {
    let mut stream = open(scene).await?;
    ask(&mut stream, 1, &[0, 85, 0, 10, 0]).await?;

    let publish =
        [&[0, 60, 0, 40, 0, 0][..], &short(exchange), &short("odd.headers"), &[0]].concat();
    stream.write_all(&frame(METHOD, 1, &publish)).await?;
    // Two properties: the headers, and a delivery mode of 2.
    let flags = 0b0011_0000_0000_0000_u16.to_be_bytes();
    let size = u64::try_from(body.len())?.to_be_bytes();
    let header = [&[0, 60, 0, 0][..], &size, &flags, &long(table), &[2]].concat();
    stream.write_all(&frame(HEADER, 1, &header)).await?;
    stream.write_all(&frame(BODY, 1, body)).await?;
    let confirm = answer(&mut stream).await?;
    ensure!(confirm.starts_with(&[0, 60, 0, 80]), "no confirm but {confirm:?}");
    Ok(())
}

/// Takes every message that waits in a queue out of it, whatever its headers; their bodies, in order.
pub async fn drain(scene: &Scene, queue: &str) -> Result<Vec<Vec<u8>>> {
    const GET_OK: &[u8] = &[0, 60, 0, 71];
    const GET_EMPTY: &[u8] = &[0, 60, 0, 72];
    let mut stream = open(scene).await?;
    // To be acknowledged by nobody.
    let get = [&[0, 60, 0, 70, 0, 0][..], &short(queue), &[1]].concat();
    let mut bodies = Vec::new();
    loop {
        let got = ask(&mut stream, 1, &get).await?;
        if got.starts_with(GET_EMPTY) {
            return Ok(bodies);
        }
        ensure!(got.starts_with(GET_OK), "neither a message nor none but {got:?}");
        let header = answer(&mut stream).await?;
        let size = usize::try_from(u64::from_be_bytes(header[4..12].try_into()?))?;
        let mut body = Vec::with_capacity(size);
        while body.len() < size {
            let part = answer(&mut stream).await?;
            body.extend(&part[..part.len() - 1]);
        }
        bodies.push(body);
    }
}

/// A connection with channel 1 open.
async fn open(scene: &Scene) -> Result<TcpStream> {
    let address = scene.address()?;
    let mut stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.write_all(b"AMQP\0\0\x09\x01").await?;
    answer(&mut stream).await?;
    let login = format!("\0{}\0{}", address.user, address.password);
    let start_ok = [
        &[0, 10, 0, 11][..],
        &long(b""),
        &short("PLAIN"),
        &long(login.as_bytes()),
        &short("en_US"),
    ]
    .concat();
    stream.write_all(&frame(METHOD, 0, &start_ok)).await?;
    answer(&mut stream).await?;
    stream.write_all(&frame(METHOD, 0, &[0, 10, 0, 31, 7, 255, 0, 2, 0, 0, 0, 0])).await?;
    ask(&mut stream, 0, &[&[0, 10, 0, 40][..], &short(&address.vhost), &[0, 0]].concat()).await?;
    ask(&mut stream, 1, &[0, 20, 0, 10, 0]).await?;
    Ok(stream)
}

async fn ask(stream: &mut TcpStream, channel: u16, method: &[u8]) -> Result<Vec<u8>> {
    stream.write_all(&frame(METHOD, channel, method)).await?;
    answer(stream).await
}

async fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    let mut payload = vec![0; usize::try_from(length)? + 1];
    stream.read_exact(&mut payload).await?;
    Ok(payload)
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[kind][..], &channel.to_be_bytes(), &length, payload, &[0xCE]].concat()
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}
