package bench;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

/** A model that speaks OpenAI's chat completions, takes a fixed time for each answer, and counts its calls. */
final class Model implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpServer server;
    private final ScheduledThreadPoolExecutor clock = new ScheduledThreadPoolExecutor(1);
    private final long latencyNanos;
    private final AtomicInteger calls = new AtomicInteger();
    private final AtomicInteger inFlight = new AtomicInteger();
    private final AtomicInteger peak = new AtomicInteger();

    Model(long latencyMs) throws IOException {
        latencyNanos = TimeUnit.MILLISECONDS.toNanos(latencyMs);
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 4096);
        server.createContext("/v1/chat/completions", this::take);
        server.setExecutor(Executors.newFixedThreadPool(2));
        server.start();
    }

    String url() {
        return "http://127.0.0.1:" + server.getAddress().getPort() + "/v1";
    }

    int calls() {
        return calls.get();
    }

    /** The most calls at one time since the last time this was asked. */
    int peak() {
        return peak.getAndSet(0);
    }

    /** Holds no thread while the answer waits for its time. */
    private void take(HttpExchange call) throws IOException {
        long due = System.nanoTime() + latencyNanos;
        calls.incrementAndGet();
        peak.accumulateAndGet(inFlight.incrementAndGet(), Math::max);
        var question = JSON.readTree(call.getRequestBody()).at("/messages/1/content").asText();
        var said = JSON.writeValueAsString(JSON.createObjectNode().put("agent", Message.agentFor(question)));
        var reply = """
                {"id":"1","object":"chat.completion","created":1,"model":"stub",\
                "choices":[{"index":0,"message":{"role":"assistant","content":%s},"finish_reason":"stop"}],\
                "usage":{"prompt_tokens":300,"completion_tokens":10,"total_tokens":310}}"""
                .formatted(JSON.writeValueAsString(said))
                .getBytes(StandardCharsets.UTF_8);
        clock.schedule(() -> answer(call, reply), due - System.nanoTime(), TimeUnit.NANOSECONDS);
    }

    private void answer(HttpExchange call, byte[] reply) {
        inFlight.decrementAndGet();
        try (call) {
            call.getResponseHeaders().set("Content-Type", "application/json");
            call.sendResponseHeaders(200, reply.length);
            call.getResponseBody().write(reply);
        } catch (IOException gone) {
            // the caller has hung up
        }
    }

    @Override
    public void close() {
        clock.shutdownNow();
        server.stop(0);
    }
}
