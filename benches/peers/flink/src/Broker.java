package bench;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

/** A Kafka broker: the one that is given, or one of its own on free ports of 127.0.0.1. */
final class Broker implements AutoCloseable {
    static final int PARTITIONS = 6;
    private static final Duration START_TIMEOUT = Duration.ofSeconds(90);

    final String servers;
    private final Service service;
    private final Admin admin;

    private Broker(String servers, Service service) {
        this.servers = servers;
        this.service = service;
        this.admin = Admin.create(Map.of("bootstrap.servers", servers));
    }

    static Broker given(String servers) {
        return new Broker(servers, null);
    }

    static Broker start(Path dir, String classpath) throws Exception {
        int port = freePort();
        int controller = freePort();
        var properties = dir.resolve("server.properties");
        Files.writeString(properties, """
                process.roles=broker,controller
                node.id=1
                controller.quorum.voters=1@127.0.0.1:%2$d
                listeners=PLAINTEXT://127.0.0.1:%1$d,CONTROLLER://127.0.0.1:%2$d
                advertised.listeners=PLAINTEXT://127.0.0.1:%1$d
                controller.listener.names=CONTROLLER
                listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
                log.dirs=%3$s
                offsets.topic.replication.factor=1
                offsets.topic.num.partitions=1
                transaction.state.log.replication.factor=1
                transaction.state.log.min.isr=1
                group.initial.rebalance.delay.ms=0
                """.formatted(port, controller, dir.resolve("kafka-data")));
        var file = properties.toString();
        var id = "MkU3OEVBNTcwNTJENDM2Qk";
        try (var format = Service.start("kafka-format", dir, List.of(), classpath,
                "kafka.tools.StorageTool", "format", "-t", id, "-c", file)) {
            format.join();
        }
        var service = Service.start("kafka", dir, List.of("-Xmx512m"), classpath, "kafka.Kafka", file);
        long deadline = System.nanoTime() + START_TIMEOUT.toNanos();
        while (true) {
            service.check();
            try (var socket = new java.net.Socket(InetAddress.getLoopbackAddress(), port)) {
                return new Broker("127.0.0.1:" + port, service);
            } catch (IOException notYet) {
                if (System.nanoTime() > deadline) throw new Failure("Kafka did not start within " + START_TIMEOUT);
                Thread.sleep(100);
            }
        }
    }

    void createTopics(Collection<String> names) throws Exception {
        var topics = new ArrayList<NewTopic>();
        for (var name : names) topics.add(new NewTopic(name, Optional.of(PARTITIONS), Optional.empty()));
        admin.createTopics(topics).all().get(60, TimeUnit.SECONDS);
    }

    void deleteTopics(Collection<String> names) throws Exception {
        admin.deleteTopics(names).all().get(60, TimeUnit.SECONDS);
    }

    /** Zero where the broker is not ours. */
    double cpuSeconds() throws IOException {
        return service == null ? 0 : service.cpuSeconds();
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(1));
        if (service != null) service.close();
    }

    private static int freePort() throws IOException {
        try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}
