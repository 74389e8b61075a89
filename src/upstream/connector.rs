//! How a new connection to an endpoint is made: name, TCP, proxy, TLS, all within `connectSeconds`.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use rustls::ClientConfig;
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{ConnectionDetails, Connector, NextTimeout};

use crate::config::{ProxyAddress, ProxyKind, Secret};

use super::call::Call;
use super::dial;
use super::error::{Error, is_exhaustion, no_time};
use super::resolver::Lookup;
use super::transport::{Deaths, Link};
use super::trust::{Roots, server_name};
use super::tunnel::{self, Failure};
use super::wire::Wire;

/// Longest time in which what was sent and not acknowledged says that a connection is dead.
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Stands where ureq would look names up: [`EndpointConnector`] does it, within the same `connectSeconds`.
#[derive(Debug)]
pub struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(
        &self,
        _: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        Ok(self.empty())
    }
}

/// Makes the connections to one endpoint.
#[derive(Debug)]
pub struct EndpointConnector {
    /// Of the endpoint's name, or of the proxy's: that looks the endpoint's up itself.
    lookup: Lookup,
    tls: Arc<ClientConfig>,
    proxy: Option<ProxyAddress>,
    write_limit: Duration,
    dead_after: Duration,
    deaths: Deaths,
}

impl EndpointConnector {
    /// `response`: how long the endpoint may take for its answer, and leave what we send unread.
    pub fn new(
        roots: &Roots,
        proxy: Option<ProxyAddress>,
        response: Duration,
    ) -> EndpointConnector {
        EndpointConnector {
            lookup: Lookup::default(),
            tls: roots.client(),
            proxy,
            write_limit: response,
            // Before the time for the answer is over: the request can still go out again.
            dead_after: DEAD_AFTER.min(response / 2),
            deaths: Deaths::default(),
        }
    }

    fn link(&self, uri: &Uri, deadline: Instant) -> Result<Link, Error> {
        let host = uri.host().expect("a base URL has a host");
        let is_tls = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let mut wire = match &self.proxy {
            None => self.dial(host, port, deadline)?,
            Some(proxy) => self.through(proxy, host, port, deadline)?,
        };
        if is_tls {
            let secured = server_name(host).and_then(|name| wire.secure(&self.tls, name, deadline));
            secured.map_err(|err| unreachable(host, err))?;
        }
        Ok(Link::new(wire, self.write_limit, &self.deaths))
    }

    /// What goes wrong at the proxy is told as the proxy's.
    fn through(
        &self,
        proxy: &ProxyAddress,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<Wire, Error> {
        let blame = |why: &str| {
            // Without user and password.
            Error::Unreachable(format!("the proxy {}:{}: {why}", proxy.host, proxy.port))
        };
        let dialled = self.dial(&proxy.host, proxy.port, deadline);
        let mut wire = dialled.map_err(|err| match err {
            Error::Unreachable(why) => blame(&why),
            err => err,
        })?;
        let user = proxy.user.as_ref().map(Secret::expose);
        let password = proxy.password.as_ref().map(Secret::expose);
        let login = user.map(|user| (user, password.unwrap_or_default()));
        let opened = match proxy.kind {
            ProxyKind::Http => tunnel::connect(&mut wire, host, port, login, deadline),
            ProxyKind::Socks5 => tunnel::socks5(&mut wire, host, port, login, deadline),
        };
        match opened {
            Ok(()) => Ok(wire),
            Err(Failure::NoTime) => Err(blame("no connection within connectSeconds")),
            Err(Failure::Refused(why)) => Err(blame(&why)),
        }
    }

    /// A connection to a name, or to an address.
    fn dial(&self, host: &str, port: u16, deadline: Instant) -> Result<Wire, Error> {
        let abort = Call::with(|call| call.abort.clone());
        let is_over = || abort.is_aborted();
        let found = self.lookup.resolve(host, port, deadline, is_over);
        let addresses = found.map_err(|err| match err.kind() {
            io::ErrorKind::TimedOut => no_time(),
            _ if is_exhaustion(&err) => Error::Exhausted(err),
            // The look-up's own words name the host.
            _ => Error::Unreachable(err.to_string()),
        })?;
        let stream = dial::dial(&addresses, deadline, is_over)?;
        dial::tune(&stream, self.dead_after).map_err(|err| unreachable(host, err))?;
        let wire = Wire::plain(stream);
        abort.attach(wire.tcp());
        Ok(wire)
    }
}

fn unreachable(place: &str, err: io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::WouldBlock => no_time(),
        _ if is_exhaustion(&err) => Error::Exhausted(err),
        _ => Error::Unreachable(format!("{place}: {err}")),
    }
}

impl Connector for EndpointConnector {
    type Out = Link;

    fn connect(
        &self,
        details: &ConnectionDetails,
        _: Option<()>,
    ) -> Result<Option<Link>, ureq::Error> {
        // ureq counts from the call's begin; nothing of it has been used yet.
        let limit = details
            .timeout
            .not_zero()
            .map_or(Duration::from_secs(1), |left| *left);
        Ok(Some(self.link(details.uri, Instant::now() + limit)?))
    }
}
