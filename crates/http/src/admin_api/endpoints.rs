//! The table of all endpoints. The router and the document at `/api/v1/openapi.json` are made of it, so neither has what the
//! other has not.

use std::sync::LazyLock;

use http::Method;
use roadstead_workers::{InstanceStatus, WorkerStatus};
use serde_json::Value;

use super::call::Call;
use super::endpoint::{Endpoint, Handler, Who};
use super::{
    audit, document, gc, grants, instances, keys, organizations, repositories, robots, scrub, settings, teams, tokens,
    users,
};
use crate::audit_api;

/// Of endpoints with one path those of one method each; of two paths that fit, the first counts.
pub(super) static ENDPOINTS: LazyLock<Vec<Endpoint>> = LazyLock::new(|| {
    [users(), organizations(), teams(), repositories(), robots(), tokens(), operations()]
        .into_iter()
        .flatten()
        .collect()
});

/// A handler as the table has it.
macro_rules! by {
    ($handler:path) => {{
        let handler: Handler = |call: Call| Box::pin($handler(call));
        handler
    }};
}

fn get(path: &'static str, summary: &'static str, handler: Handler) -> Endpoint {
    Endpoint::new(Method::GET, path, summary, handler)
}

fn post(path: &'static str, summary: &'static str, handler: Handler) -> Endpoint {
    Endpoint::new(Method::POST, path, summary, handler)
}

fn put(path: &'static str, summary: &'static str, handler: Handler) -> Endpoint {
    Endpoint::new(Method::PUT, path, summary, handler)
}

fn patch(path: &'static str, summary: &'static str, handler: Handler) -> Endpoint {
    Endpoint::new(Method::PATCH, path, summary, handler)
}

fn delete(path: &'static str, summary: &'static str, handler: Handler) -> Endpoint {
    Endpoint::new(Method::DELETE, path, summary, handler).done()
}

const TAKEN: &str = "the name is taken";
const NAME: &str = "the name is not acceptable";
const OFTEN: &str = "who asks set too many passwords of late; `Retry-After` says when to come again";

fn users() -> Vec<Endpoint> {
    let one = "/users/{user}";
    vec![
        get("/user", "Tells who asks", by!(users::who)).answers::<users::Asking>(200),
        get("/users", "Lists users, by name; for system admins", by!(users::list)).pages::<users::User>(),
        post("/users", "Adds a user; for system admins", by!(users::add))
            .takes::<users::NewUser>()
            .answers::<users::User>(201)
            .refuses(409, TAKEN)
            .refuses(422, "the name or the password is not acceptable")
            .refuses(429, OFTEN),
        get(one, "Shows a user; for system admins and itself", by!(users::show)).answers::<users::User>(200),
        patch(one, "Makes a user a system admin or not, active or not; for system admins", by!(users::change))
            .takes::<users::ChangedUser>()
            .answers::<users::User>(200)
            .refuses(409, "it is the last active system admin with a password, or to be linked anew and of no source")
            .refuses(422, "`relink` stands beside other changes"),
        delete(
            one,
            "Removes a user with its tokens, robots, memberships and grants; for system admins",
            by!(users::remove),
        )
        .refuses(409, "it owns repositories, or is the last owner of an organization or the last system admin"),
        put("/users/{user}/password", "Sets a password; for system admins and the user", by!(users::set_password))
            .takes::<users::NewPassword>()
            .done()
            .refuses(409, "its source keeps its password")
            .refuses(422, "the password is not acceptable")
            .refuses(429, OFTEN),
    ]
}

fn organizations() -> Vec<Endpoint> {
    let (one, member) = ("/organizations/{organization}", "/organizations/{organization}/members/{user}");
    let last = "it is the last owner";
    vec![
        get("/organizations", "Lists organizations, by name; for system admins", by!(organizations::list))
            .pages::<organizations::Organization>(),
        post(
            "/organizations",
            "Adds an organization, whose first owner is the user that does; for system admins",
            by!(organizations::add),
        )
        .takes::<organizations::NewOrganization>()
        .answers::<organizations::Organization>(201)
        .refuses(409, TAKEN)
        .refuses(422, NAME),
        get(one, "Shows an organization; for its members", by!(organizations::show))
            .answers::<organizations::Organization>(200),
        delete(
            one,
            "Removes an organization with its teams, robots, memberships and grants; for owners",
            by!(organizations::remove),
        )
        .refuses(409, "it has repositories"),
        get("/organizations/{organization}/members", "Lists members; for members", by!(organizations::members))
            .pages::<organizations::Member>(),
        put(member, "Makes a user a member or an owner; for owners", by!(organizations::put_member))
            .takes::<organizations::NewMember>()
            .answers::<organizations::Member>(200)
            .refuses(409, last),
        delete(
            member,
            "A member leaves the organization and its teams; for owners and the member",
            by!(organizations::remove_member),
        )
        .refuses(409, last),
    ]
}

