//! What an endpoint is reached with: authorities and a proxy, from its configuration and from the environment.

use crate::config::{Endpoint, Proxy, ProxyAddress};

use super::proxies::Proxies;
use super::trust::Roots;

/// What the machine gives to all endpoints: whom to trust, and the proxies that its environment names.
#[derive(Clone, Debug)]
pub struct Surroundings {
    roots: Roots,
    proxies: Proxies<ProxyAddress>,
}

impl Surroundings {
    /// # Errors
    /// The variable and what is wrong with it, or with the file that it names.
    pub fn from_env() -> Result<Surroundings, String> {
        let env = |name: &str| std::env::var(name).ok();
        Ok(Surroundings {
            roots: Roots::from_env()?,
            proxies: Proxies::read(&env, &ProxyAddress::parse)?,
        })
    }

    /// Built-in authorities and no proxy, whatever the environment says: for endpoints of our own, on loopback.
    pub fn bare() -> Surroundings {
        Surroundings {
            roots: Roots::built_in(),
            proxies: Proxies::none(),
        }
    }

    /// `None`: it is reached directly.
    pub(super) fn proxy(&self, endpoint: &Endpoint) -> Option<ProxyAddress> {
        match &endpoint.proxy {
            Proxy::Direct => None,
            Proxy::Via(address) => Some(address.clone()),
            Proxy::Environment => {
                let is_tls = endpoint.base_url.scheme_str() == Some("https");
                let host = endpoint.base_url.host().unwrap_or_default();
                self.proxies.find(is_tls, host).cloned()
            }
        }
    }

    pub(super) fn roots(&self, endpoint: &Endpoint) -> Roots {
        let Some(file) = &endpoint.ca_file else {
            return self.roots.clone();
        };
        self.roots.with_pem(file.pem.as_bytes()).unwrap_or_else(|why| {
            // The configuration has seen that it is PEM; what is in there is only known now.
            log::error!(endpoint = endpoint.name.as_str(); "caFile: {}: expected certificates, {why}", file.path);
            self.roots.clone()
        })
    }
}
