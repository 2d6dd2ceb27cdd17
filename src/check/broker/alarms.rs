//! Alarms in force: the broker reads nothing from whoever publishes.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    super::{Setup, finding::Finding},
    AREA,
    permissions::grant,
};
use crate::broker::{Alarm, Alarms};

/// Listens for as long as a connection may take to come about.
pub async fn check(setup: &Setup) -> Finding {
    let never = CancellationToken::new();
    let mut alarms = Alarms::for_publisher(&setup.broker, never.clone());
    let limit = setup.broker.connect_timeout;
    let heard = timeout(limit, alarms.change(&never)).await;
    // Nothing depends on how it ends.
    let _ = timeout(limit, alarms.close()).await;
    match heard {
        Ok(Some(Alarm::Over)) => Finding::ok(AREA, "alarms", "none, publishers are let through"),
        Ok(Some(Alarm::Raised { cause })) => Finding::fault(
            AREA,
            "alarms",
            format!("the broker holds up publishers: {cause}; the bus stands still"),
        )
        .advise("give the broker memory or disk, or its limits; on the broker:")
        .command("rabbitmq-diagnostics alarms")
        .command("rabbitmq-diagnostics memory_breakdown"),
        Ok(Some(Alarm::Unheard { why })) => {
            let found = format!("the daemon would hear of none: {why}");
            grant(Finding::warning(AREA, "alarms", found).advise("on the broker:"), setup)
        }
        Ok(None) | Err(_) => Finding::unknown(AREA, "alarms", "the broker did not answer in time")
            .command("rabbitmq-diagnostics alarms"),
    }
}
