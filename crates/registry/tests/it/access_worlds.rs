//! Random worlds of users, organizations, teams and grants: the catalog of each caller is exactly what it may pull, and
//! nobody may do what the rules do not say.

use roadstead_metadata::records::access::{Access, Subject};
use roadstead_metadata::records::grant::{self, Grantee, Object};
use roadstead_metadata::records::organization::Role;
use roadstead_metadata::records::robot::{self, Robot};
use roadstead_metadata::records::team::Team;
use roadstead_metadata::records::{account, organization, team};
use roadstead_oci::Page;
use roadstead_registry::{Action, Caller, Identity};
use uuid::Uuid;

use crate::access::{commit, instance, repository};
use crate::rig::{Rig, name};

const ACCESSES: [Access; 3] = [Access::ReadOnly, Access::ReadWrite, Access::Admin];

/// Numbers that look random, the same for a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }
}

/// What the test itself knows of a world.
#[derive(Default)]
struct World {
    /// Namespace, name, public.
    repositories: Vec<(Uuid, Uuid, String, bool)>,
    owners: Vec<(Uuid, Uuid)>,
    teams: Vec<Team>,
    members: Vec<(Uuid, Uuid)>,
    grants: Vec<(Object, Uuid, Access)>,
}

impl World {
    /// The rules once more, as plainly as they can be said.
    fn access(&self, subject: Subject, admin: Uuid, repository: &(Uuid, Uuid, String, bool)) -> Option<Access> {
        let (id, namespace, _, public) = repository;
        let who = subject.id();
        let teams = self.members.iter().filter(|(_, user)| *user == who).map(|(team, _)| *team);
        let subjects: Vec<Uuid> = teams.chain([who]).collect();
        let here = [Object::Repository(*id), Object::Namespace(*namespace)];
        let granted = self.grants.iter().filter(|(on, to, _)| here.contains(on) && subjects.contains(to));
        let owns = who == admin || who == *namespace || self.owners.contains(&(*namespace, who));
        let highest = granted.map(|(_, _, access)| *access).max();
        if owns { Some(Access::Admin) } else { highest.max(public.then_some(Access::ReadOnly)) }
    }
}

async fn world(rig: &Rig, dice: &mut Dice) -> (World, Vec<Subject>, Uuid) {
    let (mut world, mut subjects) = (World::default(), Vec::new());
    let users: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    let admin = users[0];
    for (number, id) in users.iter().enumerate() {
        commit(rig, account::create(*id, &format!("user{number}"), None, *id == admin, 5)).await;
        subjects.push(Subject::User(*id));
    }
    let mut namespaces: Vec<(Uuid, String)> =
        users.iter().enumerate().map(|(number, id)| (*id, format!("user{number}"))).collect();
    for number in 0..3 {
        let (id, owner) = (Uuid::now_v7(), users[dice.below(5)]);
        let called = format!("org{number}");
        commit(rig, organization::create(id, &called, Some(owner), 5)).await;
        world.owners.push((id, owner));
        let member = users[dice.below(5)];
        if member != owner {
            commit(rig, organization::put_member(id, member, Role::Member, 5)).await;
        }
        for number in 0..2 {
            let team = Team { id: Uuid::now_v7(), organization: id, name: format!("t{number}"), created_at: 5 };
            commit(rig, team::create(&team)).await;
            for _ in 0..2 {
                let user = users[dice.below(5)];
                commit(rig, team::put_member(&team, user, 5)).await;
                world.members.push((team.id, user));
            }
            world.teams.push(team);
        }
        let robot = Robot { id: Uuid::now_v7(), namespace: id, name: "ci".to_owned(), created_at: 5 };
        commit(rig, robot::create(&robot)).await;
        subjects.push(Subject::Robot(robot.id));
        namespaces.push((id, called));
    }
    for number in 0..14 {
        let (namespace, called) = &namespaces[dice.below(namespaces.len())];
        let (id, public) = (Uuid::now_v7(), dice.below(4) == 0);
        let called = format!("{called}/{}{number}", ["a", "b/c", "z"][dice.below(3)]);
        repository(rig, id, *namespace, &called, public).await;
        world.repositories.push((id, *namespace, called, public));
    }
    for _ in 0..16 {
        let (id, namespace, ..) = world.repositories[dice.below(world.repositories.len())];
        let object = if dice.below(3) == 0 { Object::Namespace(namespace) } else { Object::Repository(id) };
        let of_it: Vec<Uuid> =
            world.teams.iter().filter(|team| team.organization == namespace).map(|team| team.id).collect();
        let to = match (dice.below(2), of_it.is_empty()) {
            (0, false) => Grantee::Team(of_it[dice.below(of_it.len())]),
            _ => match subjects[dice.below(subjects.len())] {
                Subject::User(id) => Grantee::User(id),
                Subject::Robot(id) => Grantee::Robot(id),
            },
        };
        let access = ACCESSES[dice.below(3)];
        commit(rig, grant::put(object, to, access, 5)).await;
        world.grants.retain(|(on, whom, _)| (*on, *whom) != (object, to.id()));
        world.grants.push((object, to.id(), access));
    }
    (world, subjects, admin)
}

#[tokio::test]
async fn the_catalog_and_every_decision_are_what_the_rules_say() {
    for seed in 0..12 {
        let rig = Rig::new().await;
        let (world, subjects, admin) = world(&rig, &mut Dice(seed)).await;
        let registry = instance(&rig).await.registry;
        for subject in subjects {
            let caller: Caller = Identity::new(subject, "x").into();
            let mut pulled = Vec::new();
            for repository in &world.repositories {
                let access = world.access(subject, admin, repository);
                let due = [(Action::Pull, Access::ReadOnly), (Action::Push, Access::ReadWrite)];
                let due = due.into_iter().chain([(Action::Delete, Access::ReadWrite), (Action::Admin, Access::Admin)]);
                for (action, least) in due {
                    // Twice: asked for, and from memory.
                    for _ in 0..2 {
                        let may = registry.may(&caller, action, &name(&repository.2)).await;
                        assert_eq!(may, access >= Some(least), "seed {seed}: {subject:?} {action:?} {}", repository.2);
                    }
                }
                if access.is_some() {
                    pulled.push(repository.2.clone());
                }
            }
            pulled.sort();
            let (mut seen, mut last) = (Vec::new(), None);
            loop {
                let page = registry.catalog(&caller, &Page { n: Some(3), last: last.take() }).await.unwrap();
                seen.extend(page.names);
                last = seen.last().cloned();
                if !page.more {
                    break;
                }
            }
            assert_eq!(seen, pulled, "seed {seed}: {subject:?}");
        }
    }
}
