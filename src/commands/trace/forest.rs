//! The steps of a trace as trees: each below one that it follows from.

use std::collections::HashMap;

use time::Duration;

use crate::store::TraceStep as Step;

/// Steps in the order of trees.
pub struct Forest<'a> {
    pub steps: &'a [Step],
    /// The steps below each step, by place.
    below: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

/// A step where it stands in a tree.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its place among the steps.
    pub step: usize,
    /// The place of the step above, if it is not the root.
    pub above: Option<usize>,
    /// How it hangs there.
    pub hangs: Hangs,
    /// For each branch from the root on that it is on, whether others follow below it.
    pub open: Vec<bool>,
}

/// How a step hangs below another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hangs {
    /// Not at all.
    Root,
    /// It is the only one.
    Alone,
    /// There are others, and it is the last one or not.
    Branch { last: bool },
}

/// Branches that are told apart; those nearer to the root are left out.
const BRANCHES: usize = 60;

impl<'a> Forest<'a> {
    pub fn of(steps: &'a [Step]) -> Forest<'a> {
        let mut places = HashMap::new();
        for (place, step) in steps.iter().enumerate() {
            if let Some(id) = &step.id {
                places.entry(id.as_str()).or_insert(place);
            }
        }
        let above = |step: &Step| step.parent.as_deref().and_then(|id| places.get(id)).copied();
        let mut below = vec![Vec::new(); steps.len()];
        let mut roots = Vec::new();
        for (place, step) in steps.iter().enumerate() {
            match above(step) {
                Some(above) if above != place => below[above].push(place),
                _ => roots.push(place),
            }
        }
        for siblings in &mut below {
            siblings.sort_by_key(|&place| (steps[place].received_at, steps[place].seq));
        }
        Forest { steps, below, roots }
    }

    /// Each step once, those that others follow from first. In a circle somebody has to begin.
    pub fn walk(&self) -> Vec<Standing> {
        let mut order = Vec::with_capacity(self.steps.len());
        let mut seen = vec![false; self.steps.len()];
        for root in self.roots.iter().copied().chain(0..self.steps.len()) {
            let mut waiting =
                vec![Standing { step: root, above: None, hangs: Hangs::Root, open: Vec::new() }];
            while let Some(standing) = waiting.pop() {
                if std::mem::replace(&mut seen[standing.step], true) {
                    continue;
                }
                let below = &self.below[standing.step];
                let below: Vec<_> = below.iter().copied().filter(|&step| !seen[step]).collect();
                for (n, &step) in below.iter().enumerate().rev() {
                    let mut open = standing.open.clone();
                    let hangs = if below.len() == 1 {
                        Hangs::Alone
                    } else {
                        let last = n + 1 == below.len();
                        open.push(!last);
                        Hangs::Branch { last }
                    };
                    open.drain(..open.len().saturating_sub(BRANCHES));
                    waiting.push(Standing { step, above: Some(standing.step), hangs, open });
                }
                order.push(standing);
            }
        }
        order
    }

    /// Every link between two steps: from which, to which.
    pub fn links(&self) -> Vec<(usize, usize)> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (place, step) in self.steps.iter().enumerate() {
            if let Some(id) = &step.id {
                places.entry(id).or_insert(place);
            }
        }
        let mut links = Vec::new();
        for (place, step) in self.steps.iter().enumerate() {
            for cause in step.causes.iter().flatten().chain(&step.parent) {
                if let Some(&from) = places.get(cause.as_str())
                    && !links
                        .iter()
                        .rev()
                        .take_while(|(_, to)| *to == place)
                        .any(|(known, _)| *known == from)
                {
                    links.push((from, place));
                }
            }
        }
        links
    }

    /// How much later than one step another was received.
    pub fn between(&self, from: usize, to: usize) -> Option<Duration> {
        Some(self.steps[to].received_at? - self.steps[from].received_at?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(links: &[(&str, Option<&str>)]) -> Vec<Step> {
        let step = |(id, parent): &(&str, Option<&str>)| Step {
            depth: 0,
            id: Some((*id).to_owned()),
            parent: parent.map(str::to_owned),
            seq: None,
            received_at: None,
            event_time: None,
            event_type: None,
            source: None,
            routing_key: None,
            causes: parent.map(|parent| vec![parent.to_owned()]),
            copies: 1,
            missing: false,
        };
        links.iter().map(step).collect()
    }

    fn walked(links: &[(&str, Option<&str>)]) -> Vec<(usize, Hangs, Vec<bool>)> {
        let steps = steps(links);
        let walk = Forest::of(&steps).walk();
        walk.into_iter().map(|standing| (standing.step, standing.hangs, standing.open)).collect()
    }

    #[test]
    fn branches_are_indented_and_chains_are_not() {
        let last = |last| Hangs::Branch { last };
        assert_eq!(
            walked(&[
                ("a", None),
                ("b", Some("a")),
                ("c", Some("b")),
                ("d", Some("b")),
                ("e", Some("c"))
            ]),
            [
                (0, Hangs::Root, vec![]),
                (1, Hangs::Alone, vec![]),
                (2, last(false), vec![true]),
                (4, Hangs::Alone, vec![true]),
                (3, last(true), vec![false]),
            ]
        );
    }

    #[test]
    fn each_step_stands_once_also_in_circles() {
        let all =
            walked(&[("a", Some("b")), ("b", Some("a")), ("c", Some("c")), ("d", Some("gone"))]);
        let mut steps: Vec<_> = all.iter().map(|(step, ..)| *step).collect();
        steps.sort_unstable();
        assert_eq!(steps, [0, 1, 2, 3]);
    }

    #[test]
    fn a_long_chain_and_a_deep_comb_take_neither_stack_nor_width() {
        let names: Vec<_> = (0..10_000).map(|n| n.to_string()).collect();
        let chain: Vec<_> = (0..10_000)
            .map(|n: usize| (&*names[n], n.checked_sub(1).map(|n| &*names[n])))
            .collect();
        assert_eq!(walked(&chain).len(), 10_000);
        let comb: Vec<_> = (0..10_000)
            .map(|n: usize| (&*names[n], n.checked_sub(1).map(|n| &*names[n / 2 * 2])))
            .collect();
        let walk = walked(&comb);
        assert_eq!(walk.len(), 10_000);
        assert!(walk.iter().all(|(_, _, open)| open.len() <= BRANCHES));
    }
}