fn teams() -> Vec<Endpoint> {
    let (all, one) = ("/organizations/{organization}/teams", "/organizations/{organization}/teams/{team}");
    let member = "/organizations/{organization}/teams/{team}/members/{user}";
    vec![
        get(all, "Lists teams, by name; for members of the organization", by!(teams::list)).pages::<teams::Team>(),
        post(all, "Adds a team; for owners", by!(teams::add))
            .takes::<teams::NewTeam>()
            .answers::<teams::Team>(201)
            .refuses(409, TAKEN)
            .refuses(422, NAME),
        delete(one, "Removes a team with what was granted to it; for owners", by!(teams::remove)),
        get(
            "/organizations/{organization}/teams/{team}/members",
            "Lists members of a team; for members of the organization",
            by!(teams::members),
        )
        .pages::<teams::TeamMember>(),
        put(member, "Makes a user a member of the team and of the organization; for owners", by!(teams::put_member))
            .answers::<teams::TeamMember>(200),
        delete(member, "A member leaves the team, not the organization; for owners", by!(teams::remove_member)),
    ]
}

fn repositories() -> Vec<Endpoint> {
    let one = "/repositories/{repository}";
    let (grants, of_namespace) = ("/repositories/{repository}/grants", "/namespaces/{namespace}/grants");
    let mut all = vec![
        get("/repositories", "Lists the repositories that who asks may pull from, by name", by!(repositories::list))
            .pages::<repositories::Repository>(),
        post(
            "/repositories",
            "Adds a repository; for those who may push to all of its namespace",
            by!(repositories::add),
        )
        .takes::<repositories::NewRepository>()
        .answers::<repositories::Repository>(201)
        .refuses(409, TAKEN)
        .refuses(422, NAME),
    ];
    all.extend(granted(grants));
    all.extend(granted(of_namespace));
    // After what is below it: a repository may have any number of components.
    all.extend([
        get(one, "Shows a repository; for those who may pull from it", by!(repositories::show))
            .answers::<repositories::Repository>(200),
        patch(one, "Changes how a repository is set; for its admins", by!(repositories::change))
            .takes::<repositories::ChangedRepository>()
            .answers::<repositories::Repository>(200),
        delete(one, "Removes a repository with all that is in it; for its admins", by!(repositories::remove)),
    ]);
    all
}

fn granted(path: &'static str) -> [Endpoint; 3] {
    let summaries = match path.starts_with("/repositories") {
        true => [
            "Lists what is granted on a repository; for its admins",
            "Grants access to a repository to a team, a user or a robot, in place of what it had; for its admins",
            "Takes back what a team, a user or a robot was granted on a repository; for its admins",
        ],
        false => [
            "Lists what is granted on a namespace; for its owners",
            "Grants access to all repositories of a namespace, in place of what was granted; for its owners",
            "Takes back what a team, a user or a robot was granted on a namespace; for its owners",
        ],
    };
    let [list, grant, remove] = summaries;
    [
        get(path, list, by!(grants::list)).pages::<grants::Grant>(),
        put(path, grant, by!(grants::put))
            .takes::<grants::Grant>()
            .answers::<grants::Grant>(200)
            .refuses(409, "the team is of another organization"),
        delete(path, remove, by!(grants::remove))
            .query("team", "the team, as in acme/dev")
            .query("user", "or the user")
            .query("robot", "or the robot, as in acme+ci")
            .refuses(409, "the team is of another organization"),
    ]
}

fn robots() -> Vec<Endpoint> {
    let all = "/namespaces/{namespace}/robots";
    vec![
        get(all, "Lists robots of a user or an organization; for those to whom it belongs", by!(robots::list))
            .pages::<robots::Robot>(),
        post(all, "Adds a robot; for those to whom the namespace belongs", by!(robots::add))
            .takes::<robots::NewRobot>()
            .answers::<robots::Robot>(201)
            .refuses(409, TAKEN)
            .refuses(422, NAME),
        delete(
            "/namespaces/{namespace}/robots/{robot}",
            "Removes a robot with its tokens and grants; for those to whom the namespace belongs",
            by!(robots::remove),
        ),
    ]
}

