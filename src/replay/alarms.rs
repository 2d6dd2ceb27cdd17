//! The broker's alarms, for whoever waits for its confirms.

use tokio_util::sync::CancellationToken;

use crate::broker::{self, Alarm, Alarms};

/// Says when the broker has an alarm, under which it takes nothing, and when that is over; until `ended`.
pub async fn say_alarms(say: impl Fn(&str), broker: &broker::Settings, ended: &CancellationToken) {
    let mut alarms = Alarms::for_publisher(broker, ended.clone());
    let mut raised = false;
    while let Some(alarm) = alarms.change(ended).await {
        match alarm {
            Alarm::Raised { cause } => {
                raised = true;
                say(&format!(
                    "the broker has an alarm ({cause}) and takes nothing until that is over; waiting"
                ));
            }
            Alarm::Over if raised => {
                raised = false;
                say("the broker's alarm is over");
            }
            Alarm::Over | Alarm::Unheard { .. } => {}
        }
    }
    alarms.close().await;
}
