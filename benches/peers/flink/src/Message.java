package bench;

import java.util.List;

/** The messages of the benchmark: one in six for each agent, and one for none. */
final class Message {
    /** An agent's name, its topic, and how a message that it accepts begins. */
    record Agent(String name, String topic, String beginning) {}

    static final List<Agent> AGENTS = List.of(
            new Agent("Lead Ingestion Agent", "lead_ingestion", "New, raw lead from the web form."),
            new Agent("Lead Scoring Agent", "lead_scoring", "Research report on a lead."),
            new Agent("Active Outreach Agent", "active_outreach", "Scored lead whose next step is Actively Engage."),
            new Agent("Nurture Campaign Agent", "nurture_campaign", "Scored lead whose next step is Nurture."),
            new Agent("Send Email Agent", "send_email", "One finished e-mail, ready to be sent."),
            new Agent("NONE", "unrouted", "An application for a job."));

    private Message() {}

    static String agentFor(String question) {
        var fitting = AGENTS.stream().filter(agent -> question.startsWith(agent.beginning)).findFirst();
        return fitting.map(Agent::name).orElse("NONE");
    }

    static Agent agentOf(int number) {
        return AGENTS.get(number % AGENTS.size());
    }

    /** About 700 bytes. Its id holds its number and the time of System.nanoTime() at which it was sent. */
    static String text(int number, long sentNanos) {
        return """
                {"message_id":"%1$d-%2$d","workflow_id":"workflow-%1$d","parent_id":"parent-%1$d","hop":1,\
                "sender":"load generator","created_at":"2026-01-01T00:00:00.000Z","lead_data":{"name":"Ada Berg",\
                "email":"ada@nord.example","job_title":"Head of Data","company_name":"Nord",\
                "company_website":"https://nord.example","project_description":"Move our warehouse to the cloud by June.",\
                "lead_source":"web"},"context":"%3$s Ada Berg is Head of Data at Nord, which sells parts for wind turbines \
                in nine countries, and wants to move its warehouse to the cloud by June. The budget has been approved and \
                two vendors were asked for an offer."}"""
                .formatted(number, sentNanos, agentOf(number).beginning);
    }
}