fn tokens() -> Vec<Endpoint> {
    vec![
        get("/tokens", "Lists access tokens of who asks, or of somebody else, oldest first", by!(tokens::list))
            .query("for", "whose: robot:acme+ci, user:alice")
            .pages::<tokens::Token>(),
        post("/tokens", "Makes an access token, whose secret is shown once", by!(tokens::add))
            .takes::<tokens::NewToken>()
            .answers::<tokens::MadeToken>(201)
            .refuses(422, "the name, the scope or the time is not acceptable"),
        post("/keys/rotate", "Signs tokens with a new key; for system admins", by!(keys::rotate))
            .takes::<keys::Wish>()
            .answers::<keys::Key>(200)
            .refuses(409, "there are no signing keys, because nobody is asked who it is"),
        delete("/tokens/{token}", "Revokes an access token, everywhere within a second", by!(tokens::revoke)),
    ]
}

fn operations() -> Vec<Endpoint> {
    let admins = |endpoint: Endpoint| endpoint.who(Who::Admins);
    vec![
        get("/openapi.json", "Shows this document", by!(document::show)).who(Who::Anybody).answers::<Value>(200),
        audit_api::PARAMETERS
            .iter()
            .fold(
                get(
                    "/audit",
                    "Tells who did what; for system admins, of one repository also for its admins",
                    by!(audit::none),
                ),
                |endpoint, (name, says)| endpoint.query(name, says),
            )
            .answers::<audit_api::Page>(200)
            .refuses(409, "the audit is not kept"),
        admins(get("/workers", "Shows the background work of this instance", by!(instances::workers)))
            .answers::<Vec<WorkerStatus>>(200),
        admins(get("/settings", "Shows what this instance runs with, without secrets", by!(settings::show)))
            .answers::<Vec<settings::Setting>>(200),
        admins(get("/instances", "Shows the instances over the same metadata", by!(instances::show)))
            .answers::<Vec<InstanceStatus>>(200),
        admins(post("/gc", "Collects garbage now, or tells what would go; one object a line", by!(gc::run)))
            .takes::<gc::Wish>()
            .answers_as(200, "application/x-ndjson", super::endpoint::shape::<gc::Event>)
            .refuses(409, "a collection is under way"),
        admins(get("/scrub", "Tells the last runs of the scrub and what is damaged", by!(scrub::show)))
            .query("progress", "true: names no objects")
            .query("location", "with `after`: what an earlier answer gave as `next`")
            .query("after", "with `location`")
            .answers::<Value>(200),
        admins(post("/scrub", "Begins to look for damage", by!(scrub::begin)))
            .takes::<scrub::Wish>()
            .answers::<scrub::Begun>(202)
            .refuses(409, "a scrub is under way"),
        admins(delete("/scrub", "Stops the scrub", by!(scrub::stop))),
        admins(post(
            "/scrub/orphans",
            "Lets objects go that nothing names and that are many",
            by!(scrub::let_orphans_go),
        ))
        .answers::<scrub::LetGo>(200),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::admin_api::paths::fit;

    #[test]
    fn no_endpoint_is_there_twice_or_hidden_by_another() {
        let mut seen = BTreeSet::new();
        for endpoint in ENDPOINTS.iter() {
            assert!(seen.insert((endpoint.path, endpoint.method.to_string())), "{} {}", endpoint.method, endpoint.path);
            // A path as somebody would write it.
            let written = endpoint.path.replace(['{', '}'], "");
            let first = ENDPOINTS.iter().find(|one| fit(one.path, &written).is_some());
            assert_eq!(first.map(|one| one.path), Some(endpoint.path));
        }
        assert!(seen.len() > 40, "{}", seen.len());
    }

    #[test]
    fn the_page_of_administration_names_them_all() {
        let page = include_str!("../../../../docs/administration.md");
        for endpoint in ENDPOINTS.iter() {
            let written = format!("`{} /api/v1{}`", endpoint.method, endpoint.path);
            assert!(page.contains(&written), "{written}");
        }
    }

    #[test]
    fn every_endpoint_is_in_the_document_and_the_reverse() {
        let document = document::of(&ENDPOINTS);
        let mut told = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for method in methods.as_object().into_iter().flat_map(|methods| methods.keys()) {
                told.insert((path.clone(), method.to_uppercase()));
            }
        }
        let all = ENDPOINTS.iter().map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_string())).collect();
        assert_eq!(told, all);
    }
}
