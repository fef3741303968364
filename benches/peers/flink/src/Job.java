package bench;

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs a file of SQL on Flink, in this process: job manager and task manager in one. Ends when the job does. */
public final class Job {
    private Job() {}

    /** The file of settings, then the file of SQL. */
    public static void main(String[] args) throws Exception {
        var properties = new Properties();
        properties.load(new StringReader(Files.readString(Path.of(args[0]))));
        var settings = new Configuration();
        properties.stringPropertyNames().forEach(name -> settings.setString(name, properties.getProperty(name)));
        var tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        var inserts = tables.createStatementSet();
        var key = System.getenv().getOrDefault("OPENAI_API_KEY", "none"); // is in no file
        for (var statement : Files.readString(Path.of(args[1])).replace("${key}", key).split(";\\s*\n")) {
            var text = statement.replaceAll("(?m)^--.*$", "").strip();
            if (text.startsWith("INSERT")) inserts.addInsertSql(text);
            else if (!text.isEmpty()) tables.executeSql(text);
        }
        inserts.execute().await();
    }
}
