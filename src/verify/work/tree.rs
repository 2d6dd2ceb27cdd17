//! The tree: what each seal has appended, recomputed from the rows.

use std::{pin::Pin, sync::atomic::Ordering::Relaxed};

use futures_util::{
    Stream, StreamExt as _, TryStreamExt as _,
    stream::{self, Peekable},
};

use tokio::task::JoinSet;

use super::{CheckError, Meter, Report, Request, TreeState};
use crate::{
    store::{EpochRow, LedgerEntry, NodeRow, ReadError, SealRow, Snapshot, StatedCheckpoint, View},
    verify::{
        acts::Lawful,
        checkpoints,
        finding::{Subject, Verdict},
        given::{self, Roots},
        keys::{Checked, Keys},
        lanes::Lanes,
        progress::{OTHER_HISTORY, Progress},
        seals::{Due, Seals},
        tree::Full,
    },
};

/// What stands in the tree; streams of which the next is looked at before it is taken.
type Ahead<'a, T> = Peekable<stream::BoxStream<'a, Result<T, ReadError>>>;

fn ahead<'a, T>(stream: impl Stream<Item = Result<T, ReadError>> + Send + 'a) -> Ahead<'a, T> {
    stream.boxed().peekable()
}

/// The next one, if it is what is wanted.
async fn next_if<T>(
    stream: &mut Ahead<'_, T>,
    wanted: impl FnOnce(&T) -> bool,
) -> Result<Option<T>, ReadError> {
    match Pin::new(&mut *stream).peek().await {
        Some(Ok(next)) if !wanted(next) => Ok(None),
        None => Ok(None),
        Some(_) => stream.try_next().await,
    }
}

/// Checks it whole.
pub(super) async fn check(
    request: &Request,
    snapshot: &Snapshot,
    meter: &Meter,
    progress: &Progress,
) -> Result<(Report, Lawful), CheckError> {
    let mut view = snapshot.view().await?;
    let epochs = view.epochs().await?;
    let acts = view.key_acts().await?;
    let keys = Keys::new(&request.keys, acts.iter().map(|(details,)| &**details));
    for given in request.given.iter().filter(|_| !keys.all().is_empty()) {
        let unsigned = |why| CheckError::Unsigned { name: given.name.clone(), why };
        given.note.verified(keys.all()).map_err(unsigned)?;
    }
    let from = epochs.iter().map(|epoch| epoch.position_from).min().unwrap_or(i64::MAX);
    let lanes = Lanes::after(view.lanes_before(from).await?);
    let expired = view.expired_spans().await?;
    let strange = view.unknown_epochs().await?;
    let mut seals = Seals::new(keys, lanes, request.unsigned_before.unwrap_or(i64::MIN));
    let numbers: Vec<i32> = epochs.iter().map(|epoch| epoch.epoch).collect();
    given::without_epoch(&request.given, &numbers, &mut seals.findings);

    for (epoch, rows) in strange {
        let why = format!(
            "{rows} seal(s), node(s) and checkpoint(s) are of it, and there is no such epoch"
        );
        seals.findings.add(Verdict::Inserted, Subject::Epoch { epoch }, why);
    }
    let unsealed_after = i64::try_from(request.unsealed_after.as_micros()).unwrap_or(i64::MAX);
    let due = Due::at(snapshot.now(), unsealed_after);
    astray(&mut view, from, &mut seals).await?;
    let mut entries = ahead(view.entries(from));
    let (mut seal_view, mut node_view, mut note_view) =
        (snapshot.view().await?, snapshot.view().await?, snapshot.view().await?);
    let mut signatures = Signatures { tasks: JoinSet::new(), most: request.jobs.get() };
    let mut trees = Vec::new();
    for (place, epoch) in epochs.iter().enumerate() {
        let end = epochs.get(place + 1).map_or(i64::MAX, |next| next.position_from);
        let mut roots = Roots::of(&request.given, epoch.epoch);
        let known = progress.tree(epoch.epoch);
        known.iter().for_each(|(size, _)| roots.also(*size));
        seals.begin(epoch, roots);
        let mut stated = Stated {
            nodes: ahead(node_view.nodes(epoch.epoch)),
            notes: ahead(note_view.checkpoints(epoch.epoch)),
        };
        let mut all = ahead(seal_view.seals(epoch.epoch));
        let mut count = 0;
        while let Some(seal) = next_if(&mut all, |_| true).await? {
            let next = match Pin::new(&mut all).peek().await {
                Some(Ok(next)) => Some(next.position_from),
                _ => None,
            };
            take(&mut seals, &mut entries, &seal, next, end, &mut signatures).await?;
            let full = seals.close(&seal);
            stated.compare(&mut seals, &seal, full).await?;
            meter.leaves.store(seals.tree().size(), Relaxed);
            count += 1;
        }
        stated.leftovers(&mut seals, epoch).await?;
        while let Some(entry) = next_if(&mut entries, |entry| entry.position() < end).await? {
            seals.leave(&entry, due);
            signatures.advance(&mut seals, MANY).await?;
        }
        let (size, root) = (seals.tree().size(), seals.tree().root());
        let agreed = seals.roots.compare(&request.given, epoch.epoch, size, &mut seals.findings);
        if known.is_some_and(|(size, root)| seals.roots.at(size) != Some(root)) {
            return Err(CheckError::Differs(OTHER_HISTORY));
        }
        let (epoch, position_from) = (epoch.epoch, epoch.position_from);
        trees.push(TreeState { epoch, position_from, seals: count, size, root, agreed });
    }
    signatures.finish(&mut seals).await?;
    for epoch in epochs.iter().skip(1) {
        if !seals.lawful.epochs.contains_key(&i64::from(epoch.epoch)) {
            let subject = Subject::Epoch { epoch: epoch.epoch };
            seals.findings.add(Verdict::Inserted, subject, "no act says who has begun it");
        }
    }
    seals.conclude();
    let Seals { findings, counts, mut lawful, .. } = seals;
    lawful.keep_dropped(&expired);
    Ok((Report { findings, counts, trees, ..Report::default() }, lawful))
}

