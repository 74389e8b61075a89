//! Which web pages may call, and under which names: `allowedOrigins` and `allowedHosts`.

use super::complaint::{Error, quoted};
use super::document::Value;
use super::listen;

/// Origins as browsers send them, in lower case: a path or a last slash would never match one. A `*` stands alone.
pub fn origins(list: &Value) -> Result<Vec<String>, Error> {
    let mut origins = Vec::new();
    for item in list.array()? {
        let origin = item.string()?.to_ascii_lowercase();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        let is_origin = !host.is_empty()
            && origin.bytes().all(is_visible)
            && !host.contains(['/', '*', '@', '?', '#']);
        if !is_origin && origin != "*" && origin != "null" {
            let expected = "\"*\" or an origin such as https://app.example.com, with nothing behind the host and port";
            return Err(item.expected(expected, quoted(&origin)));
        }
        origins.push(origin);
    }
    Ok(or_all(origins))
}

/// Names in lower case, without a port. A `*` stands alone.
pub fn hosts(list: &Value) -> Result<Vec<String>, Error> {
    let mut hosts = Vec::new();
    for item in list.array()? {
        let host = item.string()?.to_ascii_lowercase();
        if host != "*" && listen::host(&host).is_none() {
            let expected =
                "\"*\" or a host name such as balancer.example.com, without scheme and port";
            return Err(item.expected(expected, quoted(&host)));
        }
        hosts.push(host);
    }
    Ok(or_all(hosts))
}

fn or_all(list: Vec<String>) -> Vec<String> {
    if list.iter().any(|item| item == "*") {
        return vec!["*".to_owned()];
    }
    list
}
