//! The faults that the proxy makes, each as the two ends see it.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use testbed::{Direction, Mode, Proxy, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Long enough for loopback to have delivered what it would.
const SILENCE: Duration = Duration::from_millis(150);

struct Pair {
    listener: TcpListener,
    proxy: Proxy,
}

impl Pair {
    async fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().port()).await.unwrap();
        Self { listener, proxy }
    }

    async fn client(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.proxy.port())).await
    }

    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await.unwrap();
        (client, self.listener.accept().await.unwrap().0)
    }
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"word").await.unwrap();
    let mut word = [0; 4];
    timeout(Duration::from_secs(5), to.read_exact(&mut word)).await.unwrap().unwrap();
    assert_eq!(&word, b"word");
}

async fn silent(end: &mut TcpStream) {
    assert!(timeout(SILENCE, end.read(&mut [0; 16])).await.is_err(), "something arrived");
}

async fn is_reset(end: &mut TcpStream) {
    let error = timeout(Duration::from_secs(5), end.read(&mut [0; 16])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn forwards_both_ways_and_closes_each_way_alone() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    passes(&mut server, &mut client).await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    passes(&mut server, &mut client).await;
    let statistics = pair.proxy.statistics();
    assert_eq!((statistics.accepted, statistics.live), (1, 1));
    assert_eq!((statistics.to_server, statistics.to_client), (4, 8));
    drop((client, server));
    eventually("the connection is forgotten", Duration::from_secs(5), async || {
        match pair.proxy.statistics().live {
            0 => Ok(()),
            live => Err(live),
        }
    })
    .await
    .unwrap();
    assert_eq!(pair.proxy.statistics().cuts, 0);
}

#[tokio::test]
async fn delays_each_chunk() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    pair.proxy.set(Mode::Delay(Duration::from_millis(100))).await;
    let sent = Instant::now();
    passes(&mut client, &mut server).await;
    assert!(sent.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn stalls_live_and_new_connections_and_loses_nothing() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    pair.proxy.set(Mode::Stall).await;
    client.write_all(b"word").await.unwrap();
    silent(&mut server).await;
    let mut late = pair.client().await.unwrap();
    late.write_all(b"late").await.unwrap();
    assert!(timeout(SILENCE, pair.listener.accept()).await.is_err());

    pair.proxy.set(Mode::StallTowards(Direction::ToClient)).await;
    let mut word = [0; 4];
    server.read_exact(&mut word).await.unwrap();
    server.write_all(b"back").await.unwrap();
    silent(&mut client).await;

    pair.proxy.set(Mode::Forward).await;
    client.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"back");
    let (mut server, _) = pair.listener.accept().await.unwrap();
    server.read_exact(&mut word).await.unwrap();
    assert_eq!(&word, b"late");
}

#[tokio::test]
async fn cuts_with_a_reset_to_both_sides() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    pair.proxy.cut().await;
    assert_eq!(pair.proxy.statistics().live, 0);
    is_reset(&mut client).await;
    is_reset(&mut server).await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    assert_eq!(pair.proxy.statistics().cuts, 1);
}

#[tokio::test]
async fn cuts_after_so_many_bytes_or_at_a_word() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    pair.proxy.cut_after(Direction::ToServer, 6);
    passes(&mut client, &mut server).await;
    client.write_all(b"word").await.unwrap();
    let mut rest = Vec::new();
    server.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"wo");
    is_reset(&mut client).await;
    assert!(!pair.proxy.is_armed());

    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    pair.proxy.cut_when_seen(Direction::ToServer, "COMMIT");
    client.write_all(b"..COM").await.unwrap();
    let mut text = [0; 5];
    server.read_exact(&mut text).await.unwrap();
    client.write_all(b"MIT..").await.unwrap();
    server.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"MIT..");
    is_reset(&mut client).await;

    let (mut client, mut server) = pair.connect().await;
    pair.proxy.cut_after(Direction::ToClient, 0);
    passes(&mut client, &mut server).await;
    server.write_all(b"answer").await.unwrap();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0, "the answer is lost");
    is_reset(&mut server).await;
}

#[tokio::test]
async fn refuses_new_connections_and_keeps_its_port() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    pair.proxy.set(Mode::Refuse).await;
    assert_eq!(pair.client().await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    passes(&mut client, &mut server).await;
    pair.proxy.set(Mode::Forward).await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn leaves_clients_half_open_until_the_server_is_back() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    pair.proxy.set(Mode::HalfOpen).await;
    is_reset(&mut server).await;
    client.write_all(b"into the void").await.unwrap();
    silent(&mut client).await;
    let mut late = pair.client().await.unwrap();
    silent(&mut late).await;
    pair.proxy.set(Mode::Forward).await;
    is_reset(&mut client).await;
    is_reset(&mut late).await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn dropped_it_takes_its_connections_along() {
    let pair = Pair::new().await;
    let (mut client, mut server) = pair.connect().await;
    passes(&mut client, &mut server).await;
    drop(pair.proxy);
    for end in [&mut client, &mut server] {
        let end = timeout(Duration::from_secs(5), end.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)));
    }
}
