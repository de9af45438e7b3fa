//! Delivery to an outlet that is made up, from a ledger of its own.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::message::Message;
use super::{Delivery, HitSource, Outcome, OutletConfig, OutletFolder, Sink, Target};
use crate::base::shutdown::Stop;
use crate::dns::Name;
use crate::http::Delivering;
use crate::store::sled::SledStore;
use crate::store::{NewHit, Options, WriteStore};

/// Takes what it is given, but for what is said of some hits.
#[derive(Clone, Default)]
struct Fake {
    got: Arc<Mutex<Vec<String>>>,
    /// What it says to the first attempts.
    says: Arc<Mutex<Vec<Outcome>>>,
    together: usize,
}

impl Sink for Fake {
    fn together(&self) -> usize {
        self.together.max(1)
    }

    fn send(&mut self, messages: &[Message]) -> Outcome {
        let mut says = self.says.lock();
        let outcome = if says.is_empty() { Outcome::Delivered } else { says.remove(0) };
        if outcome == Outcome::Delivered {
            let id = |message: &Message| message.id().rsplit('/').next().unwrap().to_owned();
            self.got.lock().extend(messages.iter().map(id));
        }
        outcome
    }
}

struct Ground {
    folder: tempfile::TempDir,
    store: Arc<SledStore>,
}

impl Ground {
    fn new(hits: u64) -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SledStore::open(&folder.path().join("ledger"), &Options::default()).unwrap());
        let ground = Ground { folder, store };
        ground.add(0..hits);
        ground
    }

    fn add(&self, numbers: std::ops::Range<u64>) {
        let sensor = self.store.sensor("lan").unwrap();
        let hit = |number: u64| NewHit {
            rrname: Name::parse(&format!("h{number:05}.example")).unwrap(),
            indicator: b"x".to_vec(),
            address: None,
            sensor,
            time: 7,
            note: format!(
                "{{\"f\":[\"{}\"],\"l\":1}}",
                if number.is_multiple_of(2) { "even" } else { "odd" }
            )
            .into_bytes(),
        };
        self.store.keep_hits(&numbers.map(hit).collect::<Vec<_>>()).unwrap();
    }

    /// Delivers what is there; whether all of it is settled, how it went, and the dead letters.
    fn deliver(&self, fake: &Fake, change: impl Fn(&mut OutletConfig)) -> (bool, Delivering, String) {
        let mut config = OutletConfig {
            name: "soar".to_owned(),
            target: Target::Webhook("http://127.0.0.1:9/".to_owned()),
            key_file: None,
            ca: None,
            feeds: Vec::new(),
            per_hour: 1000,
            timeout: Duration::from_secs(1),
            give_up_after: Duration::from_secs(3600),
            history: true,
        };
        change(&mut config);
        let data = self.folder.path();
        let folder = OutletFolder::take(data).unwrap();
        let source = HitSource::Ledger(self.store.clone());
        let delivery =
            Delivery::with(Box::new(fake.clone()), config, source, &folder, Stop::new(), true).unwrap();
        let told = delivery.told();
        let all = delivery.run().unwrap();
        let dead = std::fs::read_to_string(data.join("deliver/soar.dead")).unwrap_or_default();
        let told = told.lock().clone();
        (all, told, dead)
    }
}

fn failed() -> Outcome {
    Outcome::failed("no")
}

#[test]
fn each_hit_goes_out_in_its_turn_until_it_is_settled_and_not_again() {
    let ground = Ground::new(5);
    let says = [failed(), Outcome::Delivered, Outcome::Refused("never".to_owned()), failed()];
    let fake = Fake { says: Arc::new(Mutex::new(says.into())), ..Fake::default() };
    let (all, told, dead) = ground.deliver(&fake, |_| {});
    assert!(all);
    assert_eq!(*fake.got.lock(), ["1", "3", "4", "5"]);
    assert_eq!((told.delivered, told.refused, told.failures, told.waiting), (4, 1, 2, 0));
    assert!(dead.lines().count() == 1 && dead.contains("h00001.example") && dead.contains("never"), "{dead}");
    // Who comes again has all of it, and is told of what is new.
    ground.add(5..7);
    assert_eq!(ground.deliver(&fake, |_| {}).1.delivered, 2);
    assert_eq!(*fake.got.lock(), ["1", "3", "4", "5", "6", "7"]);
}

#[test]
fn what_does_not_answer_keeps_its_hits_and_gives_up_those_that_are_too_old() {
    let ground = Ground::new(3);
    let fake = Fake { says: Arc::new(Mutex::new(vec![failed(); 3])), ..Fake::default() };
    let (all, told, dead) = ground.deliver(&fake, |_| {});
    assert!(!all && fake.got.lock().is_empty() && dead.is_empty());
    assert_eq!((told.waiting, told.failures, told.error.as_str()), (3, 3, "no"));
    assert!(told.failing_since > 0);
    // It has failed for longer than hits of an hour ago may wait.
    let state = ground.folder.path().join("deliver/soar.json");
    let kept = std::fs::read_to_string(&state).unwrap();
    let kept = kept.replace(&format!("\"failing_since\":{}", told.failing_since), "\"failing_since\":7");
    std::fs::write(&state, kept).unwrap();
    let young = Fake { says: Arc::new(Mutex::new(vec![failed()])), ..Fake::default() };
    let (all, told, dead) = ground.deliver(&young, |_| {});
    assert!(all && told.delivered == 3 && dead.is_empty(), "they are young");
    let ground = Ground::new(3);
    let fake = Fake { says: Arc::new(Mutex::new(vec![failed(); 1])), ..Fake::default() };
    let give_up = |config: &mut OutletConfig| config.give_up_after = Duration::ZERO;
    let (all, told, dead) = ground.deliver(&fake, give_up);
    assert!(all && fake.got.lock().is_empty());
    assert_eq!((told.refused, dead.lines().count()), (3, 3));
    assert!(dead.contains("given up: no"), "{dead}");
}

