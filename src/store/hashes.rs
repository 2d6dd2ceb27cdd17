//! Hashes of a sealed tree, as proofs want them. Reading only.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    time::Duration,
};

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    Fault,
    link::answered,
    seals::{act_leaf, batch_leaf, signed},
};
use crate::ledger::{Hash, Subtree, root_of_complete};

/// Leaves between two that are wanted, up to which they are fetched along: a query more takes longer.
const ALONG: u64 = 256;

/// The hashes of these complete subtrees of a tree, as far as they are stored; each query may take that long.
pub(super) async fn hashes(
    connection: &mut PgConnection,
    patience: Duration,
    epoch: i32,
    subtrees: impl Iterator<Item = Subtree>,
) -> Result<HashMap<Subtree, Hash>, Fault> {
    let wanted: Vec<_> = subtrees.map(|subtree| (subtree, subtree.stored())).collect();
    let of_leaves = wanted.iter().filter(|(_, (level, _))| *level == 0);
    let mut found = BTreeMap::new();
    for indexes in runs(of_leaves.map(|(_, (_, indexes))| indexes.clone()).collect()) {
        let leaves = answered(patience, leaves(connection, epoch, indexes)).await?;
        found.extend(leaves.into_iter().map(|(index, hash)| ((0, index), hash)));
    }
    let above: Vec<_> =
        wanted.iter().map(|(_, stored)| stored.clone()).filter(|(level, _)| *level > 0).collect();
    if !above.is_empty() {
        found.extend(answered(patience, nodes(connection, epoch, &above)).await?);
    }
    let of_subtree = |(subtree, (level, indexes)): (Subtree, (u8, Range<u64>))| {
        let below: Option<Vec<_>> =
            indexes.map(|index| found.get(&(level, index)).copied()).collect();
        Some((subtree, root_of_complete(&below?)?))
    };
    Ok(wanted.into_iter().filter_map(of_subtree).collect())
}

/// They in order, those as one that lie close to each other.
fn runs(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut runs: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match runs.last_mut() {
            Some(last) if range.start.saturating_sub(last.end) <= ALONG => {
                last.end = last.end.max(range.end);
            }
            _ => runs.push(range),
        }
    }
    runs
}

/// Nodes of these levels and indexes, by both, as far as they are there.
async fn nodes(
    connection: &mut PgConnection,
    epoch: i32,
    wanted: &[(u8, Range<u64>)],
) -> Result<Vec<((u8, u64), Hash)>, sqlx::Error> {
    let levels: Vec<_> = wanted.iter().map(|(level, _)| i16::from(*level)).collect();
    let starts: Vec<_> = wanted.iter().map(|(_, indexes)| signed(indexes.start)).collect();
    let ends: Vec<_> = wanted.iter().map(|(_, indexes)| signed(indexes.end)).collect();
    // By the key, whatever the planner guesses of lists: a subquery with an offset is looked up for each.
    let rows: Vec<(i16, i64, Hash)> = sqlx::query_as(
        "select n.level, n.index, n.hash
           from unnest($2::smallint[], $3::bigint[], $4::bigint[]) as w (level, lo, hi)
          cross join lateral (
                select n.level, n.index, n.hash from audit.nodes n
                 where n.epoch = $1 and n.level = w.level and n.index >= w.lo and n.index < w.hi
                offset 0) n",
    )
    .bind(epoch)
    .bind(levels)
    .bind(starts)
    .bind(ends)
    .fetch_all(connection)
    .await?;
    let node = |(level, index, hash): (i16, i64, Hash)| {
        Some(((u8::try_from(level).ok()?, index.unsigned_abs()), hash))
    };
    Ok(rows.into_iter().filter_map(node).collect())
}

/// Leaves of a tree by their indexes, from the batches and acts that they are of, as far as those are there.
async fn leaves(
    connection: &mut PgConnection,
    epoch: i32,
    indexes: Range<u64>,
) -> Result<Vec<(u64, Hash)>, sqlx::Error> {
    let rows = sqlx::query(
        "with entries as (
             select s.tree_from + sum(u.leaves) over (partition by s.number order by u.position, u.place, u.id)::bigint - u.leaves as first,
                    u.*
               from audit.seals s
              cross join lateral (
                    select a.position, 0 as place, a.id, null::bigint as number, 1 as leaves from audit.acts a
                     where a.position >= s.position_from and a.position < s.position_to
                    union all
                    select b.position, 1, b.lane, b.number, 1 + coalesce(octet_length(b.leaves), 0) / 32 from audit.batches b
                     where b.position >= s.position_from and b.position < s.position_to) u
              where s.epoch = $1 and s.tree_size > $2 and s.tree_from < $3
                and s.tree_size <= (select min(l.tree_size) from audit.seals l where l.epoch = $1 and l.tree_size >= $3))
         select e.first, e.id, e.position, coalesce(a.at, b.committed_at) as at, a.kind, a.details::text, b.number, b.first_seq,
                b.events, b.conflicts, b.duplicates, b.rejections, b.replays, b.body_bytes, b.received_from, b.received_to,
                b.previous, case when e.first >= $2 then sha256(coalesce(b.leaves, '')) end as digest,
                substring(b.leaves from (greatest($2 - e.first - 1, 0) * 32)::int4 + 1
                                   for (greatest(least($3, e.first + e.leaves) - greatest($2, e.first + 1), 0) * 32)::int4) as leaves
           from entries e
           left join audit.acts a on a.id = e.id and e.number is null
           left join audit.batches b on b.lane = e.id and b.number = e.number
          where e.first < $3 and e.first + e.leaves > $2
          order by e.first",
    )
    .bind(epoch)
    .bind(signed(indexes.start))
    .bind(signed(indexes.end))
    .fetch_all(connection)
    .await?;
    let mut leaves = Vec::new();
    for row in &rows {
        of_entry(row, &indexes, &mut leaves)?;
    }
    Ok(leaves)
}

fn of_entry(
    row: &PgRow,
    indexes: &Range<u64>,
    leaves: &mut Vec<(u64, Hash)>,
) -> Result<(), sqlx::Error> {
    let own = row.try_get::<i64, _>("first")?.unsigned_abs();
    if row.try_get::<Option<i64>, _>("number")?.is_none() {
        leaves.push((own, act_leaf(row)?));
        return Ok(());
    }
    if indexes.contains(&own) {
        leaves.push((own, batch_leaf(row, row.try_get("digest")?)?));
    }
    let of_events = row.try_get::<Option<&[u8]>, _>("leaves")?.unwrap_or_default();
    let first = indexes.start.max(own + 1);
    leaves.extend((first..).zip(of_events.as_chunks().0.iter().copied()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_is_one_run() {
        let ends = |of| runs(of).into_iter().map(|run| (run.start, run.end)).collect::<Vec<_>>();
        let far = 5 + ALONG;
        assert_eq!(ends(vec![3..4, 4..5, 0..2]), [(0, 5)]);
        assert_eq!(runs(vec![far + 1..far + 2, 0..5]), [0..5, far + 1..far + 2]);
        assert_eq!(ends(vec![far..far + 2, 0..5]), [(0, far + 2)]);
        assert_eq!(runs(vec![]), []);
    }
}
