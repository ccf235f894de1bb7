//! Who takes part in a storm, and what of them outlives their processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use parking_lot::Mutex;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio_util::sync::CancellationToken;
use turmoil::Sim;

use crate::clock::HostClock;
use crate::disk::Disk;
use crate::edge::Edge;
use crate::gateway::Gateway;
use crate::operator::Operator;
use crate::plan::{EdgePlan, OPERATOR, Plan};
use crate::region::Region;
use crate::subscriber::Subscriber;
use crate::truth::Truth;

/// All who take part, by the names of their hosts.
pub(crate) struct Cast {
    pub(crate) regions: BTreeMap<String, Arc<Region>>,
    pub(crate) gateways: BTreeMap<String, Arc<Gateway>>,
    pub(crate) edges: BTreeMap<String, Arc<Edge>>,
    pub(crate) subscribers: Vec<Arc<Subscriber>>,
    pub(crate) operator: Arc<Operator>,
    /// The cameras see nothing more, and nobody goes away any more.
    pub(crate) calm: CancellationToken,
    /// All has arrived.
    pub(crate) arrived: CancellationToken,
}

impl Cast {
    /// All whom the plan names, with empty disks below `disks`.
    pub(crate) fn gather(plan: &Plan, mut rng: SmallRng, disks: &Path, truth: &Arc<Truth>) -> anyhow::Result<Self> {
        let mut chance = || SmallRng::from_rng(&mut rng);
        let disk = |host: &str| Disk::new(disks, host).context("a folder for a disk");
        let (calm, arrived) = (CancellationToken::new(), CancellationToken::new());
        let region =
            |name: &String| Ok((name.clone(), Arc::new(Region::new(name.clone(), disk(name)?, chance(), truth))));
        let regions = plan.regions.iter().map(region).collect::<anyhow::Result<_>>()?;
        let gateway = |name: &String| {
            let gateway = Gateway {
                name: name.clone(),
                regions: plan.regions.clone(),
                clock: HostClock::wrong_by(0),
                disk: disk(name)?,
                token_key: disks.join("gateways.key"),
                truth: truth.clone(),
            };
            Ok((name.clone(), Arc::new(gateway)))
        };
        let gateways = plan.gateways.iter().map(gateway).collect::<anyhow::Result<_>>()?;
        let edge = |(number, EdgePlan { name, region, wrong_by_s }): (u64, &EdgePlan)| {
            let edge = Edge {
                name: name.clone(),
                number,
                region: region.clone(),
                clock: HostClock::wrong_by(wrong_by_s * 1_000_000),
                disk: disk(name)?,
                truth: truth.clone(),
                made: Mutex::new((0, chance())),
                calm: calm.clone(),
                backlog: Mutex::new(None),
            };
            Ok((name.clone(), Arc::new(edge)))
        };
        let edges = (0..).zip(&plan.edges).map(edge).collect::<anyhow::Result<_>>()?;
        let subscribers = plan.subscribers.iter().map(|planned| {
            Arc::new(Subscriber {
                name: planned.name.clone(),
                servers: planned.region.clone().map_or_else(|| plan.gateways.clone(), |region| vec![region]),
                region: planned.region.clone(),
                class: planned.class,
                truth: truth.clone(),
                rng: Mutex::new(chance()),
                calm: calm.clone(),
                given: Mutex::default(),
            })
        });
        let subscribers = subscribers.collect();
        let operator = Arc::new(Operator {
            name: OPERATOR.to_owned(),
            gateways: plan.gateways.clone(),
            regions: plan.regions.clone(),
            truth: truth.clone(),
            rng: Mutex::new(chance()),
            calm: arrived.clone(),
            done: CancellationToken::new(),
        });
        Ok(Self { regions, gateways, edges, subscribers, operator, calm, arrived })
    }

    /// Gives each a host; their processes start with the next step.
    pub(crate) fn enter(&self, sim: &mut Sim<'_>) {
        for region in self.regions.values().cloned() {
            sim.host(region.name.clone(), move || Arc::clone(&region).run());
        }
        for gateway in self.gateways.values().cloned() {
            sim.host(gateway.name.clone(), move || Arc::clone(&gateway).run());
        }
        for edge in self.edges.values().cloned() {
            sim.host(edge.name.clone(), move || Arc::clone(&edge).run());
        }
        for subscriber in self.subscribers.iter().cloned() {
            sim.host(subscriber.name.clone(), move || Arc::clone(&subscriber).run());
        }
        let operator = Arc::clone(&self.operator);
        sim.host(operator.name.clone(), move || Arc::clone(&operator).run());
    }

    /// The disk of a host that has one.
    pub(crate) fn disk(&self, host: &str) -> anyhow::Result<&Disk> {
        let region = self.regions.get(host).map(|region| &region.disk);
        let edge = self.edges.get(host).map(|edge| &edge.disk);
        let gateway = self.gateways.get(host).map(|gateway| &gateway.disk);
        region.or(edge).or(gateway).with_context(|| format!("{host} has no disk"))
    }

    /// What has not arrived where it is to be, for people; empty when all has.
    pub(crate) fn lacking(&self, truth: &Truth) -> String {
        let waiting = self.edges.values().filter(|edge| *edge.backlog.lock() != Some(0));
        let mut lacking: Vec<_> =
            waiting.map(|edge| format!("{} has {:?} records waiting", edge.name, *edge.backlog.lock())).collect();
        if !lacking.is_empty() {
            return lacking.join(", ");
        }
        let all = truth.all();
        for subscriber in &self.subscribers {
            let given = subscriber.given.lock();
            let mut missing =
                all.iter().filter(|(id, made)| subscriber.wants(made) && !given.contains(&(**id, made.newest())));
            if let Some((id, _)) = missing.next() {
                lacking.push(format!("{} lacks {id} and {} more events", subscriber.name, missing.count()));
            }
        }
        lacking.join(", ")
    }
}