/// Names what has leaves, or allows something, and is in no tree, whatever the trees are.
async fn astray(view: &mut View, from: i64, seals: &mut Seals) -> Result<(), ReadError> {
    let mut astray = view.astray(from);
    while let Some((id, number)) = astray.try_next().await? {
        let subject = match number {
            Some(number) => Subject::Batch { lane: id, number },
            None => Subject::Act { id },
        };
        let why = "it stands where no tree can have it: before the first one begins, or nowhere";
        seals.findings.add(Verdict::Inserted, subject, why);
    }
    Ok(())
}

/// Gives a seal what it takes on: what stands before its end. Where that is not where the next one begins, the number of its
/// leaves tells which of the two is right.
async fn take(
    seals: &mut Seals,
    entries: &mut Ahead<'_, LedgerEntry>,
    seal: &SealRow,
    next: Option<i64>,
    end: i64,
    signatures: &mut Signatures,
) -> Result<(), CheckError> {
    let next = next.unwrap_or(seal.position_to);
    let (surely, perhaps) = if next == seal.position_to {
        (next, next)
    } else {
        (i64::MIN, next.max(seal.position_to))
    };
    loop {
        let size = i64::try_from(seals.tree().size()).unwrap_or(i64::MAX);
        let bound = if size < seal.tree_size { perhaps } else { surely };
        let Some(entry) = next_if(entries, |entry| entry.position() < bound.min(end)).await? else {
            return Ok(());
        };
        seals.take(&entry);
        signatures.advance(seals, MANY).await?;
    }
}

/// Signatures that are looked at together.
const MANY: usize = 1_000;

/// Signatures are looked at beside the tree: one takes as long as hundreds of leaves.
struct Signatures {
    tasks: JoinSet<Checked>,
    most: usize,
}

impl Signatures {
    /// Has those looked at that have gathered, if they are so many.
    async fn advance(&mut self, seals: &mut Seals, least: usize) -> Result<(), CheckError> {
        let Some(pending) = seals.pending(least) else { return Ok(()) };
        while self.tasks.len() >= self.most {
            self.next(seals).await?;
        }
        let keys = seals.keys().clone();
        self.tasks.spawn_blocking(move || Checked::of(&keys, pending));
        Ok(())
    }

    async fn next(&mut self, seals: &mut Seals) -> Result<(), CheckError> {
        if let Some(checked) = self.tasks.join_next().await {
            seals.checked(checked?);
        }
        Ok(())
    }

    /// Waits for all of them.
    async fn finish(mut self, seals: &mut Seals) -> Result<(), CheckError> {
        self.advance(seals, 0).await?;
        while !self.tasks.is_empty() {
            self.next(seals).await?;
        }
        Ok(())
    }
}

/// What the database states beside its seals.
struct Stated<'a> {
    nodes: Ahead<'a, NodeRow>,
    notes: Ahead<'a, StatedCheckpoint>,
}

/// When a growing tree fills a node, and its level.
fn order(node: &NodeRow) -> (i128, i64) {
    let level = node.level.clamp(0, 8);
    ((i128::from(node.index) + 1) << (8 * level), i64::from(node.level))
}

impl Stated<'_> {
    /// Compares the nodes and checkpoints up to the end of a seal.
    async fn compare(
        &mut self,
        seals: &mut Seals,
        seal: &SealRow,
        full: Option<Vec<Full>>,
    ) -> Result<(), ReadError> {
        let epoch = seal.epoch;
        let size = i128::from(seals.tree().size());
        let known = full.is_some();
        for full in full.unwrap_or_default() {
            let due = (Full::end(full.level, full.index).cast_signed(), i64::from(full.level));
            while let Some(extra) = next_if(&mut self.nodes, |node| order(node) < due).await? {
                seals.node(epoch, None, Some(parts(&extra)));
            }
            let stated = next_if(&mut self.nodes, |node| order(node) == due).await?;
            seals.node(epoch, Some(&full), stated.as_ref().map(parts));
        }
        while let Some(node) = next_if(&mut self.nodes, |node| order(node).0 <= size).await? {
            // Of a seal whose leaves are not as they were the nodes cannot be told.
            if known {
                seals.node(epoch, None, Some(parts(&node)));
            }
        }
        while let Some(note) =
            next_if(&mut self.notes, |note| i128::from(note.tree_size) <= size).await?
        {
            let root = (i128::from(note.tree_size) == size).then(|| seals.tree().root());
            checkpoints::compare(seals, &note, root);
        }
        Ok(())
    }

    /// What is left belongs to no seal.
    async fn leftovers(&mut self, seals: &mut Seals, epoch: &EpochRow) -> Result<(), ReadError> {
        while let Some(node) = next_if(&mut self.nodes, |_| true).await? {
            seals.node(epoch.epoch, None, Some(parts(&node)));
        }
        while let Some(note) = next_if(&mut self.notes, |_| true).await? {
            checkpoints::compare(seals, &note, None);
        }
        Ok(())
    }
}

fn parts(node: &NodeRow) -> (i64, i64, &[u8]) {
    (i64::from(node.level), node.index, &node.hash)
}
