"""An agent as a program: it reads its topic, does its work, and publishes the result to agent_messages.

    pip install confluent-kafka
    python agent.py

Its declaration, pipelines/legal_review.sql, is a CREATE AGENT without `prompt` and `url`.
"""
import hashlib, json, os
from confluent_kafka import Consumer, Producer

NAME, TOPIC = "Legal Review Agent", "legal_review"  # `name` and `topic` of its CREATE AGENT
KAFKA = {"bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")}
consumer = Consumer(KAFKA | {"group.id": TOPIC, "auto.offset.reset": "earliest", "enable.auto.commit": False})
producer = Producer(KAFKA | {"enable.idempotence": True})
consumer.subscribe([TOPIC])


def work(message):  # yours; its first words say what the message is now: the router chooses the next agent by them
    return f"Review of a contract, finished. The contract has {len(message['context'].split())} words."


while True:
    record = consumer.poll(1.0)
    if record is None or record.error():
        continue
    message = json.loads(record.value())
    reply = {key: value for key, value in message.items() if key not in ("decision", "reason", "usage")}
    reply |= {
        # The same for the same message, so that a reply that is published twice has one id.
        "message_id": hashlib.sha256(f"{message['message_id']}|{NAME}|1".encode()).hexdigest()[:32],
        "parent_id": message["message_id"], "hop": message["hop"] + 1, "sender": NAME, "context": work(message),
    }
    reply.pop("created_at", None)  # without it, the time at which Kafka took the reply
    producer.produce("agent_messages", json.dumps(reply), key=message["workflow_id"])
    if producer.flush(30):
        raise SystemExit("the reply could not be delivered; the message is redelivered after a restart")
    consumer.commit(record)
