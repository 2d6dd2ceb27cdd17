"""The consumer that a user would otherwise write, tuned: batches of what has come, one COPY each, one ack each.

Arguments: AMQP URL, PostgreSQL URL, queue, events. Prints one line when all of them are stored and acknowledged.
"""

import asyncio
import datetime
import json
import sys
import uuid

import aiormq
import asyncpg
import orjson
import uvloop

PREFETCH = 2000
MOST = 1000
COLUMNS = ["event_id", "event_type", "event_time", "received_at", "routing_key", "message_id", "payload"]


async def main(amqp, database, queue, events):
    store = await asyncpg.connect(database)
    connection = await aiormq.connect(amqp)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=PREFETCH)
    arrived = []
    there_is_some = asyncio.Event()

    async def receive(message):
        arrived.append(message)
        there_is_some.set()

    await channel.basic_consume(queue, receive)
    stored = 0
    while stored < events:
        await there_is_some.wait()
        batch = arrived[:MOST]
        del arrived[:MOST]
        if not arrived:
            there_is_some.clear()
        await store.copy_records_to_table("history", records=map(row, batch), columns=COLUMNS)
        await channel.basic_ack(batch[-1].delivery.delivery_tag, multiple=True)
        stored += len(batch)
    await connection.close()
    print(json.dumps({"stored": stored}), flush=True)
    sys.stdin.read()


def row(message):
    event = orjson.loads(message.body)
    return (
        uuid.UUID(event["event_id"]),
        event["event_type"],
        datetime.datetime.fromisoformat(event["timestamp"]),
        datetime.datetime.now(datetime.timezone.utc),
        message.delivery.routing_key,
        message.header.properties.message_id,
        message.body,
    )


uvloop.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
