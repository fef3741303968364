package bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;

/** Starts what is needed, runs each setup twice (full load, steady rate) in Flink processes of its own, and reports. */
public final class Bench {
    private static final int START_SECONDS = 180;
    /** What Flink's own start scripts pass to Java 17. */
    private static final List<String> OPENED = List.of(
            "--add-opens=java.base/java.lang=ALL-UNNAMED", "--add-opens=java.base/java.util=ALL-UNNAMED",
            "--add-opens=java.base/java.time=ALL-UNNAMED", "--add-opens=java.base/java.nio=ALL-UNNAMED",
            "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED");

    private final Options options;
    private final Path home;
    private final Path dir;
    private final String classes;
    private final String jars;
    private final int inFlight;
    private final int latencyMs;
    private Broker broker;
    private Model model;
    private volatile Run current;
    private int runs;
    private volatile boolean ending;

    private Bench(Path home, Path target, Options options) {
        this.options = options;
        this.home = home;
        dir = target.resolve("flink/run-" + ProcessHandle.current().pid());
        classes = target.resolve("flink/classes").toString();
        jars = target.resolve("flink/jars").toString();
        inFlight = options.number("in-flight", 200);
        latencyMs = options.number("latency-ms", 100);
    }

    public static void main(String[] args) throws Exception {
        var rest = Arrays.asList(args).subList(2, args.length);
        if (rest.contains("--help")) {
            System.out.print(Options.HELP);
            return;
        }
        var target = Path.of(args[1]).toAbsolutePath();
        Bench bench = null;
        try {
            bench = new Bench(Path.of(args[0]), target, new Options(rest));
            System.out.print(bench.run(target.resolve("kafka/libs") + "/*"));
            System.exit(0); // ends the stub's threads
        } catch (Exception failed) {
            // after Ctrl-C, what fails does so because its process has been ended
            var known = failed instanceof Failure failure ? failure : new Failure(failed.toString());
            if (bench == null || !bench.ending) progress("benches/peers/flink/run: " + known.getMessage());
            System.exit(known.exitCode);
        }
    }

    private String run(String kafka) throws Exception {
        var setups = new ArrayList<>(Setup.all(inFlight));
        var names = setups.stream().map(Setup::name).toList();
        var wanted = List.of(options.text("setup", String.join(",", names)).split(","));
        for (var name : wanted) {
            if (!names.contains(name)) throw Failure.usage("there is no setup " + name + "; there are " + names);
        }
        setups.removeIf(setup -> !wanted.contains(setup.name()));
        int seconds = options.number("seconds", 20);
        int warmUp = options.number("warm-up", 30);
        Files.createDirectories(dir);
        // What was started here ends with this process, however that ends (Tether). Its files are removed unless killed.
        Runtime.getRuntime().addShutdownHook(new Thread(this::end));

        var servers = System.getenv("KAFKA_BOOTSTRAP_SERVERS");
        progress("starting " + (servers == null ? "Kafka" : "with the Kafka at " + servers));
        broker = servers == null ? Broker.start(dir, classes + ":" + kafka) : Broker.given(servers);
        if (!options.has("model-url")) model = new Model(latencyMs);

        var report = new Report(inFlight, latencyMs, seconds, warmUp);
        for (var plain : setups) {
            var setup = plain.with(options.settings);
            Report.Throughput throughput = null;
            Report.Steady steady = null;
            int possible = setup.callsAtOnce() * 1000 / latencyMs;
            if (!options.text("phase", "both").equals("steady")) {
                progress(setup.name() + ": full load");
                throughput = throughput(setup, seconds, warmUp);
                progress(throughput.toString());
            }
            if (!options.text("phase", "both").equals("throughput")) {
                int rate = options.number("rate", Math.max(1, Math.min(100, possible / 2)));
                progress(setup.name() + ": " + rate + " messages/s");
                steady = steady(setup, rate, seconds, warmUp);
                progress(steady.toString());
            }
            report.add(setup, throughput, steady);
        }
        return options.text("format", "text").equals("json") ? report.json() : report.text();
    }

    /** A Flink process of its own with topics of its own. */
    private final class Run implements AutoCloseable {
        private Load load;
        private Service flink;
        private final double startSeconds;
        private final List<String> topics = new ArrayList<>();
        private final int callsBefore = model == null ? 0 : model.calls();

        Run(Setup setup, int backlog) throws Exception {
            current = this;
            var prefix = "flink-bench-%d-%d-".formatted(ProcessHandle.current().pid(), ++runs);
            topics.add(prefix + "agent_messages");
            Load.written().forEach(name -> topics.add(prefix + name));
            broker.createTopics(topics);
            load = new Load(broker.servers, prefix, model != null);
            for (int i = 0; i < backlog; i++) load.send();
            load.flush();

            var values = Map.of(
                    "servers", broker.servers, "topics", prefix, "linger", Integer.toString(options.number("linger", setup.lingerMs())),
                    "model", options.text("model", "stub"));
            var url = model == null ? options.text("model-url", "") : model.url();
            var sql = Files.writeString(dir.resolve(prefix + "job.sql"),
                    setup.sql(Files.readString(home.resolve("job.sql")), values, url));
            var settings = Files.writeString(dir.resolve(prefix + "job.properties"),
                    setup.settings().entrySet().stream().map(e -> e.getKey() + ": " + e.getValue() + "\n")
                            .collect(Collectors.joining()));
            var classpath = classes + (setup.newerClient() ? ":" + jars + "/newer-client/*" : "") + ":" + jars + "/libs/*";
            var java = new ArrayList<>(OPENED);
            java.addAll(options.javaOptions);
            if (model != null) model.peak();
            long began = System.nanoTime();
            flink = Service.start(prefix + "flink", dir, java, classpath, "bench.Job", settings.toString(), sql.toString());
            if (backlog == 0) {
                load.send();
                load.flush();
            }
            await(() -> load.delivered() > 0, START_SECONDS, "no message came out of Flink");
            startSeconds = (load.times().get(0)[1] - began) / 1e9 - latencyMs / 1e3;
        }