#[test]
fn a_key_that_is_not_taken_makes_no_dead_letters_and_a_hit_that_is_barred_alone_holds_up_none() {
    let barred = || Outcome::Barred { why: "403: no".to_owned(), retry_after: None };
    let fake = |says: &[Outcome]| Fake { says: Arc::new(Mutex::new(says.into())), ..Fake::default() };
    // Everything is barred, and then it is mended.
    let ground = Ground::new(3);
    let all_barred = vec![barred(); 4];
    let (all, told, dead) = ground.deliver(&fake(&all_barred), |_| {});
    assert!(!all && dead.is_empty(), "{dead}");
    assert_eq!((told.waiting, told.failures, told.refused, told.error.as_str()), (3, 3, 0, "403: no"));
    let mended = fake(&[barred(), barred()]);
    let (all, told, dead) = ground.deliver(&mended, |_| {});
    assert!(all && dead.is_empty(), "{dead}");
    assert_eq!((told.delivered, mended.got.lock().join(" ").as_str()), (3, "1 2 3"));
    // One alone is barred: the one behind it is taken.
    let ground = Ground::new(3);
    let one = fake(&[barred(), barred(), barred(), Outcome::Delivered, barred()]);
    let (all, told, dead) = ground.deliver(&one, |_| {});
    assert!(all && dead.lines().count() == 1 && dead.contains("h00000.example"), "{dead}");
    assert_eq!((told.delivered, told.refused, one.got.lock().join(" ").as_str()), (2, 1, "2 2 3"));
    // It was mended between the two.
    let ground = Ground::new(2);
    let just_now = fake(&[barred(), barred(), barred(), Outcome::Delivered, Outcome::Delivered]);
    let (_, told, dead) = ground.deliver(&just_now, |_| {});
    assert_eq!((told.refused, dead.as_str()), (0, ""));
    // None is behind it: it waits.
    let ground = Ground::new(1);
    let (all, _, dead) = ground.deliver(&fake(&all_barred), |_| {});
    assert!(!all && dead.is_empty(), "{dead}");
}

#[test]
fn what_is_beyond_an_hour_is_summed_and_what_is_not_wanted_is_passed_over() {
    let ground = Ground::new(30);
    let fake = Fake { together: 4, ..Fake::default() };
    let (all, told, _) = ground.deliver(&fake, |config| config.per_hour = 6);
    assert!(all);
    assert_eq!(*fake.got.lock(), ["1", "2", "3", "4", "5", "6", "7-30"]);
    assert_eq!((told.delivered, told.summed), (6, 24));
    // The hour is remembered when it is started again.
    ground.add(30..32);
    ground.deliver(&fake, |config| config.per_hour = 6);
    assert_eq!(fake.got.lock().last().unwrap(), "31-32");

    let (ground, fake) = (Ground::new(6), Fake::default());
    let only = |config: &mut OutletConfig| config.feeds = vec!["odd".to_owned()];
    let (all, told, _) = ground.deliver(&fake, only);
    assert_eq!((all, told.delivered, told.after, told.waiting), (true, 3, 6, 0));
    assert_eq!(*fake.got.lock(), ["2", "4", "6"]);
}

#[test]
fn a_new_outlet_may_begin_with_the_next_hit_and_another_ledger_begins_anew() {
    let (ground, fake) = (Ground::new(3), Fake::default());
    let no_history = |config: &mut OutletConfig| config.history = false;
    ground.deliver(&fake, no_history);
    ground.add(3..5);
    ground.deliver(&fake, no_history);
    assert_eq!(*fake.got.lock(), ["4", "5"]);
    // Another ledger beside the cursor of this one: its numbers mean other hits.
    let other = Ground::new(2);
    let cursor = std::fs::read(ground.folder.path().join("deliver/soar.json")).unwrap();
    std::fs::create_dir_all(other.folder.path().join("deliver")).unwrap();
    std::fs::write(other.folder.path().join("deliver/soar.json"), cursor).unwrap();
    fake.got.lock().clear();
    other.deliver(&fake, no_history);
    assert_eq!(*fake.got.lock(), ["1", "2"]);
}

#[test]
fn no_more_than_a_hundred_a_second_go_out() {
    let (ground, fake) = (Ground::new(60), Fake { together: 30, ..Fake::default() });
    let begun = std::time::Instant::now();
    ground.deliver(&fake, |_| {});
    // Ten may come at once, and the last thirty are on their way when the thirty before have had their time.
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(fake.got.lock().len(), 60);
}
