//! The operations of an engine, as decorators name them.

/// What was asked of an engine, or of something it opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `Engine::stat`.
    Stat,
    /// `Engine::read`, up to the answer.
    Read,
    /// The body of a read, from the answer to its end, or to where the reader left it.
    Body,
    /// `Engine::writer`.
    Writer,
    /// `Extend::append`.
    Append,
    /// `Writer::write`.
    Write,
    /// `Writer::sync`.
    Sync,
    /// `Writer::finish`.
    Finish,
    /// `Writer::abort`.
    Abort,
    /// `Engine::compose`.
    Compose,
    /// `Engine::delete`.
    Delete,
    /// `Engine::list`.
    List,
    /// `Engine::put_small`.
    PutSmall,
    /// `Engine::probe`.
    Probe,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 14] = [
        Self::Stat,
        Self::Read,
        Self::Body,
        Self::Writer,
        Self::Append,
        Self::Write,
        Self::Sync,
        Self::Finish,
        Self::Abort,
        Self::Compose,
        Self::Delete,
        Self::List,
        Self::PutSmall,
        Self::Probe,
    ];

    /// Its name in metrics and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stat => "stat",
            Self::Read => "read",
            Self::Body => "body",
            Self::Writer => "writer",
            Self::Append => "append",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::Finish => "finish",
            Self::Abort => "abort",
            Self::Compose => "compose",
            Self::Delete => "delete",
            Self::List => "list",
            Self::PutSmall => "put_small",
            Self::Probe => "probe",
        }
    }
}
