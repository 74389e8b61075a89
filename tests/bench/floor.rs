//! The floor: what tiny_http and ureq cost by themselves.
//!
//! A pool of threads takes requests from tiny_http and forwards them with ureq, to one endpoint after the other. It
//! checks nothing, fails over nowhere, counts and logs nothing, and must not meet strangers: it is only there to be
//! measured beside the balancer, whose shape it has.

use std::fs;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tiny_http::{Header, Request, Response, Server};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::Failure;
use crate::params::Params;

/// As the balancer's threads have.
const STACK: usize = 256 << 10;
/// ureq's buffers: with its usual 128 KiB a stream would take 344 KiB.
const BUFFER: usize = 8 << 10;

/// `port`, `workers`, `endpoints` (ports, a comma between two) and, where these are behind TLS, `authority`: the file of who vouches
/// for them. Runs until it is ended.
pub fn run(params: &Params) -> Result<(), Failure> {
    let port: u16 = params.get("port")?;
    let authority: String = params.get_or("authority", String::new())?;
    let (scheme, roots) = if authority.is_empty() {
        ("http", RootCerts::WebPki)
    } else {
        let authority = Certificate::from_pem(&fs::read(authority)?)?;
        ("https", RootCerts::from(vec![authority]))
    };
    let endpoints: Vec<String> = params
        .get::<String>("endpoints")?
        .split(',')
        .map(|port| format!("{scheme}://127.0.0.1:{port}"))
        .collect();
    let server = Arc::new(Server::http(("127.0.0.1", port)).map_err(|err| err.to_string())?);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .input_buffer_size(BUFFER)
        .output_buffer_size(BUFFER)
        .max_idle_connections(1024)
        .max_idle_connections_per_host(1024)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .build();
    let agent = Agent::new_with_config(config);
    let (endpoints, next) = (Arc::new(endpoints), Arc::new(AtomicUsize::new(0)));
    let workers: usize = params.get("workers")?;
    let threads: Vec<_> = (0..workers)
        .map(|_| {
            let (server, agent) = (server.clone(), agent.clone());
            let (endpoints, next) = (endpoints.clone(), next.clone());
            thread::Builder::new().stack_size(STACK).spawn(move || {
                while let Ok(request) = server.recv() {
                    let turn = next.fetch_add(1, Ordering::Relaxed) % endpoints.len();
                    // A client that has gone is no reason to end.
                    let _ = forward(request, &agent, &endpoints[turn]);
                }
            })
        })
        .collect::<io::Result<_>>()?;
    for thread in threads {
        thread.join().map_err(|_| "a worker panicked")?;
    }
    Ok(())
}

fn forward(mut request: Request, agent: &Agent, endpoint: &str) -> Result<(), Failure> {
    let mut body = Vec::new();
    request.as_reader().read_to_end(&mut body)?;
    let mut call = http::Request::post(format!("{endpoint}{}", request.url()));
    for header in request.headers() {
        let name = header.field.as_str().as_str();
        if !["host", "content-length", "connection"].contains(&name.to_ascii_lowercase().as_str()) {
            call = call.header(name, header.value.as_str());
        }
    }
    let answer = agent.run(call.body(&body[..])?)?;
    let (parts, body) = answer.into_parts();
    let length = body
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    let mut reader = body.into_reader();
    let headers = parts.headers.iter().filter(|(name, _)| {
        !["content-length", "transfer-encoding", "connection"].contains(&name.as_str())
    });
    if length.is_some() {
        let headers = headers
            .filter_map(|(name, value)| Header::from_bytes(name.as_str(), value.as_bytes()).ok())
            .collect();
        let answer = Response::new(parts.status.as_u16().into(), headers, reader, length, None);
        return Ok(request.respond(answer)?);
    }
    // tiny_http would send nothing before 8 KiB are full.
    let mut out = request.into_writer();
    write!(
        out,
        "HTTP/1.1 {}\r\ntransfer-encoding: chunked\r\n",
        parts.status
    )?;
    for (name, value) in headers {
        write!(out, "{name}: ")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"\r\n")?;
    let mut piece = vec![0; BUFFER];
    loop {
        let filled = reader.read(&mut piece)?;
        write!(out, "{filled:x}\r\n")?;
        out.write_all(&piece[..filled])?;
        out.write_all(b"\r\n")?;
        out.flush()?;
        if filled == 0 {
            return Ok(());
        }
    }
}
