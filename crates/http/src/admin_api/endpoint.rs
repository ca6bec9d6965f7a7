//! An endpoint: what makes both the router and the document ([`super::endpoints`] is the table of them).

use futures::future::BoxFuture;
use http::Method;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::call::Call;
use super::refusals::Answer;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody.
    Anybody,
    /// Whoever says who it is: the use case looks at what it may.
    Known,
    /// System admins, and the operator on the socket.
    Admins,
}

/// Makes the schema of a body.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The schema of a type.
pub(super) fn shape<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// What is done.
pub(super) type Handler = fn(Call) -> BoxFuture<'static, Answer>;

/// One method of one path.
pub(super) struct Endpoint {
    pub(super) method: Method,
    /// Below [`super::paths::BASE`], as [`super::paths::fit`] reads it.
    pub(super) path: &'static str,
    /// What it does, in a sentence.
    pub(super) summary: &'static str,
    pub(super) who: Who,
    pub(super) handler: Handler,
    /// What the body is, if it reads one.
    pub(super) takes: Option<Shape>,
    /// Parameters of the query: name and what it says.
    pub(super) query: Vec<(&'static str, &'static str)>,
    /// Statuses that say that it was done, with what comes with them: media type and schema.
    pub(super) answers: Vec<(u16, Option<(&'static str, Shape)>)>,
    /// Statuses that say why nothing was done, beside those that every endpoint has.
    pub(super) refuses: Vec<(u16, &'static str)>,
}

impl Endpoint {
    /// For whoever says who it is.
    pub(super) fn new(method: Method, path: &'static str, summary: &'static str, handler: Handler) -> Self {
        let (takes, query, answers, refuses) = (None, Vec::new(), Vec::new(), Vec::new());
        Self { method, path, summary, who: Who::Known, handler, takes, query, answers, refuses }
    }

    pub(super) fn who(self, who: Who) -> Self {
        Self { who, ..self }
    }

    pub(super) fn takes<T: JsonSchema>(self) -> Self {
        Self { takes: Some(shape::<T>), ..self }
    }

    pub(super) fn query(mut self, name: &'static str, says: &'static str) -> Self {
        self.query.push((name, says));
        self
    }

    /// JSON of this type.
    pub(super) fn answers<T: JsonSchema>(self, status: u16) -> Self {
        self.answers_as(status, "application/json", shape::<T>)
    }

    pub(super) fn answers_as(mut self, status: u16, media_type: &'static str, shape: Shape) -> Self {
        self.answers.push((status, Some((media_type, shape))));
        self
    }

    /// 204.
    pub(super) fn done(mut self) -> Self {
        self.answers.push((204, None));
        self
    }

    /// A page of a list.
    pub(super) fn pages<T: JsonSchema>(self) -> Self {
        self.query("n", "entries at most: 100 without it, 1000 at most")
            .query("last", "only entries after this one: follow `Link` with rel=\"next\"")
            .answers::<Vec<T>>(200)
    }

    pub(super) fn refuses(mut self, status: u16, why: &'static str) -> Self {
        self.refuses.push((status, why));
        self
    }
}
