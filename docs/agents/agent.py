"""An agent of your own: takes messages from its topic, does its work, and publishes the result to agent_messages.

    pip install confluent-kafka
    python agent.py
"""
import hashlib, json, os
from confluent_kafka import Consumer, Producer

NAME, TOPIC = "Lead Ingestion Agent", "lead_ingestion"  # its row in sql/agents.sql, and its topic
kafka = {"bootstrap.servers": os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")}
GROUP = "ingest_leads"  # of the pipeline whose place it takes (stop that first): it goes on where that one stopped
consumer = Consumer(kafka | {"group.id": GROUP, "auto.offset.reset": "earliest", "enable.auto.commit": False})
producer = Producer(kafka | {"enable.idempotence": True})
consumer.subscribe([TOPIC])

def work(lead):  # yours; it says first what the message is now, because the next agent is chosen by that
    return ("Research report on a lead, with findings on the person and the company. The lead has no score yet. "
            f"{lead.get('company_name') or 'The company'} is worth a call.")

while True:
    record = consumer.poll(1.0)
    if record is None or record.error():
        continue
    message = json.loads(record.value())
    message_id = hashlib.sha256(f"{message['message_id']}|{NAME}|1".encode()).hexdigest()[:32]  # the same when repeated
    reply = {"message_id": message_id, "workflow_id": message["workflow_id"], "parent_id": message["message_id"],
             "hop": message["hop"] + 1, "sender": NAME, "lead_data": message["lead_data"],
             "context": work(message["lead_data"])}
    producer.produce("agent_messages", json.dumps(reply), key=message["workflow_id"])
    if producer.flush(30):
        raise SystemExit("the reply could not be delivered; it is made again at the next start")
    consumer.commit(record)
