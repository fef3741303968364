package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Writes agent_messages; reads what comes out, and checks that each message is where it belongs. */
final class Load implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String topics;
    private final boolean checked;
    private final KafkaProducer<String, String> producer;
    private final KafkaConsumer<String, String> consumer;
    private final Thread reader = new Thread(this::read);
    private final AtomicInteger delivered = new AtomicInteger();
    private final AtomicInteger predictions = new AtomicInteger();
    private final BitSet seen = new BitSet();
    private final List<long[]> times = new ArrayList<>();
    private volatile boolean closed;
    private volatile Throwable failure;
    private int sent;

    /** `checked`: the model answers as it should, so that each message's topic is known. */
    Load(String servers, String topics, boolean checked) {
        this.topics = topics;
        this.checked = checked;
        producer = new KafkaProducer<>(
                Map.of("bootstrap.servers", servers, "linger.ms", "0"), new StringSerializer(), new StringSerializer());
        consumer = new KafkaConsumer<>(
                Map.of("bootstrap.servers", servers), new StringDeserializer(), new StringDeserializer());
        var partitions = new ArrayList<TopicPartition>();
        for (var name : written()) {
            for (int p = 0; p < Broker.PARTITIONS; p++) partitions.add(new TopicPartition(topics + name, p));
        }
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        reader.start();
    }

    /** The topics that the job writes. */
    static List<String> written() {
        var names = new ArrayList<>(Message.AGENTS.stream().map(Message.Agent::topic).toList());
        names.add("agent_predictions");
        return names;
    }

    void send() {
        int number = sent++;
        var text = Message.text(number, System.nanoTime());
        producer.send(new ProducerRecord<>(topics + "agent_messages", number % Broker.PARTITIONS, null, text));
    }

    /** Waits until all that was sent is in Kafka. */
    void flush() {
        producer.flush();
    }

    int sent() {
        return sent;
    }

    /** How many messages are in their agents' topics (or unrouted), each counted once. */
    int delivered() {
        if (failure != null) throw new Failure("what came out is wrong: " + failure);
        return delivered.get();
    }

    int predictions() {
        return predictions.get();
    }

    /** When each delivered message was sent, and when it was there. */
    List<long[]> times() {
        synchronized (times) {
            return List.copyOf(times);
        }
    }

    private void read() {
        try {
            while (!closed) {
                for (var record : consumer.poll(Duration.ofMillis(100))) take(record, System.nanoTime());
            }
        } catch (Throwable thrown) {
            if (!closed) failure = thrown;
        } finally {
            consumer.close();
        }
    }

    private void take(ConsumerRecord<String, String> record, long now) throws Exception {
        if (record.topic().endsWith("agent_predictions")) {
            predictions.incrementAndGet();
            return;
        }
        var id = JSON.readTree(record.value()).path("message_id").asText().split("-");
        int number = Integer.parseInt(id[0]);
        if (checked && !record.topic().equals(topics + Message.agentOf(number).topic())) {
            throw new Failure("message " + number + " is in " + record.topic());
        }
        if (seen.get(number)) throw new Failure("message " + number + " came twice");
        seen.set(number);
        synchronized (times) {
            times.add(new long[] {Long.parseLong(id[1]), now});
        }
        delivered.incrementAndGet();
    }

    @Override
    public void close() throws InterruptedException {
        closed = true;
        producer.close(Duration.ZERO);
        reader.join();
    }
}