        /** Waits, and fails when Flink does. */
        void await(BooleanSupplier done, int seconds, String otherwise) throws Exception {
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
            while (!done.getAsBoolean()) {
                flink.check();
                if (System.nanoTime() > deadline) throw new Failure(otherwise + " within " + seconds + " s");
                Thread.sleep(20);
            }
        }

        void sleep(int seconds) throws Exception {
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
            await(() -> System.nanoTime() >= end, seconds + 5, "the clock stands still");
        }

        int calls() {
            return model == null ? 0 : model.calls() - callsBefore;
        }

        @Override
        public void close() throws Exception {
            current = null;
            if (flink != null) flink.close();
            if (load != null) load.close();
            broker.deleteTopics(topics);
        }
    }

    /** What was used between two points in time. */
    private final class Span {
        private final Service flink;
        private final long from = System.nanoTime();
        private final double flinkFrom;
        private final double oursFrom;
        private final double machineFrom;
        double seconds;
        double flinkCpu;
        /** How many CPUs were busy with what is no part of this. */
        double othersCpus;

        Span(Service flink) throws IOException {
            this.flink = flink;
            flinkFrom = flink.cpuSeconds();
            oursFrom = ours();
            machineFrom = Cpu.ofMachine();
        }

        Span end() throws IOException {
            seconds = (System.nanoTime() - from) / 1e9;
            flinkCpu = flink.cpuSeconds() - flinkFrom;
            othersCpus = Math.max(0, Cpu.ofMachine() - machineFrom - flinkCpu - (ours() - oursFrom)) / seconds;
            return this;
        }

        private double ours() throws IOException {
            return broker.cpuSeconds() + Cpu.ofProcess(ProcessHandle.current().pid());
        }
    }

    /** With more messages waiting than can be taken. */
    private Report.Throughput throughput(Setup setup, int seconds, int warmUp) throws Exception {
        int limit = inFlight * 1000 / latencyMs;
        int backlog = Math.min(limit, setup.callsAtOnce() * 1000 / latencyMs) * (warmUp + seconds + 5);
        try (var run = new Run(setup, backlog)) {
            run.sleep(warmUp);
            int before = run.load.delivered();
            int callsBefore = run.calls();
            var span = new Span(run.flink);
            run.sleep(seconds);
            int count = run.load.delivered() - before;
            span.end();
            int calls = run.calls() - callsBefore;
            if (run.load.delivered() >= run.load.sent()) throw new Failure("the messages were used up; take fewer seconds");
            if (count == 0) throw new Failure("nothing came out of Flink while it was measured");
            return new Report.Throughput(
                    count / span.seconds, (double) limit, model == null ? null : model.peak(),
                    model == null ? null : (double) calls / count, span.flinkCpu * 1000 / count,
                    run.flink.peakMemoryMb(), run.startSeconds, span.othersCpus);
        }
    }

    /** At a rate that leaves it idle most of the time: what it adds to the time of the model. */
    private Report.Steady steady(Setup setup, int rate, int seconds, int warmUp) throws Exception {
        try (var run = new Run(setup, 0)) {
            pace(run, rate, warmUp);
            int before = run.load.sent();
            var span = new Span(run.flink);
            pace(run, rate, seconds);
            span.end();
            int count = run.load.sent() - before;
            run.await(() -> run.load.delivered() >= run.load.sent() && run.load.predictions() >= run.load.sent(), 60,
                    "not every message came out of Flink");
            var added = run.load.times().stream().filter(time -> time[0] >= span.from)
                    .map(time -> (time[1] - time[0]) / 1e6 - latencyMs).sorted(Comparator.naturalOrder()).toList();
            return new Report.Steady(rate, percentile(added, 50), percentile(added, 99), Collections.max(added),
                    span.flinkCpu * 1000 / count, run.flink.peakMemoryMb(), span.othersCpus);
        }
    }

    private static void pace(Run run, int rate, int seconds) throws Exception {
        long start = System.nanoTime();
        for (int i = 0; i < rate * seconds; i++) {
            long due = start + TimeUnit.SECONDS.toNanos(i) / rate;
            TimeUnit.NANOSECONDS.sleep(due - System.nanoTime());
            run.load.send();
            if (i % rate == 0) run.flink.check();
        }
        TimeUnit.NANOSECONDS.sleep(start + TimeUnit.SECONDS.toNanos(seconds) - System.nanoTime());
    }

    private static double percentile(List<Double> sorted, int percent) {
        return sorted.get(Math.min(sorted.size() - 1, sorted.size() * percent / 100));
    }

    private void end() {
        ending = true;
        try {
            if (current != null) current.close();
            if (broker != null) broker.close();
        } catch (Exception failed) {
            progress("cannot clean up: " + failed);
        }
        if (options.has("keep")) {
            progress("logs, settings and SQL are in " + dir);
            return;
        }
        try (var files = Files.walk(dir)) {
            files.sorted(Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
        } catch (IOException gone) {
            progress("cannot remove " + dir + ": " + gone.getMessage());
        }
    }

    private static void progress(String text) {
        System.err.println(text);
    }
}
