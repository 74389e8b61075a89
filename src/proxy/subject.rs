//! What a request is about, as far as the choice of its endpoint depends on it: its model, and its conversation.

use std::borrow::Cow;
use std::cell::OnceCell;

use http::{Method, Request};

use super::failover::{Outcome, Sort};
use crate::api::body::{self, Model, Wants};
use crate::api::conversation;
use crate::config::{Affinity, Config, Models};
use crate::downstream::{Body, Exchange};

/// What one request is about. What costs a look into its body is read when somebody needs it.
pub struct Subject<'a> {
    body: &'a [u8],
    has_body: bool,
    /// It is a message: a request for an answer of a model's.
    pub is_message: bool,
    /// It can be sent twice, even where an endpoint may be working on it.
    is_safe: bool,
    /// The conversation that it goes on with.
    pub conversation: Option<u64>,
    /// More than one endpoint may be asked.
    pub has_choice: bool,
    /// What it is about lives in one account: the first enabled endpoint's.
    pub first_only: bool,
    model: OnceCell<Option<Model>>,
}

impl<'a> Subject<'a> {
    /// Looks at the headers, and into the body only where the conversation is to be found there.
    pub fn of(request: &'a Request<Body>, exchange: &Exchange) -> Subject<'a> {
        let config = &exchange.admission.config;
        let route = exchange.admission.route;
        let body = &*request.body().bytes;
        let is_message = route.may_cool_down;
        let has_choice = has_choice(config);
        let mut conversation = None;
        let mut first_only = route.first_only;
        if has_choice && config.affinity == Affinity::Session {
            conversation = conversation::of_headers(request.headers());
        }
        let mut subject = Subject {
            body,
            has_body: matches!(
                *request.method(),
                Method::POST | Method::PUT | Method::PATCH
            ),
            is_message,
            is_safe: matches!(*request.method(), Method::GET | Method::HEAD),
            conversation,
            has_choice,
            first_only,
            model: OnceCell::new(),
        };
        if has_choice && is_message {
            let wants = Wants {
                model: false,
                conversation: conversation.is_none() && config.affinity == Affinity::Session,
                files: true,
            };
            let client = exchange.admission.client();
            let client = client.map_or("", |client| client.name.as_str());
            let seen = body::look(body, wants, client);
            first_only |= seen.names_file;
            subject.conversation = conversation.or(seen.conversation);
            subject.first_only = first_only;
        }
        subject.has_choice &= !first_only;
        subject
    }

    /// What its first endpoint is chosen by, for the log.
    pub fn why(&self) -> &'static str {
        match self.conversation {
            _ if self.first_only => "account",
            Some(_) => "conversation",
            None => "turn",
        }
    }

    /// The model that it asks for, where it is JSON that names one.
    pub fn model(&self) -> Option<&str> {
        self.found_model().map(|model| model.name.as_str())
    }

    /// The same, where somebody has asked for it already.
    pub fn known_model(&self) -> Option<&str> {
        let model = self.model.get()?.as_ref();
        model.map(|model| model.name.as_str())
    }

    /// What `failover` must know of it, to judge this outcome.
    pub fn sort(&self, outcome: &Outcome) -> Sort<'_> {
        let is_about_models =
            matches!(outcome, Outcome::Answer(signs) if matches!(signs.status, 404 | 429));
        Sort {
            may_cool_down: self.is_message,
            is_safe: self.is_safe,
            model: if is_about_models { self.model() } else { None },
        }
    }

    /// The body as an endpoint gets it: with the endpoint's own name for the model, where it has one.
    pub fn body_for(&self, models: Option<&Models>) -> Cow<'a, [u8]> {
        let own_name = models.zip(self.found_model()).and_then(|(models, model)| {
            let served = models.serves(&model.name)?;
            Some((served.name?, model))
        });
        match own_name {
            Some((name, model)) => Cow::Owned(body::with_model(self.body, &model.at, &name)),
            None => Cow::Borrowed(self.body),
        }
    }

    fn found_model(&self) -> Option<&Model> {
        let model = self.model.get_or_init(|| {
            let wants = Wants {
                model: self.has_body,
                ..Wants::default()
            };
            body::look(self.body, wants, "").model
        });
        model.as_ref()
    }
}

/// Whether it matters which endpoint is asked.
fn has_choice(config: &Config) -> bool {
    let mut enabled = config.endpoints.iter().filter(|endpoint| endpoint.enabled);
    enabled.nth(1).is_some()
}
