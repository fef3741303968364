package bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A Java process of this benchmark's own: started, measured from /proc, ended by its pid. */
final class Service implements AutoCloseable {

    private final String name;
    private final Process process;
    private final Path log;

    private Service(String name, Process process, Path log) {
        this.name = name;
        this.process = process;
        this.log = log;
    }

    static Service start(String name, Path dir, List<String> options, String classpath, String... main)
            throws IOException {
        var command = new ArrayList<>(List.of("java", "-Djava.io.tmpdir=" + dir));
        command.addAll(options);
        command.addAll(List.of("-cp", classpath, "bench.Tether"));
        command.addAll(List.of(main));
        var log = dir.resolve(name + ".log");
        var builder = new ProcessBuilder(command).directory(dir.toFile());
        return new Service(name, builder.redirectErrorStream(true).redirectOutput(log.toFile()).start(), log);
    }

    /** Fails with the end of the process's log when it is no longer there. */
    void check() throws IOException {
        if (!process.isAlive()) {
            var lines = Files.readAllLines(log);
            var end = lines.subList(Math.max(0, lines.size() - 40), lines.size());
            throw new Failure(name + " has ended:\n" + String.join("\n", end));
        }
    }

    /** Waits for its end, which must be a success. */
    void join() throws Exception {
        if (process.waitFor() != 0) check();
    }

    double cpuSeconds() throws IOException {
        return Cpu.ofProcess(process.pid());
    }

    double peakMemoryMb() throws IOException {
        var lines = Files.readAllLines(Path.of("/proc/" + process.pid() + "/status")).stream();
        var peak = lines.filter(line -> line.startsWith("VmHWM:")).findFirst();
        return Double.parseDouble(peak.orElseThrow().replaceAll("\\D", "")) / 1024;
    }

    @Override
    public void close() {
        process.destroyForcibly();
        try {
            process.waitFor(20, TimeUnit.SECONDS);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
