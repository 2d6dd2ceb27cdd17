//! `--follow`: new events as they commit.

use std::time::Duration;

use super::{
    super::terminal::{Output, Paging},
    Column, Filter, Format,
    write::Shape,
};
use crate::store::{Follower, Row, Selection};

/// How long nobody asks again where there was nothing new.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes what matches as it commits, until as many as the selection's limit were written; without one, for ever.
pub async fn follow(
    follower: &mut Follower,
    filter: &Filter,
    selection: Selection,
    format: Format,
    columns: Vec<Column>,
) -> anyhow::Result<()> {
    let mut out = Output::open(Paging::Never);
    let mut shape = Shape::new(format, columns, &out).following();
    let mut left = selection.limit;
    while left != Some(0) {
        let each = |row: &Row| -> anyhow::Result<()> {
            if left != Some(0) {
                shape.row(&mut out, row)?;
                left = left.map(|left| left - 1);
            }
            Ok(())
        };
        let any = follower.next(filter, selection.bodies, selection.body_bytes, each).await?;
        shape.show(&mut out)?;
        if !any {
            tokio::time::sleep(PAUSE).await;
        }
    }
    shape.end(&mut out)?;
    Ok(out.close()?)
}
