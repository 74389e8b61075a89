//! Who may send requests: `clientTokens`.

use super::complaint::{Error, quoted};
use super::document::Value;
use super::secret::{Outside, Secret};

/// A client with a token of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// What it presents; unlike every other client's.
    pub token: Secret,
    /// For the log, the metrics and the page: visible ASCII, not used twice. Default: `client-N`, counted from 1.
    pub name: String,
    /// Requests of it that are served at the same time. Default: no limit.
    pub max_concurrent: Option<u32>,
    pub scope: Scope,
}

/// What a client's token opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everything, the default.
    All,
    /// `/health`, `/metrics` and the page.
    Status,
}

/// Characters of a name, as of an endpoint's.
const MAX_NAME: usize = 64;

impl Client {
    pub(super) fn read_all(list: &Value, outside: &Outside) -> Result<Vec<Client>, Error> {
        let mut clients: Vec<Client> = Vec::new();
        for (i, item) in list.array()?.iter().enumerate() {
            let client = read(item, format!("client-{}", i + 1), outside)?;
            let twin = |is_same: &dyn Fn(&Client) -> bool| clients.iter().position(is_same);
            if let Some(j) = twin(&|other| other.token == client.token) {
                let found = format_args!("the same as clientTokens[{j}] has");
                return Err(item.expected("a token of its own", found));
            }
            if let Some(j) = twin(&|other| other.name == client.name) {
                let found = format_args!("\"{}\", as clientTokens[{j}] has", client.name);
                return Err(item.expected("a name of its own", found));
            }
            clients.push(client);
        }
        Ok(clients)
    }

    /// For `--check`: the name, and what is unlike the default. Nothing of the token.
    pub(super) fn shown(&self) -> String {
        let scope = match self.scope {
            Scope::All => "",
            Scope::Status => " (status only)",
        };
        match self.max_concurrent {
            Some(limit) => format!("{} ***{scope} (at most {limit} at once)", self.name),
            None => format!("{} ***{scope}", self.name),
        }
    }
}

/// A token alone, or an object with one.
fn read(item: &Value, name: String, outside: &Outside) -> Result<Client, Error> {
    if !item.is_object() {
        if !item.is_string() {
            let expected = "a token or an object with token, name, maxConcurrent and scope";
            return Err(item.expected(expected, item.kind()));
        }
        return Ok(Client {
            token: Secret::read_token(item, outside)?,
            name,
            max_concurrent: None,
            scope: Scope::All,
        });
    }
    let keys = item.object()?;
    let token = keys.get("token", |value| Secret::read_token(value, outside))?;
    let given = keys.get("name", read_name)?;
    let max_concurrent = keys.get("maxConcurrent", |value| value.whole(1..=u32::MAX.into()))?;
    let scope = keys.choice("scope", &[("all", Scope::All), ("status", Scope::Status)])?;
    keys.finish()?;
    Ok(Client {
        token: keys.needed("token", token, "a token")?,
        name: given.unwrap_or(name),
        max_concurrent,
        scope,
    })
}

/// A name that fits into a line of the log, a header and the labels of metrics.
pub fn read_name(value: &Value) -> Result<String, Error> {
    let name = value.string()?;
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = format!("1 to {MAX_NAME} visible ASCII characters without spaces");
        return Err(value.expected(expected, quoted(&name)));
    }
    Ok(name)
}
