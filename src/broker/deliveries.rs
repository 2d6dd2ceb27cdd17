//! The deliveries of a session: one consumer after the other, each with its own prefetch.

use std::{collections::VecDeque, future::Future, pin::Pin};

use amqprs::channel::{
    BasicCancelArguments, BasicConsumeArguments, BasicQosArguments, Channel, ConsumerMessage,
};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::sync::CancellationToken;

use super::{Ending, Fault, Source, convert};
use crate::event::{Delivery, DeliveryTag, now};

/// A consumer of the queue.
pub(super) struct Consumer {
    tag: String,
    /// Has no bound but the prefetch.
    messages: UnboundedReceiver<ConsumerMessage>,
}

impl Consumer {
    /// The prefetch of a consumer is what was set on its channel when it was started; the broker takes no notice of a
    /// later change.
    pub async fn start(
        channel: &Channel,
        queue: &str,
        prefetch: u16,
        ending: &Ending,
    ) -> Result<Consumer, Fault> {
        channel
            .basic_qos(BasicQosArguments::new(0, prefetch, false))
            .await
            .map_err(|error| Fault::of_call("setting the prefetch", ending, &error))?;
        // An empty tag: the broker makes one.
        let (tag, messages) = channel
            .basic_consume_rx(BasicConsumeArguments::new(queue, ""))
            .await
            .map_err(|error| {
                Fault::of_call(&format!("consuming from the queue '{queue}'"), ending, &error)
            })?;
        Ok(Consumer { tag, messages })
    }
}

/// A change from one consumer to the next, or to none, under way.
type Change = Pin<Box<dyn Future<Output = Result<Option<Consumer>, Fault>> + Send>>;

/// The session's deliveries.
pub struct Deliveries {
    channel: Channel,
    queue: String,
    /// The present consumer.
    tag: String,
    /// What consumers were handed, in order; the last one's is that of the present consumer.
    received: VecDeque<UnboundedReceiver<ConsumerMessage>>,
    /// Whether there should be another prefetch, or (none) no consumer.
    wanted: Option<Option<u16>>,
    /// Driven by [`Source::next`]: the client breaks when it is asked for something and then not listened to, and what
    /// comes meanwhile has to be counted.
    change: Option<Change>,
    /// The last delivery's tag; tags have no gaps.
    last: DeliveryTag,
    ending: Ending,
    ended: CancellationToken,
}

impl Deliveries {
    pub(super) fn new(
        consumer: Consumer,
        channel: Channel,
        queue: String,
        ending: Ending,
        ended: CancellationToken,
    ) -> Deliveries {
        Deliveries {
            channel,
            queue,
            tag: consumer.tag,
            received: [consumer.messages].into(),
            wanted: None,
            change: None,
            last: 0,
            ending,
            ended,
        }
    }

    /// Begins the change that is wanted, unless another one is under way.
    fn begin_change(&mut self) {
        if self.change.is_none()
            && let Some(prefetch) = self.wanted.take()
        {
            self.change = Some(self.changing_to(prefetch));
        }
    }

    fn changing_to(&self, prefetch: Option<u16>) -> Change {
        let (channel, queue) = (self.channel.clone(), self.queue.clone());
        let (tag, ending) = (self.tag.clone(), self.ending.clone());
        Box::pin(async move {
            let cancelled = channel.basic_cancel(BasicCancelArguments::new(&tag)).await;
            cancelled
                .map_err(|error| Fault::of_call("cancelling the consumer", &ending, &error))?;
            match prefetch {
                Some(prefetch) => {
                    Consumer::start(&channel, &queue, prefetch, &ending).await.map(Some)
                }
                None => Ok(None),
            }
        })
    }

    fn end_change(&mut self, outcome: Result<Option<Consumer>, Fault>) {
        self.change = None;
        match outcome {
            Ok(Some(consumer)) => {
                self.tag = consumer.tag;
                self.received.push_back(consumer.messages);
            }
            Ok(None) => {}
            // Nothing more need be read either: what is unacknowledged stays with the broker.
            Err(fault) => {
                self.ending.note(0, fault.message);
                self.wanted = None;
                self.received.clear();
            }
        }
    }

    fn convert(&mut self, message: ConsumerMessage) -> Option<Delivery> {
        let (Some(deliver), Some(properties), Some(mut body)) =
            (message.deliver, message.basic_properties, message.content)
        else {
            // The client fills all three. Passed over, it would be acknowledged with those after it.
            self.ending.note(0, "the AMQP client handed out half a message");
            return None;
        };
        // Nor can one be left out that the client mislaid, as it does with those of a consumer it does not know.
        let (tag, expected) = (deliver.delivery_tag(), self.last + 1);
        if tag != expected {
            let said =
                format!("the AMQP client hands out delivery {tag} where {expected} should be");
            self.ending.note(0, said);
            return None;
        }
        self.last = tag;
        // The client lets it grow by doubling; what is in hand is counted by length.
        body.shrink_to_fit();
        Some(Delivery {
            tag,
            redelivered: deliver.redelivered(),
            exchange: deliver.exchange().clone(),
            routing_key: deliver.routing_key().clone(),
            properties: convert::properties(&properties),
            body,
            received_at: now(),
        })
    }
}

async fn receive(from: Option<&mut UnboundedReceiver<ConsumerMessage>>) -> Option<ConsumerMessage> {
    from?.recv().await
}

async fn finish(change: Option<&mut Change>) -> Result<Option<Consumer>, Fault> {
    match change {
        Some(change) => change.await,
        None => Ok(None),
    }
}

impl Source for Deliveries {
    async fn next(&mut self) -> Option<Delivery> {
        loop {
            self.begin_change();
            tokio::select! {
                biased;
                message = receive(self.received.front_mut()), if !self.received.is_empty() => match message {
                    Some(message) => return self.convert(message),
                    None => drop(self.received.pop_front()),
                },
                outcome = finish(self.change.as_mut()), if self.change.is_some() => self.end_change(outcome),
                else => return None,
            }
        }
    }

    fn resize(&mut self, prefetch: u16) {
        self.wanted = Some(Some(prefetch));
    }

    async fn resized(&mut self) {
        self.begin_change();
        while let Some(change) = self.change.as_mut() {
            let outcome = change.await;
            self.end_change(outcome);
            self.begin_change();
        }
    }

    fn cancel(&mut self) {
        self.wanted = Some(None);
    }

    fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    fn ending(&self) -> String {
        self.ending.to_string()
    }
}
