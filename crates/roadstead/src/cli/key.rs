//! `roadstead key`: the keys that tokens are signed with.

use serde_json::{Value, json};

use super::Exit;
use super::admin::{Refused, told};
use super::administer::{To, cell, post};

/// What the command line asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    to: To,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Sign with a new key from now on; tokens of the old ones stay good until they end
    Rotate {
        /// Refuse the other keys and all tokens that they signed at once, because somebody may have stolen them
        #[arg(long)]
        now: bool,
    },
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Exit {
    let Arguments { to, verb: Verb::Rotate { now } } = arguments;
    to.once_if(Ok(post("/keys/rotate", json!({ "now": now }))), |key| sentence(*now, key))
}

/// What became of it. A server of an older version takes no notice of `now`, nor says so: keys that somebody has stolen
/// would go on, and nobody would know.
fn sentence(now: bool, key: &Value) -> Result<String, Refused> {
    let id = cell("id", &key["id"]);
    if !now {
        return Ok(format!("tokens are signed with key {id} within a minute"));
    }
    let Some(ended) = key["ended"].as_u64() else {
        return Err(told(format!(
            "the server made key {id} and does not say that the other keys have ended: it is of an older version, whose old keys \
             sign and verify on; upgrade all instances, then rotate again with --now"
        )));
    };
    let keys = if ended == 1 { "key has" } else { "keys have" };
    Ok(format!("tokens are signed with key {id}; {ended} other {keys} ended, whose tokens are refused within a second"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn keys_that_may_go_on_are_not_told_to_have_ended() {
        let made = |now, ended: Value| sentence(now, &json!({ "id": "0199", "ended": ended }));
        assert!(made(true, json!(1)).unwrap().contains("1 other key has ended"));
        assert!(made(true, json!(2)).unwrap().contains("2 other keys have ended"));
        assert!(made(false, Value::Null).unwrap().contains("within a minute"));
        for older in [json!({ "id": "0199" }), json!({ "id": "0199", "ended": null })] {
            let refused = sentence(true, &older);
            assert!(
                matches!(&refused, Err(Refused::Told(text)) if text.contains("upgrade all instances")),
                "{refused:?}"
            );
        }
        assert!(sentence(false, &json!({ "id": "0199" })).is_ok());
    }
}
